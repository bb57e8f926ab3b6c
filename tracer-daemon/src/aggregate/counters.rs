//! The kernel's counters at one moment.

use std::collections::HashMap;

use tracer_common::{
    AllocationCounter, ErrnoKey, ExitTotals, FaultTime, FutexWaits, Lifecycle, LockKey, LockWaits,
    LookupCounts, Loss, ProcessId, ResizeCounter, SyscallCounter, SyscallKey,
};

use super::cpu_by_process::CpuKey;

/// Every counter as it stood, summed over the CPUs.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Calls.
    pub syscalls: HashMap<SyscallKey, SyscallCounter>,
    /// Refused calls.
    pub errnos: HashMap<ErrnoKey, u64>,
    /// Sampled fault times.
    pub fault_times: HashMap<ProcessId, FaultTime>,
    /// Forks, execs, exits.
    pub lifecycles: HashMap<ProcessId, Lifecycle>,
    /// Waits for `mmap_lock`.
    pub lock_waits: HashMap<LockKey, LockWaits>,
    /// Waits for futexes; empty where they were not asked for.
    pub futex_waits: HashMap<ProcessId, FutexWaits>,
    /// Look-ups; empty where they were not asked for.
    pub lookups: HashMap<ProcessId, LookupCounts>,
    /// Samples of the CPU clock; empty where they come as records.
    pub cpu: HashMap<CpuKey, u64>,
    /// What ended threads left.
    pub exits: HashMap<ProcessId, ExitTotals>,
    /// What is missing.
    pub lost: HashMap<Loss, u64>,
}

impl Counters {
    /// Every process that has a counter, most of them more than once.
    pub fn processes(&self) -> impl Iterator<Item = ProcessId> {
        let plain = self.exits.keys().chain(self.lifecycles.keys());
        let plain = plain.chain(self.fault_times.keys()).chain(self.lookups.keys()).copied();
        let plain = plain.chain(self.cpu.keys().map(|key| key.process));
        let plain = plain.chain(self.lock_waits.keys().map(|key| key.process));
        plain.chain(self.syscalls.keys().map(|key| key.process))
    }
}

/// Counters that add up.
pub trait Sum: Copy {
    /// Both together. Wraps like the kernel's own counters.
    #[must_use]
    fn plus(self, other: Self) -> Self;
}

impl Sum for u64 {
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
}

impl Sum for SyscallCounter {
    fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls.plus(other.calls),
            failures: self.failures.plus(other.failures),
            bytes: self.bytes.plus(other.bytes),
            duration_ns: self.duration_ns.plus(other.duration_ns),
            durations: std::array::from_fn(|at| self.durations[at].plus(other.durations[at])),
        }
    }
}

impl Sum for AllocationCounter {
    fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls.plus(other.calls),
            bytes: self.bytes.plus(other.bytes),
            ended: self.ended.plus(other.ended),
            failures: self.failures.plus(other.failures),
            sizes: std::array::from_fn(|at| self.sizes[at].plus(other.sizes[at])),
        }
    }
}

impl Sum for ResizeCounter {
    fn plus(self, other: Self) -> Self {
        Self {
            calls: std::array::from_fn(|at| self.calls[at].plus(other.calls[at])),
            copied: self.copied.plus(other.copied),
            grown: self.grown.plus(other.grown),
            unsized_moves: self.unsized_moves.plus(other.unsized_moves),
            unsized_bytes: self.unsized_bytes.plus(other.unsized_bytes),
        }
    }
}

impl Sum for LockWaits {
    fn plus(self, other: Self) -> Self {
        Self {
            waits: self.waits.plus(other.waits),
            wait_ns: self.wait_ns.plus(other.wait_ns),
            durations: std::array::from_fn(|at| self.durations[at].plus(other.durations[at])),
        }
    }
}

impl Sum for LookupCounts {
    fn plus(self, other: Self) -> Self {
        Self { calls: std::array::from_fn(|at| self.calls[at].plus(other.calls[at])) }
    }
}

impl Sum for FutexWaits {
    fn plus(self, other: Self) -> Self {
        Self {
            waits: self.waits.wrapping_add(other.waits),
            wait_ns: self.wait_ns.wrapping_add(other.wait_ns),
        }
    }
}

impl Sum for FaultTime {
    fn plus(self, other: Self) -> Self {
        Self {
            samples: self.samples.plus(other.samples),
            duration_ns: self.duration_ns.plus(other.duration_ns),
        }
    }
}

impl Sum for Lifecycle {
    fn plus(self, other: Self) -> Self {
        Self {
            forks: self.forks.plus(other.forks),
            execs: self.execs.plus(other.execs),
            exits: self.exits.plus(other.exits),
        }
    }
}
