//! What a sampled user stack led to.

use tracer_common::{Lookup, Syscall};

use super::{cpu::CpuClass, faults::FaultCause};

/// What a user stack led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StackKind {
    /// A system call.
    Call(Syscall),
    /// A page fault.
    Fault(FaultCause),
    /// A sample of the CPU's clock.
    Cpu(CpuClass),
    /// A look-up of an area, or a search for room.
    Lookup(Lookup),
}

impl StackKind {
    /// As `kind` in a recording: `mmap`, …, `fault`, `cpu` or `lookup`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Call(syscall) => syscall.name(),
            Self::Fault(_) => "fault",
            Self::Cpu(_) => "cpu",
            Self::Lookup(_) => "lookup",
        }
    }

    /// As `where` in a recording: the class of a CPU sample, the kernel's function of a look-up, why
    /// a page faulted.
    #[must_use]
    pub const fn place(self) -> Option<&'static str> {
        match self {
            Self::Call(_) => None,
            Self::Fault(cause) => Some(cause.name()),
            Self::Cpu(class) => Some(class.name()),
            Self::Lookup(function) => Some(function.name()),
        }
    }
}
