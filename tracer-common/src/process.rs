use crate::{Asked, LookupCounts};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of `task_struct.comm`, the final NUL included.
pub const COMM_LENGTH: usize = 16;

/// Nanoseconds in a tick of `/proc/PID/stat`'s start time (`USER_HZ` is 100 on every Linux ABI
/// that alloctrace runs on).
pub const TICK_NS: u64 = 10_000_000;

/// A process for ever: pids are used again, a pid together with its start time is not.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
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
pub struct ProcessId {
    /// When the process was forked, in ticks since boot, as field 22 of `/proc/PID/stat` says.
    /// 0 where the kernel's layout is unknown.
    pub start_ticks: u64,
    /// The thread group's id, as seen from the initial pid namespace.
    pub pid: u32,
    /// Always 0: map keys are compared byte by byte.
    pub reserved: u32,
}

impl ProcessId {
    /// The process `pid` that was forked at `start_ticks`.
    #[must_use]
    pub const fn new(pid: u32, start_ticks: u64) -> Self {
        Self { start_ticks, pid, reserved: 0 }
    }
}

/// A process to be traced: the value of the map of targets, whose key is the pid.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Target {
    /// The start time that the process must have; 0: not known, filled in at its first event.
    pub start_ticks: u64,
    /// A sum of the constants below.
    pub flags: u64,
}

impl Target {
    /// The children of this process are targets as well.
    pub const FOLLOW: u64 = 1;
    /// Nothing counts before the process has executed a program.
    pub const FROM_EXEC: u64 = 2;
}

/// What the kernel programs remember of a thread between an entry and its exit.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Thread {
    /// Whose thread it is.
    pub process: ProcessId,
    /// When the call under way began.
    pub call_start_ns: u64,
    /// Its arguments. `brk` has the break before the call in the second place.
    pub args: [u64; 5],
    /// When the sampled fault under way began; 0: none.
    pub fault_start_ns: u64,
    /// Where it fell.
    pub fault_address: u64,
    /// The call under way, counted from 1; 0: none.
    pub call: u32,
    /// Successful calls so far, up to where sampling of stacks begins.
    pub stacks: u32,
    /// Faults until the next sampled one.
    pub fault_countdown: u32,
    /// Further calls without a stack until the next one with.
    pub stack_countdown: u32,
    /// Look-ups so far. Here and not in a map of their own: faults make one or more each, and this
    /// entry is at hand.
    pub lookups: LookupCounts,
    /// Look-ups until the next sampled one.
    pub lookup_countdown: u32,
    /// Programs that have seen the last call's return, a bit each.
    pub return_seen_by: u32,
    /// When the wait for `mmap_lock` under way began; 0: none.
    pub wait_start_ns: u64,
    /// Whether that wait is for having the lock alone.
    pub wait_write: u32,
    /// Whether the tracer was reading the process's mappings when it began.
    pub wait_traced: u32,
    /// As `stacks`, for sampled faults.
    pub fault_stacks: u32,
    /// As `stack_countdown`, for sampled faults.
    pub fault_stack_countdown: u32,
    /// As `stacks`, for major faults.
    pub major_stacks: u32,
    /// As `stack_countdown`, for major faults.
    pub major_stack_countdown: u32,
    /// When the wait for a futex under way began; 0: none.
    pub futex_start_ns: u64,
    /// Nanoseconds of such waiting until the next sampled one; 0: yet to be drawn.
    pub futex_countdown: u64,
    /// As `stacks`, for sampled look-ups.
    pub lookup_stacks: u32,
    /// As `stack_countdown`, for sampled look-ups.
    pub lookup_stack_countdown: u32,
    /// The stack pointer at the last allocator call's entry.
    pub allocation_stack: u64,
    /// Where that call returns to; only known where it was needed.
    pub allocation_return: u64,
    /// The stack pointer at the entry of the function to which the allocator itself goes next, plus 1 if it jumps
    /// there; 0: to none.
    pub allocation_branch: u64,
    /// That call, an [`crate::AllocationCall`] counted from 1; 0: none.
    pub allocation_call: u32,
    /// Bytes until the next sampled call of the allocator; 0: yet to be drawn.
    pub allocation_countdown: u32,
    /// The mean of the distances that it was drawn from; 0: none yet.
    pub allocation_gap: u32,
    /// Calls that asked for something since.
    pub allocation_calls: u32,
    /// When the sampled call of the allocator that is under way began; 0: none is.
    pub sampled_ns: u64,
    /// What the allocator's call under way asks for.
    pub asked: Asked,
}

crate::shared!(ProcessId, Target, Thread);
