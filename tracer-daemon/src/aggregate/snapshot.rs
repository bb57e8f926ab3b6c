//! What is known of a target at one moment. Serialised, it is the recording of INTERFACE: base
//! units, `None` for unknown.

mod blocks;
mod lookups;
mod memory;
mod resizes;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tracer_common::DURATION_BUCKETS;

use super::allocations::Allocations;
use crate::census::address_space::AddressSpace;
pub use blocks::{BlockSum, BlockTotals, FollowedBlocks, Growth, GrowthPart, LifetimeBlocks};
pub use lookups::{FutexTotals, LockWait, LookupMapping, LookupPath, LookupTotals};
pub use memory::{
    FaultShare, HeapTrims, MajorFaults, Mappings, Quantiles, Refaults, SHORT_LIVED_SECONDS,
    ShortLived, SizeCycles,
};
pub use resizes::{Resizes, SiteResizes};

/// Everything measured so far on one target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// Who measured.
    pub tracer: Tracer,
    /// What was measured.
    pub target: TargetInfo,
    /// The time that the numbers cover.
    pub window: Window,
    /// The scheduler's account of it.
    pub cpu: Cpu,
    /// By the name of the call; a call whose probe could not attach is absent.
    pub syscalls: BTreeMap<String, SyscallTotals>,
    /// Page faults.
    pub faults: FaultTotals,
    /// Births and deaths of mappings; absent where no backend could see them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mappings: Option<Mappings>,
    /// What was given back at the top of the heap; absent where no backend could see it.
    #[serde(skip)]
    pub heap_trims: Option<HeapTrims>,
    /// Faults on memory that had been touched before, heaviest cause first.
    #[serde(skip)]
    pub refaults: Vec<Refaults>,
    /// Faults that read from disk; absent where no backend could see them.
    #[serde(skip)]
    pub major_faults: Option<MajorFaults>,
    /// Look-ups of areas by the kernel's function; one whose probe could not attach is absent.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lookups: BTreeMap<String, LookupTotals>,
    /// Waits for the lock of the address space, longest first; absent where they are not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock_waits: Option<Vec<LockWait>>,
    /// Waits for futexes; absent where they are not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub futex_waits: Option<FutexTotals>,
    /// Shares of the target's CPU time by what it was doing, largest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpu_samples: Vec<CpuShare>,
    /// Calls of the allocator; absent where nobody asked for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocations: Option<Allocations>,
    /// Memory that the target had when the window began and when it ended.
    #[serde(skip)]
    pub resident: Option<Resident>,
    /// The address space at the end of the window; absent where the process had ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_space: Option<AddressSpace>,
    /// Memory of the machine that was available at the end of the window.
    #[serde(skip)]
    pub memory_available: Option<u64>,
    /// Sampled user stacks, heaviest first within each kind.
    pub stacks: Vec<StackTotals>,
    /// The files that these stacks lead through.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<Module>,
    /// What is missing, by cause; empty: nothing.
    pub lost: BTreeMap<String, u64>,
    /// What tracing cost.
    pub overhead: Option<Overhead>,
}

/// Who measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tracer {
    /// alloctrace's version.
    pub version: String,
    /// The kernel's release.
    pub kernel: String,
    /// A row for each signal.
    pub probes: Vec<ProbeStatus>,
}

/// The status of a signal that is measured.
pub const ATTACHED: &str = "attached";

/// How a signal is measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProbeStatus {
    /// The signal: `mmap`, `faults`, …
    pub signal: String,
    /// The rung of the ladder that carries it; none if no rung could.
    pub backend: Option<String>,
    /// [`ATTACHED`], `failed`, or `off`: the user left it out.
    pub status: String,
    /// Why the better rungs are not used, or why none is.
    pub reason: Option<String>,
}

/// The signals that are not measured, together where they follow each other for the same reason.
pub fn unmeasured(probes: &[ProbeStatus]) -> Vec<(Vec<&str>, Option<&str>)> {
    let missing: Vec<_> = probes.iter().filter(|probe| probe.status != ATTACHED).collect();
    let by_reason = missing.chunk_by(|one, next| one.reason == next.reason);
    by_reason
        .map(|rows| {
            let names = rows.iter().map(|row| row.signal.as_str()).collect();
            (names, rows.iter().find_map(|row| row.reason.as_deref()))
        })
        .collect()
}

