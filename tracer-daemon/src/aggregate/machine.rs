//! What is known of a whole machine at one moment: processes folded into named groups, so that
//! their number stays bounded and no counter ever goes down.

use std::{collections::BTreeMap, sync::Arc};

use tracer_common::{DURATION_BUCKETS, LockWaits, Lookup, Loss, Syscall};

use super::{
    allocator_windows::AllocatorTotals,
    locks::LockSide,
    looks::{Attention, Found},
    rates::Interval,
    snapshot::ProbeStatus,
};
use crate::diagnose::{Finding, worst_first};

/// Everything counted on the machine since the tracer attached.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MachineSnapshot {
    /// alloctrace's version.
    pub version: String,
    /// The kernel's release.
    pub kernel: String,
    /// By the group's name.
    pub groups: BTreeMap<String, GroupTotals>,
    /// What happened since the sample before; absent in the first.
    pub interval: Option<Interval>,
    /// What is missing; a cause that is absent is 0.
    pub lost: BTreeMap<Loss, u64>,
    /// A row for each signal.
    pub probes: Vec<ProbeStatus>,
    /// How areas are counted.
    pub area_counting: AreaCounting,
    /// Reading the configuration.
    pub config: ConfigReading,
    /// What the tracer itself takes.
    pub own: OwnUsage,
    /// Windows over processes' allocators.
    pub allocator: AllocatorTotals,
    /// Closer looks at processes.
    pub looks: LookTotals,
    /// Runs of the kernel programs by their names; empty where the kernel does not count them.
    pub programs: BTreeMap<String, ProgramRuns>,
}

impl MachineSnapshot {
    /// What is missing, where anything is.
    pub fn losses(&self) -> impl Iterator<Item = (Loss, u64)> {
        self.lost.iter().filter(|(_, number)| **number > 0).map(|(cause, number)| (*cause, *number))
    }
}

/// The processes of a group, dead ones included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupTotals {
    /// A call whose probe could not attach is absent.
    pub syscalls: BTreeMap<Syscall, CallTotals>,
    /// Faults without a read from disk.
    pub minor_faults: u64,
    /// Faults with one.
    pub major_faults: u64,
    /// Time in faults, sampled.
    pub fault_seconds: Option<f64>,
    /// Waits for `mmap_lock`; a side that nobody waited for is absent.
    pub lock_waits: BTreeMap<LockSide, LockWaits>,
    /// Look-ups of areas, and searches for room; a function whose probe could not attach is absent.
    pub lookups: BTreeMap<Lookup, u64>,
    /// Samples of the CPU clock by what the CPU was doing, see [`super::cpu::place`]; what it was
    /// never seen doing is absent.
    pub cpu_samples: BTreeMap<&'static str, u64>,
    /// Processes that were forked.
    pub forks: u64,
    /// Programs that were executed.
    pub execs: u64,
    /// Processes that ended.
    pub exits: u64,
    /// Processes that live.
    pub processes: u64,
    /// Areas of the living processes that were counted; absent where none was.
    pub areas: Option<AreaTotals>,
}

/// Areas of a group's living processes, each as it was when last counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AreaTotals {
    /// Of the process that has most.
    pub largest: u64,
    /// Of all together.
    pub sum: u64,
    /// Holes between them, of the process that has most holes.
    pub most_holes: u64,
}

/// Counting areas over the whole machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AreaCounting {
    /// Areas that a process may have, `vm.max_map_count`.
    pub limit: Option<u64>,
    /// How often a process's areas were counted.
    pub counts: u64,
    /// The time that it took, with those processes' `mmap_lock` held on and off.
    pub seconds: f64,
    /// Processes that are yet to be counted for the first time, or again.
    pub due: u64,
}

/// How the daemon's configuration was read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ConfigReading {
    /// Whether it made sense when it was last read.
    pub succeeded: bool,
    /// When it last did, in seconds since 1970.
    pub succeeded_at: f64,
}

/// Calls of one system call by a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallTotals {
    /// How many came to an end, failures included.
    pub calls: u64,
    /// Failures by error number.
    pub failures: BTreeMap<u32, u64>,
    /// What the successful ones were about.
    pub bytes: u64,
    /// Time between entry and exit, waiting included.
    pub duration_ns: u64,
    /// Calls by duration, see [`tracer_common::duration_bucket`].
    pub durations: [u64; DURATION_BUCKETS],
}

/// Closer looks at processes that the machine's numbers made suspicious.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LookTotals {
    /// Those that ended well.
    pub done: u64,
    /// Those that did not.
    pub failed: u64,
    /// What is wrong at present, by group.
    pub found: BTreeMap<Arc<str>, Found>,
    /// Whom the next finding may be about.
    pub attention: Option<Attention>,
}

impl LookTotals {
    /// Every finding with its group and the process that was looked at, worst first.
    #[must_use]
    pub fn worst_first(&self) -> Vec<(&str, &Found, &Finding)> {
        let all = self.found.iter().flat_map(|(group, found)| {
            found.findings.iter().map(move |finding| (&**group, found, finding))
        });
        let mut all: Vec<_> = all.collect();
        all.sort_by(|(.., one), (.., other)| worst_first(one, other));
        all
    }
}

/// What the tracer itself takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OwnUsage {
    /// User and system time.
    pub cpu_seconds: f64,
    /// The same of its workers that have ended.
    pub children_cpu_seconds: f64,
    /// Resident memory.
    pub resident_bytes: u64,
}

/// Runs of a kernel program.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProgramRuns {
    /// How many.
    pub runs: u64,
    /// The time that they took.
    pub seconds: f64,
}
