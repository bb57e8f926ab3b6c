//! What is read at the two ends of a moment in which calls are counted.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tracer_common::{AllocationCall, AllocationCounter, HitCounter, ProcessId};

use super::price::Prices;
use crate::{
    aggregate::allocation_rate::{Hits, Moment},
    census::cpu_clock_ns,
    source::KernelMaps,
};

/// Counters by function.
pub(super) type Calls = HashMap<AllocationCall, AllocationCounter>;

/// Totals of a process at an instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readings {
    pub(super) at: Instant,
    calls: u64,
    cpu: Duration,
    hits: [u64; HitCounter::ALL.len()],
}

impl Readings {
    /// Reads all but the calls, which takes microseconds. A process that has ended has no CPU time.
    pub(super) fn now(maps: &KernelMaps, process: ProcessId) -> Self {
        Self {
            at: Instant::now(),
            calls: 0,
            cpu: Duration::from_nanos(cpu_clock_ns(process.pid).unwrap_or_default()),
            // A map of this size can always be read.
            hits: maps.allocations.hits().unwrap_or_default(),
        }
    }

    /// The same with calls.
    pub(super) fn with(self, calls: &Calls) -> Self {
        Self { calls: calls.values().map(|counter| counter.calls).sum(), ..self }
    }

    /// The moment since then, before which there was none for this long.
    pub(super) fn moment_since(self, begin: Self, before: Duration, prices: Prices) -> Moment {
        Moment {
            length: self.at - begin.at,
            before,
            calls: self.calls_since(begin),
            cpu: self.cpu_since(begin),
            hits: self.hits_since(begin),
            price: prices.of(self.new_hits(begin)),
        }
    }

    /// Calls that were counted since then.
    pub(super) fn calls_since(self, begin: Self) -> u64 {
        self.calls.saturating_sub(begin.calls)
    }

    /// Hits since then.
    pub(super) fn hits_since(self, begin: Self) -> Hits {
        let [emulated, stepped, emulated_back, stepped_back, _] = self.new_hits(begin);
        Hits { asking: emulated + stepped, back: emulated_back + stepped_back }
    }

    fn new_hits(self, begin: Self) -> [u64; HitCounter::ALL.len()] {
        std::array::from_fn(|at| self.hits[at].saturating_sub(begin.hits[at]))
    }

    /// CPU time since then.
    pub(super) fn cpu_since(self, begin: Self) -> Duration {
        self.cpu.saturating_sub(begin.cpu)
    }
}

/// CPU time of this thread so far.
pub(super) fn own_cpu_time() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

/// Nanoseconds of the clock that the kernel programs read.
pub(super) fn kernel_clock() -> u64 {
    clock(ClockId::Monotonic).as_nanos() as u64
}

fn clock(id: ClockId) -> Duration {
    // Neither of them was ever before its zero.
    clock_gettime(id).try_into().unwrap_or_default()
}
