//! What a row of the table of probes is made of.

use std::fmt;

/// Something that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Its name in `--backend`, in `doctor` and in recordings.
    pub name: &'static str,
    /// What it tells.
    pub purpose: &'static str,
    /// Whether the daemon measures it.
    pub daemon: InDaemon,
    /// Whether only the entries of a function are counted. On kernels that preempt programs a kprobe
    /// is skipped far less often there than a trampoline.
    pub entries_only: bool,
    /// Ways to measure it, best first.
    pub rungs: &'static [Rung],
}

/// What the daemon does with a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InDaemon {
    /// It is measured.
    Always,
    /// It is measured if the user asks for it, for it runs at every page fault of the machine.
    IfAsked,
    /// It needs a target.
    Never,
}

/// One way to measure a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Its kind.
    pub backend: Backend,
    /// What to attach; all or nothing.
    pub probes: &'static [Probe],
}

/// How a rung gets at its signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// For kernels that preempt programs: at a function's exit trampolines in threes, for the chance
    /// that the kernel skips all of them is small; at its entry a kprobe, which is skipped only where
    /// a thread was preempted in the middle of reading a map (`bpf_disable_instrumentation`).
    Fexit,
    /// Trampolines at a function's entry and exit, typed by BTF.
    Fentry,
    /// Breakpoints or ftrace at a function's entry and return.
    Kprobe,
    /// A raw tracepoint whose arguments are typed by BTF.
    TpBtf,
    /// A raw tracepoint.
    RawTracepoint,
    /// A tracepoint's formatted record.
    Tracepoint,
    /// A software event of perf.
    Perf,
    /// Breakpoints in a program's own code, all by one link.
    UprobeMulti,
    /// Breakpoints in a program's own code, each an event of perf.
    Uprobe,
}

impl Backend {
    const ALL: [Self; 9] = [
        Self::Fexit,
        Self::Fentry,
        Self::Kprobe,
        Self::TpBtf,
        Self::RawTracepoint,
        Self::Tracepoint,
        Self::Perf,
        Self::UprobeMulti,
        Self::Uprobe,
    ];

    /// The name in `--backend`, in `doctor` and in recordings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fexit => "fexit",
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::TpBtf => "tp_btf",
            Self::RawTracepoint => "raw_tracepoint",
            Self::Tracepoint => "tracepoint",
            Self::Perf => "perf",
            Self::UprobeMulti => "uprobe_multi",
            Self::Uprobe => "uprobe",
        }
    }

    /// The backend of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|backend| backend.name() == name)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A kernel program and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The program's name in the object.
    pub program: &'static str,
    /// Where it goes.
    pub point: Point,
}

/// Where a program attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A kernel function's entry.
    Fentry(&'static str),
    /// A kernel function's exit.
    Fexit(&'static str),
    /// A kernel function's entry.
    Kprobe(&'static str),
    /// A kernel function's return.
    Kretprobe(&'static str),
    /// A tracepoint.
    TpBtf(&'static str),
    /// A tracepoint.
    RawTracepoint(&'static str),
    /// A tracepoint: its category and name.
    Tracepoint(&'static str, &'static str),
    /// Every `fault_period`th page fault on each CPU.
    PageFaults,
    /// Every major fault on each CPU.
    MajorFaults,
    /// Each CPU's clock.
    CpuClock,
    /// The functions of the target's allocator: which those are, and where, is found for each target.
    Allocator,
    /// The same, with one link for all of them.
    AllocatorAtOnce,
}