/// The traced process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetInfo {
    /// Its pid.
    pub pid: u32,
    /// When it was forked, in seconds after boot.
    pub start_time: Option<f64>,
    /// The kernel's name for it.
    pub comm: String,
    /// The executable's path.
    pub exe: Option<String>,
    /// Its arguments.
    pub cmdline: Vec<String>,
    /// Threads at the end of the window, or when last seen.
    pub threads: Option<u64>,
    /// The allocator, where it is known.
    pub allocator: Option<String>,
}

/// The time that the numbers cover.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Window {
    /// Its length.
    pub seconds: f64,
    /// False: something was lost, and the totals named in `lost` are lower bounds.
    pub complete: bool,
    /// When it began, in seconds since 1970 by the machine's clock: for people, and for programs that put
    /// profiles in order. Nothing is computed from it.
    pub started_at: Option<f64>,
}

/// CPU time of the target in the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cpu {
    /// In user mode.
    pub user_seconds: Option<f64>,
    /// In the kernel.
    pub system_seconds: Option<f64>,
    /// Times it gave the CPU up.
    pub voluntary_switches: Option<u64>,
    /// Times the CPU was taken from it.
    pub involuntary_switches: Option<u64>,
}

impl Cpu {
    /// In either mode.
    #[must_use]
    pub fn seconds(&self) -> Option<f64> {
        Some(self.user_seconds? + self.system_seconds?)
    }
}

/// Calls of one system call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyscallTotals {
    /// How many came to an end, failures included.
    pub calls: u64,
    /// How many the kernel refused.
    pub failures: u64,
    /// What the successful ones were about.
    pub bytes: u64,
    /// Time between entry and exit, waiting included.
    pub seconds: f64,
    /// Failures by error number.
    #[serde(skip)]
    pub errnos: BTreeMap<u32, u64>,
    /// Calls by duration, see [`tracer_common::duration_bucket`].
    #[serde(skip)]
    pub durations: [u64; DURATION_BUCKETS],
}

/// Page faults in the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FaultTotals {
    /// Without a read from disk; exact.
    pub minor: Option<u64>,
    /// With one; exact.
    pub major: Option<u64>,
    /// Time in them, sampled.
    pub seconds: Option<f64>,
    /// How many samples `seconds` rests on.
    #[serde(skip)]
    pub samples: u64,
}

/// Resident memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resident {
    /// When the window began.
    pub before: u64,
    /// When it ended, or when the target was last seen.
    pub after: u64,
}

/// A share of the target's CPU time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuShare {
    /// What it was doing: `user`, `allocator` (in user mode as well; absent where no stack tells),
    /// `fault`, `mmap`, `munmap`, …, `other_kernel`.
    #[serde(rename = "where")]
    pub place: String,
    /// Between 0 and 1.
    pub share: f64,
}

/// All that came from one user stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StackTotals {
    /// `mmap`, `munmap`, `mremap`, `brk`, `madvise`, `fault`, `major_fault`, `futex`, `cpu`,
    /// `lookup` or `malloc`.
    pub kind: String,
    /// The class of a CPU sample, as in [`CpuShare`]; the kernel's function of a look-up; the
    /// allocator's of a call; why a page faulted: `new`, `trimmed`, `advised`, `forked` or `repeated`.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Innermost first.
    pub frames: Vec<Frame>,
    /// Calls, faults, samples or look-ups that it stands for; of the allocator's calls those that were
    /// counted, never scaled to the window.
    pub count: u64,
    /// Bytes that the calls were about.
    pub bytes: u64,
    /// Kernel time of the calls; CPU time of the samples; unknown for look-ups and for faults of a
    /// backend without exits.
    pub seconds: Option<f64>,
    /// What became of the blocks that the allocator's calls returned; absent where they were not followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocks: Option<BlockTotals>,
    /// What became of the blocks that the allocator's calls wanted to have another size; absent where there
    /// were none, or results were not seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resizes: Option<SiteResizes>,
}

/// A place in a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Frame {
    /// The function, demangled.
    pub symbol: Option<String>,
    /// The file that holds it.
    pub module: Option<String>,
    /// The place in that file, in bytes; the address where no file is known.
    pub offset: u64,
    /// Source file.
    pub file: Option<String>,
    /// Source line.
    pub line: Option<u32>,
}

/// A file that code was in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Module {
    /// As the frames call it.
    pub module: String,
    /// Which build of it, in hexadecimal digits; unknown where the file has no such number or was replaced
    /// meanwhile, or where two files had this name.
    pub build_id: Option<String>,
}

/// What tracing cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Overhead {
    /// Time that the kernel programs ran, measured in part of the window and scaled up.
    pub seconds: f64,
    /// The same as a share of the target's CPU time.
    pub share_of_target: Option<f64>,
}
