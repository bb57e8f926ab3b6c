//! What the kernel programs and the daemon agree on: each type once, `repr(C)`, without padding.
//!
//! Times are nanoseconds of `CLOCK_MONOTONIC`, sizes are bytes.
#![no_std]

mod allocation;
mod block;
mod counters;
mod events;
mod globals;
mod lock;
mod lookup;
mod process;
mod resize;
mod sampling;
mod syscall;

pub use allocation::{
    AllocationCall, AllocationCounter, Branch, ExactSizes, HitCounter, LARGEST_EXACT_SIZE,
    PlacedSite, SIZE_CLASSES, Site, SiteKey, size_class,
};
pub use block::{BlockKey, BlockRecord, SampleId};
pub use counters::{
    DURATION_BUCKETS, ErrnoKey, ExitTotals, FaultTime, Lifecycle, Loss, SyscallCounter, SyscallKey,
    duration_bucket,
};
pub use events::{
    CpuSample, FaultSample, Fork, FutexWait, Header, KERNEL_FRAMES, MemoryCall, RecordKind,
    STACK_BYTES, STACK_FRAMES, StackHead, USER_CS_64, UserRegisters, UserStack, WithStack,
};
pub use globals::{Config, Control, Counting, KernelLayout, UNKNOWN_OFFSET};
pub use lock::{FutexWaits, LockKey, LockWaits};
pub use lookup::{Lookup, LookupCounts, LookupSample};
pub use process::{COMM_LENGTH, ProcessId, TICK_NS, Target, Thread};
pub use resize::{Asked, ChunkHeader, Resize, ResizeCounter, ResizeRecord, copied};
pub use sampling::{AllocationSample, exponential_gap, suitable_gap};
pub use syscall::Syscall;

/// Declares that a type may cross between kernel and user space.
macro_rules! shared {
    ($($type:ty),+ $(,)?) => {$(
        #[cfg(feature = "user")]
        // SAFETY: `repr(C)`, `Copy`, made of integers only and without padding (`IntoBytes`
        // is derived, which refuses padding), so any bit pattern is a value.
        unsafe impl aya::Pod for $type {}
    )+};
}
pub(crate) use shared;
