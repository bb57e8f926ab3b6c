//! What a sampled user stack led to.

use tracer_common::{AllocationCall, Lookup, Syscall};

use super::{cpu::CpuClass, faults::FaultCause};

/// As `kind` in a recording.
pub const FAULT: &str = "fault";
/// The same, of those that read from disk.
pub const MAJOR_FAULT: &str = "major_fault";
/// The same.
pub const CPU: &str = "cpu";
/// The same.
pub const LOOKUP: &str = "lookup";
/// The same, of waits.
pub const FUTEX: &str = "futex";
/// The same, of every function of the allocator.
pub const MALLOC: &str = "malloc";

/// What a user stack led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StackKind {
    /// A system call.
    Call(Syscall),
    /// A page fault.
    Fault(FaultCause),
    /// A page fault that read from disk.
    MajorFault,
    /// A wait for a futex.
    Futex,
    /// A sample of the CPU's clock.
    Cpu(CpuClass),
    /// A look-up of an area, or a search for room.
    Lookup(Lookup),
    /// A call of the allocator.
    Allocation(AllocationCall),
}

impl StackKind {
    /// As `kind` in a recording: `mmap`, …, or one of the above.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Call(syscall) => syscall.name(),
            Self::Fault(_) => FAULT,
            Self::MajorFault => MAJOR_FAULT,
            Self::Futex => FUTEX,
            Self::Cpu(_) => CPU,
            Self::Lookup(_) => LOOKUP,
            Self::Allocation(_) => MALLOC,
        }
    }

    /// As `where` in a recording: the class of a CPU sample, the kernel's function of a look-up, the
    /// allocator's of a call, why a page faulted.
    #[must_use]
    pub const fn place(self) -> Option<&'static str> {
        match self {
            Self::Call(_) | Self::MajorFault | Self::Futex => None,
            Self::Fault(cause) => Some(cause.name()),
            Self::Cpu(class) => Some(class.name()),
            Self::Lookup(function) => Some(function.name()),
            Self::Allocation(call) => Some(call.name()),
        }
    }
}
