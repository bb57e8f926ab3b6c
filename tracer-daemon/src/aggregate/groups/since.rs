use tracer_common::{FaultTime, Lifecycle, LockWaits, LookupCounts, SyscallCounter};

/// Counters whose growth can be told.
pub(super) trait Since: Copy {
    /// What was added since `previous`. A counter below its previous reading is another one that
    /// began at 0.
    fn since(self, previous: Self) -> Self;
}

impl Since for u64 {
    fn since(self, previous: Self) -> Self {
        self.checked_sub(previous).unwrap_or(self)
    }
}

impl Since for SyscallCounter {
    fn since(self, previous: Self) -> Self {
        Self {
            calls: self.calls.since(previous.calls),
            failures: self.failures.since(previous.failures),
            bytes: self.bytes.since(previous.bytes),
            duration_ns: self.duration_ns.since(previous.duration_ns),
            durations: std::array::from_fn(|at| self.durations[at].since(previous.durations[at])),
        }
    }
}

impl Since for LockWaits {
    fn since(self, previous: Self) -> Self {
        Self {
            waits: self.waits.since(previous.waits),
            wait_ns: self.wait_ns.since(previous.wait_ns),
            durations: std::array::from_fn(|at| self.durations[at].since(previous.durations[at])),
        }
    }
}

impl Since for LookupCounts {
    fn since(self, previous: Self) -> Self {
        Self { calls: std::array::from_fn(|at| self.calls[at].since(previous.calls[at])) }
    }
}

impl Since for FaultTime {
    fn since(self, previous: Self) -> Self {
        Self {
            samples: self.samples.since(previous.samples),
            duration_ns: self.duration_ns.since(previous.duration_ns),
        }
    }
}

impl Since for Lifecycle {
    fn since(self, previous: Self) -> Self {
        Self {
            forks: self.forks.since(previous.forks),
            execs: self.execs.since(previous.execs),
            exits: self.exits.since(previous.exits),
        }
    }
}
