//! What memory management takes of a CPU for each process of a machine, from counters that only grow.

use std::collections::HashMap;

use tracer_common::ProcessId;

use super::{
    counters::Counters,
    cpu::{CpuClass, OTHER_KERNEL, SAMPLES_PER_SECOND},
};

/// In less time a few samples would make a load.
const SHORTEST: f64 = 4.0;

/// The processes as they were over the last interval of some seconds.
#[derive(Default)]
pub struct Loads {
    seconds: f64,
    sums: HashMap<ProcessId, Sums>,
    costs: HashMap<ProcessId, f64>,
}

/// Of a process, since its beginning.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// Samples of its CPU time in the kernel, for memory.
    samples: u64,
    /// In memory calls, waiting included.
    calls_ns: u64,
    /// Waiting for the lock of its address space, in calls and in faults.
    waits_ns: u64,
}

impl Loads {
    /// Takes in the counters, `seconds` after the last ones. A process that was not there before has no load yet.
    pub fn take(&mut self, counters: &Counters, seconds: f64) {
        self.seconds += seconds;
        if self.seconds < SHORTEST {
            return;
        }
        let seconds = std::mem::take(&mut self.seconds);
        let now = sums(counters);
        self.costs = now
            .iter()
            .filter_map(|(id, now)| Some((*id, self.sums.get(id)?.cost_until(now, seconds))))
            .collect();
        self.sums = now;
    }

    /// Seconds a second, of CPU time or of waiting, whichever is more; 0 for what was not seen to do anything.
    #[must_use]
    pub fn cost(&self, process: ProcessId) -> f64 {
        self.costs.get(&process).copied().unwrap_or(0.0)
    }
}

fn sums(counters: &Counters) -> HashMap<ProcessId, Sums> {
    let mut sums: HashMap<ProcessId, Sums> = HashMap::new();
    for (key, samples) in &counters.cpu {
        if let CpuClass::Kernel(place) = key.class
            && place != OTHER_KERNEL
        {
            sums.entry(key.process).or_default().samples += samples;
        }
    }
    for (key, counter) in &counters.syscalls {
        sums.entry(key.process).or_default().calls_ns += counter.duration_ns;
    }
    for (key, waits) in &counters.lock_waits {
        sums.entry(key.process).or_default().waits_ns += waits.wait_ns;
    }
    sums
}

impl Sums {
    fn cost_until(self, now: &Self, seconds: f64) -> f64 {
        let sampled = now.samples.saturating_sub(self.samples) as f64 / SAMPLES_PER_SECOND as f64;
        let called = now.calls_ns.saturating_sub(self.calls_ns) as f64 / 1e9;
        let waited = now.waits_ns.saturating_sub(self.waits_ns) as f64 / 1e9;
        sampled.max(called).max(waited) / seconds
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::{LockKey, LockWaits, Syscall, SyscallCounter, SyscallKey};

    use super::*;
    use crate::aggregate::cpu_by_process::CpuKey;

    const A: ProcessId = ProcessId::new(1, 10);
    const B: ProcessId = ProcessId::new(2, 10);

    fn sampled(samples: &[(ProcessId, CpuClass, u64)]) -> Counters {
        let cpu = samples
            .iter()
            .map(|(process, class, count)| (CpuKey { process: *process, class: *class }, *count));
        Counters { cpu: cpu.collect(), ..Counters::default() }
    }

    #[test]
    fn only_the_kernels_time_for_memory_is_a_load() {
        let mut loads = Loads::default();
        let [zeroing, fault] = [CpuClass::Kernel("page_zeroing"), CpuClass::Kernel("fault")];
        let other = CpuClass::Kernel(OTHER_KERNEL);
        loads.take(&sampled(&[(A, zeroing, 1000), (A, CpuClass::User, 7)]), 5.0);
        assert_eq!(loads.cost(A), 0.0, "when it had those is not known");
        let later = [(A, zeroing, 1099), (A, fault, 99), (A, CpuClass::User, 999), (A, other, 999)];
        loads.take(&sampled(&later), 4.0);
        assert_eq!(loads.cost(A), 0.5);
        assert_eq!(loads.cost(B), 0.0);
        loads.take(&sampled(&later), 4.0);
        assert_eq!(loads.cost(A), 0.0, "of the last interval");
        loads.take(&Counters::default(), 4.0);
        loads.take(&sampled(&later), 4.0);
        assert_eq!(loads.cost(A), 0.0, "it had been forgotten");
    }

    #[test]
    fn waiting_is_a_load_that_no_sample_shows() {
        let call = |process, ns| {
            let counter = SyscallCounter { duration_ns: ns, ..SyscallCounter::default() };
            (SyscallKey { process, syscall: Syscall::Munmap as u32, reserved: 0 }, counter)
        };
        let wait = |process, ns| {
            let waits = LockWaits { wait_ns: ns, ..LockWaits::default() };
            (LockKey { process, ..LockKey::default() }, waits)
        };
        let counters = |calls: u64, waits: u64| Counters {
            syscalls: [call(A, calls), call(B, calls)].into(),
            lock_waits: [wait(B, waits)].into(),
            ..Counters::default()
        };
        let mut loads = Loads::default();
        loads.take(&counters(1_000_000_000, 0), 4.0);
        loads.take(&counters(2_000_000_000, 1_000_000_000), 2.0);
        assert_eq!(loads.cost(B), 0.0, "too short to tell");
        loads.take(&counters(3_000_000_000, 6_000_000_000), 2.0);
        assert_eq!((loads.cost(A), loads.cost(B)), (0.5, 1.5));
    }
}
