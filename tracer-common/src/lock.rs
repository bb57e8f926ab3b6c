use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{DURATION_BUCKETS, ProcessId};

/// Key of the waits of a process for its own `mmap_lock`.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(C)]
pub struct LockKey {
    /// Who waited.
    pub process: ProcessId,
    /// The [`crate::Syscall`] that waited, counted from 1; 0: a fault, or a call that is not measured.
    pub call: u32,
    /// 1: to have the lock alone; 0: to share it with other readers.
    pub write: u16,
    /// 1: the tracer was reading the process's mappings at the time, which takes the lock.
    pub traced: u16,
}

/// Waits that have ended.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct LockWaits {
    /// How many.
    pub waits: u64,
    /// Nanoseconds waited.
    pub wait_ns: u64,
    /// Waits by duration, see [`crate::duration_bucket`].
    pub durations: [u64; DURATION_BUCKETS],
}

/// Waits of a process's threads for futexes: what locks of programs and of their libraries wait with.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct FutexWaits {
    /// How many.
    pub waits: u64,
    /// Nanoseconds waited.
    pub wait_ns: u64,
}

crate::shared!(LockKey, LockWaits, FutexWaits);
