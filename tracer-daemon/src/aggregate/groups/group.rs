use std::time::Duration;

use tracer_common::{FaultTime, Lifecycle, LockWaits, LookupCounts, Syscall, SyscallCounter};

use super::{Faults, Measured};
use crate::{
    aggregate::{
        counters::Sum,
        locks::LockSide,
        machine::{CallTotals, GroupTotals},
    },
    census::AreaCount,
};

const NS: f64 = 1e9;

/// A group's totals so far.
#[derive(Default)]
pub(super) struct Group {
    pub(super) totals: GroupTotals,
    /// Faults whose time is not known yet.
    untimed: u64,
    /// Sampled since the last reckoning.
    sampled: FaultTime,
    /// When a process was last in it.
    pub(super) last_held: Duration,
    /// Whether nobody has entered it since groups were told apart in another way.
    pub(super) is_superseded: bool,
}

impl Group {
    /// The totals of what is measured begin at 0, others stay absent.
    pub(super) fn new(measured: &Measured, now: Duration) -> Self {
        let calls = measured.calls.iter().map(|call| (*call, CallTotals::default()));
        let lookups = measured.lookups.iter().map(|function| (*function, 0));
        let (syscalls, lookups) = (calls.collect(), lookups.collect());
        let totals = GroupTotals { syscalls, lookups, ..GroupTotals::default() };
        Self { totals, last_held: now, ..Self::default() }
    }

    /// Adds what another group has counted, which ends with that. Gauges are of processes, and it has
    /// none.
    pub(super) fn take_over(&mut self, other: Self) {
        let Self { totals, untimed, sampled, .. } = other;
        for (call, more) in totals.syscalls {
            self.totals.syscalls.entry(call).or_default().take_over(more);
        }
        for (side, more) in totals.lock_waits {
            self.add_lock_waits(side, &more);
        }
        for (function, more) in totals.lookups {
            let sum = self.totals.lookups.entry(function).or_default();
            *sum = sum.saturating_add(more);
        }
        for (place, more) in totals.cpu_samples {
            self.add_cpu(place, more);
        }
        self.totals.minor_faults = self.totals.minor_faults.saturating_add(totals.minor_faults);
        self.totals.major_faults = self.totals.major_faults.saturating_add(totals.major_faults);
        if let Some(seconds) = totals.fault_seconds {
            *self.totals.fault_seconds.get_or_insert(0.0) += seconds;
        }
        self.untimed = self.untimed.saturating_add(untimed);
        self.sampled = self.sampled.plus(sampled);
        self.totals.forks = self.totals.forks.saturating_add(totals.forks);
        self.totals.execs = self.totals.execs.saturating_add(totals.execs);
        self.totals.exits = self.totals.exits.saturating_add(totals.exits);
    }

    pub(super) fn add_calls(&mut self, call: Syscall, grown: &SyscallCounter) {
        let totals = self.totals.syscalls.entry(call).or_default();
        totals.calls = totals.calls.saturating_add(grown.calls);
        totals.bytes = totals.bytes.saturating_add(grown.bytes);
        totals.duration_ns = totals.duration_ns.saturating_add(grown.duration_ns);
        for (sum, calls) in totals.durations.iter_mut().zip(grown.durations) {
            *sum = sum.saturating_add(calls);
        }
    }

    pub(super) fn add_failures(&mut self, call: Syscall, errno: u32, grown: u64) {
        let totals = self.totals.syscalls.entry(call).or_default();
        let sum = totals.failures.entry(errno).or_default();
        *sum = sum.saturating_add(grown);
    }

    pub(super) fn add_lock_waits(&mut self, side: LockSide, grown: &LockWaits) {
        let waits = self.totals.lock_waits.entry(side).or_default();
        waits.waits = waits.waits.saturating_add(grown.waits);
        waits.wait_ns = waits.wait_ns.saturating_add(grown.wait_ns);
        for (sum, waits) in waits.durations.iter_mut().zip(grown.durations) {
            *sum = sum.saturating_add(waits);
        }
    }

    pub(super) fn add_lookups(&mut self, grown: &LookupCounts) {
        for (function, sum) in &mut self.totals.lookups {
            *sum = sum.saturating_add(grown.calls[*function as usize]);
        }
    }

    pub(super) fn add_cpu(&mut self, place: &'static str, grown: u64) {
        let samples = self.totals.cpu_samples.entry(place).or_default();
        *samples = samples.saturating_add(grown);
    }

    pub(super) fn add_lifecycle(&mut self, grown: &Lifecycle) {
        self.totals.forks = self.totals.forks.saturating_add(grown.forks);
        self.totals.execs = self.totals.execs.saturating_add(grown.execs);
    }

    pub(super) fn add_faults(&mut self, grown: Faults) {
        self.totals.minor_faults = self.totals.minor_faults.saturating_add(grown.minor);
        self.totals.major_faults = self.totals.major_faults.saturating_add(grown.major);
        let both = grown.minor.saturating_add(grown.major);
        self.untimed = self.untimed.saturating_add(both);
    }

    pub(super) fn add_areas(&mut self, count: Option<AreaCount>) {
        if let Some(AreaCount { areas, holes }) = count {
            let totals = self.totals.areas.get_or_insert_default();
            totals.largest = totals.largest.max(areas);
            totals.sum = totals.sum.saturating_add(areas);
            totals.most_holes = totals.most_holes.max(holes);
        }
    }

    pub(super) fn add_fault_time(&mut self, grown: FaultTime) {
        self.sampled.samples = self.sampled.samples.saturating_add(grown.samples);
        self.sampled.duration_ns = self.sampled.duration_ns.saturating_add(grown.duration_ns);
    }

    /// Faults since the last sample take as long as the samples on average. Without a sample they
    /// wait for the next one.
    pub(super) fn reckon_fault_time(&mut self) {
        let FaultTime { samples, duration_ns } = std::mem::take(&mut self.sampled);
        if samples > 0 {
            let faults = std::mem::take(&mut self.untimed);
            let seconds = duration_ns as f64 / samples as f64 * faults as f64 / NS;
            *self.totals.fault_seconds.get_or_insert(0.0) += seconds;
        }
    }
}

impl CallTotals {
    fn take_over(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.duration_ns = self.duration_ns.saturating_add(other.duration_ns);
        for (sum, calls) in self.durations.iter_mut().zip(other.durations) {
            *sum = sum.saturating_add(calls);
        }
        for (errno, calls) in other.failures {
            let sum = self.failures.entry(errno).or_default();
            *sum = sum.saturating_add(calls);
        }
    }
}
