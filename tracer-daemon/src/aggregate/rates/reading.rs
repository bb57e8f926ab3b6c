use std::collections::HashMap;

use tracer_common::{FaultTime, ProcessId};

use super::{NS, Rates, Standing};
use crate::aggregate::{
    cpu::{SAMPLES_PER_SECOND, is_memory},
    machine::GroupTotals,
};

/// Counters at one moment, or what they have grown by.
#[derive(Clone, Copy, Default)]
pub(super) struct Reading {
    calls: u64,
    call_ns: u64,
    minor: u64,
    major: u64,
    /// Samples of the CPU clock in which the kernel was busy with memory.
    cpu_samples: u64,
}

impl Reading {
    pub(super) fn of_group(totals: &GroupTotals) -> Self {
        let calls = totals.syscalls.values();
        let places = totals.cpu_samples.iter();
        Self {
            calls: calls.clone().map(|call| call.calls).sum(),
            call_ns: calls.map(|call| call.duration_ns).sum(),
            minor: totals.minor_faults,
            major: totals.major_faults,
            cpu_samples: places
                .filter(|(place, _)| is_memory(place))
                .map(|(_, samples)| samples)
                .sum(),
        }
    }

    /// Counters of a process may begin anew.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(before.calls),
            call_ns: self.call_ns.saturating_sub(before.call_ns),
            minor: self.minor.saturating_sub(before.minor),
            major: self.major.saturating_sub(before.major),
            cpu_samples: self.cpu_samples.saturating_sub(before.cpu_samples),
        }
    }

    pub(super) fn faults(&self) -> u64 {
        self.minor.saturating_add(self.major)
    }

    pub(super) fn rates(&self, in_faults: f64, seconds: f64, has_cpu: bool) -> Rates {
        let cpu = self.cpu_samples as f64 / SAMPLES_PER_SECOND as f64;
        Rates {
            calls: self.calls as f64 / seconds,
            faults: self.faults() as f64 / seconds,
            major_faults: self.major as f64 / seconds,
            time: (self.call_ns as f64 / NS + in_faults.max(0.0)) / seconds,
            cpu: has_cpu.then_some(cpu / seconds),
        }
    }
}

/// Each fault took as long as those that were timed, on average.
pub(super) fn fault_seconds(faults: u64, now: FaultTime, before: FaultTime) -> f64 {
    let samples = now.samples.saturating_sub(before.samples);
    if samples == 0 {
        return 0.0;
    }
    let timed = now.duration_ns.saturating_sub(before.duration_ns) as f64 / NS;
    timed / samples as f64 * faults as f64
}

/// Every living process.
pub(super) fn of_processes(standing: &Standing<'_>) -> HashMap<ProcessId, (Reading, FaultTime)> {
    let counters = standing.counters;
    let mut readings: HashMap<_, _> = standing
        .living
        .iter()
        .map(|(id, live)| {
            let faults = live.faults;
            let reading =
                Reading { minor: faults.minor, major: faults.major, ..Reading::default() };
            let timed = counters.fault_times.get(id).copied().unwrap_or_default();
            (*id, (reading, timed))
        })
        .collect();
    for (key, counter) in &counters.syscalls {
        if let Some((reading, _)) = readings.get_mut(&key.process) {
            reading.calls = reading.calls.saturating_add(counter.calls);
            reading.call_ns = reading.call_ns.saturating_add(counter.duration_ns);
        }
    }
    for (key, samples) in &counters.cpu {
        let on_memory = is_memory(key.class.name());
        if let Some((reading, _)) = readings.get_mut(&key.process).filter(|_| on_memory) {
            reading.cpu_samples = reading.cpu_samples.saturating_add(*samples);
        }
    }
    readings
}
