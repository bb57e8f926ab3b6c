//! How fast a window goes: what has grown from one snapshot of it to the next.

use std::collections::BTreeMap;

use serde::Serialize;

use super::snapshot::{Snapshot, SyscallTotals};

/// What happened in each second between two snapshots, on average.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WindowRates {
    /// The time between them.
    pub interval_seconds: f64,
    /// CPU seconds of the target.
    pub cpu_share: Option<f64>,
    /// By the name of the call; a call whose probe could not attach is absent.
    pub syscalls: BTreeMap<String, CallRates>,
    /// Page faults.
    pub faults: FaultRates,
}

/// A system call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CallRates {
    /// Those that came to an end, failures included.
    pub calls_per_second: f64,
    /// Those that the kernel refused.
    pub failures_per_second: f64,
    /// What the successful ones were about.
    pub bytes_per_second: f64,
    /// Seconds in them, waiting included, summed over threads.
    pub time_share: f64,
}

/// Page faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct FaultRates {
    /// Without a read from disk.
    pub minor_per_second: Option<f64>,
    /// With one.
    pub major_per_second: Option<f64>,
    /// Seconds in them, sampled.
    pub time_share: Option<f64>,
}

impl WindowRates {
    /// From one snapshot to a later one, or from the window's beginning; `None`: no time has passed.
    #[must_use]
    pub fn between(earlier: Option<&Snapshot>, later: &Snapshot) -> Option<Self> {
        let seconds = later.window.seconds - earlier.map_or(0.0, |one| one.window.seconds);
        if seconds.is_nan() || seconds <= 0.0 {
            return None;
        }
        let grown = |read: &dyn Fn(&Snapshot) -> Option<f64>| {
            // Nothing had happened when the window began.
            let before = earlier.map_or(Some(0.0), read)?;
            // What is estimated may become less.
            Some(((read(later)? - before) / seconds).max(0.0))
        };
        let none = SyscallTotals::default();
        let syscalls = later.syscalls.iter().map(|(name, now)| {
            let before = earlier.and_then(|one| one.syscalls.get(name)).unwrap_or(&none);
            (name.clone(), CallRates::between(before, now, seconds))
        });
        Some(Self {
            interval_seconds: seconds,
            cpu_share: grown(&|one| one.cpu.seconds()),
            syscalls: syscalls.collect(),
            faults: FaultRates {
                minor_per_second: grown(&|one| Some(one.faults.minor? as f64)),
                major_per_second: grown(&|one| Some(one.faults.major? as f64)),
                time_share: grown(&|one| one.faults.seconds),
            },
        })
    }

    /// Of all calls together.
    #[must_use]
    pub fn calls(&self) -> CallRates {
        self.syscalls.values().fold(CallRates::default(), |sum, one| CallRates {
            calls_per_second: sum.calls_per_second + one.calls_per_second,
            failures_per_second: sum.failures_per_second + one.failures_per_second,
            bytes_per_second: sum.bytes_per_second + one.bytes_per_second,
            time_share: sum.time_share + one.time_share,
        })
    }
}

impl CallRates {
    fn between(before: &SyscallTotals, now: &SyscallTotals, seconds: f64) -> Self {
        let grown = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds;
        Self {
            calls_per_second: grown(before.calls, now.calls),
            failures_per_second: grown(before.failures, now.failures),
            bytes_per_second: grown(before.bytes, now.bytes),
            time_share: (now.seconds - before.seconds) / seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use crate::aggregate::snapshot::{Cpu, FaultTotals, Window};

    fn at(seconds: f64, calls: u64, fault_seconds: Option<f64>) -> Snapshot {
        let mmap = SyscallTotals {
            calls,
            failures: calls / 10,
            bytes: 4096 * calls,
            seconds: calls as f64 * 1e-3,
            ..SyscallTotals::default()
        };
        Snapshot {
            window: Window { seconds, ..Window::default() },
            cpu: Cpu { user_seconds: Some(seconds), system_seconds: Some(0.0), ..Cpu::default() },
            syscalls: [("mmap".to_owned(), mmap)].into(),
            faults: FaultTotals {
                minor: Some(6 * calls),
                major: None,
                seconds: fault_seconds,
                samples: 0,
            },
            ..Snapshot::default()
        }
    }

    #[test]
    fn rates_are_what_has_grown_by_the_time_between() {
        let rates = WindowRates::between(Some(&at(2.0, 100, Some(0.5))), &at(4.0, 300, Some(1.5)));
        let rates = rates.unwrap();
        assert_eq!((rates.interval_seconds, rates.cpu_share), (2.0, Some(1.0)));
        let mmap = rates.syscalls["mmap"];
        assert_eq!((mmap.calls_per_second, mmap.failures_per_second), (100.0, 10.0));
        assert_eq!((mmap.bytes_per_second, rates.calls().bytes_per_second), (409_600.0, 409_600.0));
        assert!((mmap.time_share - 0.1).abs() < 1e-9);
        let faults = FaultRates {
            minor_per_second: Some(600.0),
            major_per_second: None,
            time_share: Some(0.5),
        };
        assert_eq!(rates.faults, faults);
    }

    #[test]
    fn the_first_rates_are_those_since_the_beginning() {
        let rates = WindowRates::between(None, &at(2.0, 100, None)).unwrap();
        assert_eq!(rates.calls().calls_per_second, 50.0);
        assert_eq!((rates.faults.minor_per_second, rates.faults.time_share), (Some(300.0), None));
    }

    #[test]
    fn no_time_and_less_time_make_no_rates() {
        let now = at(2.0, 100, None);
        for later in [2.0, 1.0, f64::NAN] {
            assert_eq!(WindowRates::between(Some(&now), &at(later, 100, None)), None);
        }
        assert_eq!(WindowRates::between(None, &Snapshot::default()), None);
    }

    #[test]
    fn an_estimate_that_became_less_is_no_negative_rate() {
        let (before, after) = (at(1.0, 5, Some(2.0)), at(2.0, 5, Some(1.0)));
        let rates = WindowRates::between(Some(&before), &after).unwrap();
        assert_eq!(rates.faults.time_share, Some(0.0));
    }
}
