use std::sync::Arc;

use tracer_common::{FaultTime, Lifecycle, LockKey, LockWaits, LookupCounts, SyscallCounter};

use super::{Faults, since::Since};

/// How far a process has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// `/proc` has it.
    Alive,
    /// `/proc` does not have it, and no probe saw its end: the next look decides.
    Missing,
    /// Its end is known since this look.
    Ended,
    /// Its end is known for a whole interval: nothing counts for it any more.
    Settled,
}

impl Stage {
    pub(super) fn next(self, present: bool, dead: bool) -> Self {
        match self {
            Self::Ended | Self::Settled => Self::Settled,
            Self::Alive | Self::Missing if dead => Self::Ended,
            Self::Alive | Self::Missing if present => Self::Alive,
            Self::Alive => Self::Missing,
            Self::Missing => Self::Ended,
        }
    }

    pub(super) const fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Settled)
    }
}

/// A process, and its counters when they were last read.
pub(super) struct Member {
    pub(super) group: Arc<str>,
    pub(super) stage: Stage,
    /// As `/proc` says: the kernel programs may not know it.
    pub(super) start_ticks: u64,
    pub(super) faults: Faults,
    calls: Vec<(u32, SyscallCounter)>,
    failures: Vec<((u32, u32), u64)>,
    lock_waits: Vec<(LockKey, LockWaits)>,
    lookups: LookupCounts,
    cpu: Vec<(&'static str, u64)>,
    fault_time: FaultTime,
    pub(super) lifecycle: Lifecycle,
}

impl Member {
    pub(super) fn new(group: Arc<str>, start_ticks: u64, stage: Stage, faults: Faults) -> Self {
        Self {
            group,
            stage,
            start_ticks,
            faults,
            calls: Vec::new(),
            failures: Vec::new(),
            lock_waits: Vec::new(),
            lookups: LookupCounts::default(),
            cpu: Vec::new(),
            fault_time: FaultTime::default(),
            lifecycle: Lifecycle::default(),
        }
    }

    /// Faults since the last reading. A process's faults never go down; a lower reading comes from
    /// a source that saw less.
    pub(super) fn faults_since(&mut self, now: Faults) -> Faults {
        let grown = Faults {
            minor: now.minor.saturating_sub(self.faults.minor),
            major: now.major.saturating_sub(self.faults.major),
        };
        self.faults = self.faults.max(now);
        grown
    }

    pub(super) fn calls_since(&mut self, call: u32, now: SyscallCounter) -> SyscallCounter {
        grown(&mut self.calls, call, now)
    }

    pub(super) fn failures_since(&mut self, call: u32, errno: u32, now: u64) -> u64 {
        grown(&mut self.failures, (call, errno), now)
    }

    pub(super) fn lock_waits_since(&mut self, key: LockKey, now: LockWaits) -> LockWaits {
        grown(&mut self.lock_waits, key, now)
    }

    pub(super) fn lookups_since(&mut self, now: LookupCounts) -> LookupCounts {
        now.since(std::mem::replace(&mut self.lookups, now))
    }

    pub(super) fn cpu_since(&mut self, place: &'static str, now: u64) -> u64 {
        grown(&mut self.cpu, place, now)
    }

    pub(super) fn fault_time_since(&mut self, now: FaultTime) -> FaultTime {
        now.since(std::mem::replace(&mut self.fault_time, now))
    }

    pub(super) fn lifecycle_since(&mut self, now: Lifecycle) -> Lifecycle {
        now.since(std::mem::replace(&mut self.lifecycle, now))
    }
}

/// A process has few kinds of calls and errors: a list is smaller than a map, and as quick.
fn grown<K: PartialEq, V: Since>(last: &mut Vec<(K, V)>, key: K, now: V) -> V {
    if let Some((_, value)) = last.iter_mut().find(|(known, _)| *known == key) {
        return now.since(std::mem::replace(value, now));
    }
    last.push((key, now));
    now
}
