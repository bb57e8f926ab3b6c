//! Faults that read from disk: where they fall, and how long threads wait in them.

use std::time::Instant;

use tracer_common::ProcessId;

use super::{addresses::Addresses, snapshot::MajorFaults, stacks::Program};
use crate::census::{Area, ThreadTimes};

/// Those whose place was seen.
#[derive(Clone, Debug, Default)]
pub struct MajorFaultSamples {
    samples: u64,
    addresses: Addresses,
}

impl MajorFaultSamples {
    /// One more.
    pub fn add(&mut self, program: Program, address: u64) {
        self.samples += 1;
        self.addresses.add(program, address);
    }

    /// The mappings of `process` that they fell into; `areas` are those of its last program.
    #[must_use]
    pub fn snapshot(&self, process: ProcessId, areas: &[Area]) -> MajorFaults {
        let mappings = self.addresses.mappings(process, areas);
        MajorFaults { samples: self.samples, mappings, ..MajorFaults::default() }
    }
}

/// How long threads wait for the disk in faults; the kernel says it only where `kernel.task_delayacct` is on.
///
/// How long threads neither run nor wait for a CPU is exact. What they wait for is seen now and then: the
/// share that cannot be interrupted is taken for the disk's, while major faults end.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskWaits {
    last: Option<(Instant, u64, ThreadTimes)>,
    /// Nanoseconds that threads did not want a CPU, and threads that were seen waiting and sleeping.
    sum: Idle,
    /// The same, of which it is not yet known whether it is a fault's.
    pending: Idle,
    is_unknown: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Idle {
    ns: u64,
    waiting: u64,
    sleeping: u64,
}

impl Idle {
    fn plus(self, other: Self) -> Self {
        Self {
            ns: self.ns.saturating_add(other.ns),
            waiting: self.waiting.saturating_add(other.waiting),
            sleeping: self.sleeping.saturating_add(other.sleeping),
        }
    }
}

impl DiskWaits {
    /// What threads do at `now`, after so many major faults. `None`: nobody knows.
    pub fn look(&mut self, now: Instant, major_faults: u64, times: Option<ThreadTimes>) {
        let Some(times) = times else {
            self.is_unknown = true;
            return;
        };
        if let Some((at, before, last)) = self.last {
            let ns =
                u64::try_from(now.saturating_duration_since(at).as_nanos()).unwrap_or(u64::MAX);
            // A thread that has ended takes its times with it.
            let awake = times.awake_ns.saturating_sub(last.awake_ns);
            let all = ns.saturating_mul(times.threads.min(last.threads));
            let ThreadTimes { waiting, sleeping, .. } = times;
            let idle = Idle { ns: all.saturating_sub(awake), waiting, sleeping };
            self.pending = self.pending.plus(idle);
            if major_faults > before {
                self.sum = self.sum.plus(self.pending);
            }
            if major_faults > before || waiting == 0 {
                self.pending = Idle::default();
            }
        }
        self.last = Some((now, major_faults, times));
    }

    /// The time, summed over threads; `None`: it is not known.
    #[must_use]
    pub fn seconds(&self) -> Option<f64> {
        let Idle { ns, waiting, sleeping } = self.sum;
        let share = waiting as f64 / waiting.saturating_add(sleeping).max(1) as f64;
        (!self.is_unknown).then_some(ns as f64 / 1e9 * share)
    }

    /// Threads that were seen waiting, and all that were seen not to want a CPU.
    #[must_use]
    pub fn seen(&self) -> (u64, u64) {
        (self.sum.waiting, self.sum.waiting.saturating_add(self.sum.sleeping))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TENTH: u64 = 100_000_000;

    /// Looks at each tenth of a second, at two threads that want a CPU for half a tenth in between: major
    /// faults, threads waiting and sleeping.
    fn waits(looks: &[(u64, u64, u64)]) -> DiskWaits {
        let (mut waits, begin) = (DiskWaits::default(), Instant::now());
        for (tenths, (faults, waiting, sleeping)) in (0..).zip(looks) {
            let times = ThreadTimes {
                threads: 2,
                awake_ns: tenths * TENTH / 2,
                waiting: *waiting,
                sleeping: *sleeping,
            };
            waits.look(begin + Duration::from_nanos(TENTH * tenths), *faults, Some(times));
        }
        waits
    }

    fn is_near(waits: DiskWaits, seconds: f64, seen: (u64, u64)) {
        assert!(waits.seconds().is_some_and(|sum| (sum - seconds).abs() < 1e-9), "{waits:?}");
        assert_eq!(waits.seen(), seen);
    }

    #[test]
    fn the_time_is_exact_and_its_share_is_seen() {
        is_near(waits(&[(5, 1, 0), (9, 1, 0), (12, 1, 0)]), 0.3, (2, 2));
        is_near(waits(&[(5, 1, 1), (9, 1, 1), (12, 1, 1), (13, 0, 2)]), 0.45 / 3.0, (2, 6));
    }

    #[test]
    fn waits_without_major_faults_are_something_else() {
        is_near(waits(&[(5, 1, 0), (5, 1, 0), (5, 0, 1), (6, 0, 1)]), 0.0, (0, 1));
    }

    #[test]
    fn a_fault_may_take_longer_than_a_look() {
        is_near(waits(&[(5, 0, 0), (5, 1, 0), (5, 1, 0), (6, 1, 0)]), 0.45, (3, 3));
    }

    #[test]
    fn what_was_not_looked_at_is_unknown() {
        let mut some = waits(&[(5, 1, 0), (9, 1, 0)]);
        some.look(Instant::now(), 9, None);
        assert_eq!(some.seconds(), None);
        is_near(waits(&[]), 0.0, (0, 0));
    }
}
