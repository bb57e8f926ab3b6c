//! The time that the kernel spends for a target on some calls and on the faults that they lead to.

use super::{
    Cost, Saving,
    estimate::{Estimate, share_of_sampled_sum},
};
use crate::aggregate::snapshot::{FaultShare, Snapshot};
use crate::humanize::{percent, seconds};

/// What probes cannot see of a call: its entry into the kernel and its way back, cold caches and
/// TLBs after it. It is added to both sides of the interval, as a share of the cost.
const SYSTEMATIC_ERROR: f64 = 0.05;

/// Below this many samples their share of the faults is little more than a guess.
const FEW_SAMPLES: u64 = 30;

/// Times outside of this come from a broken file: no machine runs for thirty thousand years, and
/// no window is shorter than a call.
const PLAUSIBLE_SECONDS: std::ops::RangeInclusive<f64> = 1e-6..=1e12;

/// Times are sums over the window.
pub(super) struct KernelCost {
    pub(super) window_seconds: f64,
    /// By the name that people know the calls by.
    calls: Vec<(&'static str, f64)>,
    /// Time in the faults; none if it could not be measured.
    faults: Option<Estimate>,
    /// How many faults those are.
    pub(super) fault_count: Option<f64>,
    fault_samples: u64,
    target_cpu_seconds: Option<f64>,
    pub(super) system_seconds: Option<f64>,
}

impl KernelCost {
    /// The cost of the `calls` and of this share of the faults; `None` if the window is none.
    pub(super) fn measure(
        snapshot: &Snapshot,
        calls: &[(&'static str, f64)],
        faults: &FaultShare,
    ) -> Option<Self> {
        let window_seconds = positive(snapshot.window.seconds)?;
        let plausible = |seconds: f64| non_negative(seconds).unwrap_or(0.0);
        let user_seconds = snapshot.cpu.user_seconds.and_then(non_negative);
        let system_seconds = snapshot.cpu.system_seconds.and_then(non_negative);
        let share = faults.share.filter(|share| (0.0..=1.0).contains(share));
        let in_all_faults = snapshot.faults.seconds.and_then(non_negative);
        Some(Self {
            window_seconds,
            calls: calls.iter().map(|(name, seconds)| (*name, plausible(*seconds))).collect(),
            faults: in_all_faults.zip(share).map(|(total, share)| {
                share_of_sampled_sum(total, snapshot.faults.samples, share, faults.samples)
            }),
            fault_count: share
                .zip(snapshot.faults.minor)
                .map(|(share, minor)| share * minor as f64),
            fault_samples: faults.samples.0,
            target_cpu_seconds: user_seconds
                .zip(system_seconds)
                .and_then(|(user, system)| positive(user + system)),
            system_seconds,
        })
    }

    /// For each second of the window. Not more than the target's whole time in the kernel: the
    /// clock of a call runs on while the thread waits.
    pub(super) fn per_second(&self) -> f64 {
        let most = self.system_seconds.unwrap_or(f64::INFINITY);
        self.measured_seconds().min(most) / self.window_seconds
    }

    /// By the clock, waiting included.
    fn measured_seconds(&self) -> f64 {
        let calls: f64 = self.calls.iter().map(|(_, seconds)| seconds).sum();
        calls + self.faults.map_or(0.0, |faults| faults.value)
    }

    /// The same as a share of the target's CPU time. Not more than all of it: the clock of a call
    /// runs on while the thread waits.
    pub(super) fn share_of_target(&self) -> Option<f64> {
        let cpu = self.target_cpu_seconds? / self.window_seconds;
        Some((self.per_second() / cpu).min(1.0))
    }

    /// True where the calls took longer than the target's whole CPU time: they waited.
    fn exceeds_target(&self) -> bool {
        self.target_cpu_seconds.is_some_and(|cpu| self.measured_seconds() > cpu)
    }

    /// Where the cost lies with 95 % confidence.
    fn bounds_per_second(&self) -> (f64, f64) {
        let cost = self.per_second();
        let sampling = self.faults.map_or(0.0, |faults| faults.error) / self.window_seconds;
        let error = sampling + cost * SYSTEMATIC_ERROR;
        let high = match (self.faults, self.system_seconds) {
            // The faults that could not be timed are somewhere within the system time.
            (None, Some(system)) => (cost + error).max(system / self.window_seconds),
            _ => cost + error,
        };
        ((cost - error).max(0.0), high)
    }

    /// As a finding has it.
    pub(super) fn cost(&self) -> Cost {
        Cost {
            cpu_seconds_per_second: self.per_second(),
            share_of_target: self.share_of_target(),
            ..Cost::default()
        }
    }

    /// What is saved when this part of the cycles is not made.
    pub(super) fn saving(&self, part: f64, cycles: u64) -> Saving {
        let (low, high) = self.bounds_per_second();
        let per_second = self.per_second() * part;
        Saving {
            cpu_seconds_per_second: per_second,
            low: low * part,
            high: high * part,
            cpu_seconds_per_cycle: per_second * self.window_seconds / cycles as f64,
            ..Saving::default()
        }
    }

    /// What doubts about the numbers leave of a confidence.
    pub(super) fn confidence(&self) -> f64 {
        let doubts = [
            (self.faults.is_none(), 0.6),
            (self.target_cpu_seconds.is_none(), 0.8),
            (self.exceeds_target(), 0.7),
            (self.faults.is_some() && self.fault_samples < FEW_SAMPLES, 0.9),
        ];
        let applying = doubts.iter().filter(|(applies, _)| *applies);
        applying.fold(1.0, |confidence, (_, part)| confidence * part)
    }

    /// The cost within a sentence.
    pub(super) fn text(&self) -> String {
        let at_least = if self.faults.is_none() { "at least " } else { "" };
        match self.share_of_target() {
            Some(share) => format!("{at_least}{} of the target's CPU time", percent(share)),
            None => format!("{at_least}{} of one CPU", percent(self.per_second())),
        }
    }

    /// The cost of a cycle and its parts, and what is to be known of it, a line each.
    pub(super) fn evidence(&self, cycles: u64) -> Vec<String> {
        let each = |total: f64| seconds(total / cycles as f64);
        let total = each(self.per_second() * self.window_seconds);
        let mut parts: Vec<_> =
            self.calls.iter().map(|(name, seconds)| format!("{name} {}", each(*seconds))).collect();
        let known = self.faults.map(|faults| format!("faults {}", each(faults.value)));
        let unknown = match known {
            Some(_) => "",
            None => "; the time of faults is unknown and not in it: a lower bound",
        };
        parts.extend(known);
        let mut lines =
            vec![format!("kernel time of each: {total} ({}){unknown}", parts.join(", "))];
        if self.exceeds_target() {
            let waited = "the calls took longer than the target's CPU time: some of it they waited";
            lines.push(waited.to_owned());
        }
        lines
    }
}

fn positive(seconds: f64) -> Option<f64> {
    PLAUSIBLE_SECONDS.contains(&seconds).then_some(seconds)
}

fn non_negative(seconds: f64) -> Option<f64> {
    (0.0..=*PLAUSIBLE_SECONDS.end()).contains(&seconds).then_some(seconds)
}
