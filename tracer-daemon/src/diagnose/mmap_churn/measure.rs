use crate::aggregate::Snapshot;
use crate::aggregate::snapshot::Mappings;
use crate::diagnose::estimate::{Estimate, share_of_sampled_sum};

/// Fewer repeated short-lived mappings a second than this are ordinary life.
const CYCLES_PER_SECOND: f64 = 100.0;

/// Fewer than this in the whole window may be a start-up.
const CYCLES: u64 = 50;

/// What probes cannot see of a call: its entry into the kernel and its way back, cold caches and
/// TLBs after it. It is added to both sides of the interval, as a share of the cost.
const SYSTEMATIC_ERROR: f64 = 0.05;

/// Below this many samples within the mappings, their share of the faults is little more than a
/// guess.
const FEW_SAMPLES: u64 = 30;

/// A size of mappings that is rarer than this does not count among the churned ones.
const RARE_SIZE: f64 = 0.01;

/// The churn and what it takes; times are sums over the window.
pub(super) struct Churn {
    pub(super) window_seconds: f64,
    pub(super) cycles: u64,
    pub(super) cycles_per_second: f64,
    /// Share of the cycles that a mapping kept from an earlier one could have served. Those that
    /// live at the same time have to be there at the same time, whatever is kept.
    pub(super) repeated_share: f64,
    pub(super) mmap_seconds: f64,
    pub(super) munmap_seconds: f64,
    /// Time in the faults inside the mappings; none if it could not be measured.
    pub(super) faults: Option<Estimate>,
    /// How many faults those are.
    pub(super) fault_count: Option<f64>,
    pub(super) fault_samples_inside: u64,
    pub(super) target_cpu_seconds: Option<f64>,
    pub(super) system_seconds: Option<f64>,
    pub(super) threads: Option<u64>,
    pub(super) dominant_size: Option<u64>,
    pub(super) largest_size: Option<u64>,
}

impl Churn {
    /// The churn of the target, if there is one.
    pub(super) fn measure(snapshot: &Snapshot) -> Option<Self> {
        let mappings = snapshot.mappings.as_ref()?;
        let window_seconds = positive(snapshot.window.seconds)?;
        let cycles_per_second = mappings.short_lived as f64 / window_seconds;
        let repeats = mappings.short_lived.saturating_sub(mappings.short.at_once);
        if repeats < CYCLES || (repeats as f64 / window_seconds) < CYCLES_PER_SECOND {
            return None;
        }
        let cpu = &snapshot.cpu;
        let system_seconds = cpu.system_seconds.and_then(non_negative);
        let user_seconds = cpu.user_seconds.and_then(non_negative);
        let share = mappings.short.fault_share.and_then(share);
        Some(Self {
            window_seconds,
            cycles: mappings.short_lived,
            cycles_per_second,
            repeated_share: repeats as f64 / mappings.short_lived as f64,
            mmap_seconds: non_negative(mappings.short.birth_seconds).unwrap_or(0.0),
            munmap_seconds: non_negative(mappings.short.death_seconds).unwrap_or(0.0),
            faults: fault_time(snapshot, mappings),
            fault_count: share
                .zip(snapshot.faults.minor)
                .map(|(share, minor)| share * minor as f64),
            fault_samples_inside: mappings.short.fault_samples.0,
            target_cpu_seconds: user_seconds
                .zip(system_seconds)
                .and_then(|(user, system)| positive(user + system)),
            system_seconds,
            threads: snapshot.target.threads.filter(|threads| *threads > 0),
            dominant_size: mappings.sizes.first().map(|size| size.bytes),
            largest_size: largest_churned_size(mappings),
        })
    }

    /// Kernel time of the calls and faults, for each second of the window. Not more than the
    /// target's whole time in the kernel: the clock of a call runs on while the thread waits.
    pub(super) fn cost_per_second(&self) -> f64 {
        let most = self.system_seconds.unwrap_or(f64::INFINITY);
        self.measured_seconds().min(most) / self.window_seconds
    }

    /// By the clock, waiting included.
    fn measured_seconds(&self) -> f64 {
        let faults = self.faults.map_or(0.0, |faults| faults.value);
        self.mmap_seconds + self.munmap_seconds + faults
    }

    /// The same as a share of the target's CPU time. Not more than all of it: the clock of a call
    /// runs on while the thread waits.
    pub(super) fn share_of_target(&self) -> Option<f64> {
        let cpu = self.target_cpu_seconds? / self.window_seconds;
        Some((self.cost_per_second() / cpu).min(1.0))
    }

    /// True where the calls took longer than the target's whole CPU time: they waited.
    pub(super) fn exceeds_target(&self) -> bool {
        self.target_cpu_seconds.is_some_and(|cpu| self.measured_seconds() > cpu)
    }

    /// Where the cost lies with 95 % confidence.
    pub(super) fn cost_bounds_per_second(&self) -> (f64, f64) {
        let cost = self.cost_per_second();
        let sampling = self.faults.map_or(0.0, |faults| faults.error) / self.window_seconds;
        let error = sampling + cost * SYSTEMATIC_ERROR;
        let high = match (self.faults, self.system_seconds) {
            // The faults that could not be timed are somewhere within the system time.
            (None, Some(system)) => (cost + error).max(system / self.window_seconds),
            _ => cost + error,
        };
        ((cost - error).max(0.0), high)
    }

    /// True if the share of the faults rests on few samples.
    pub(super) fn has_few_fault_samples(&self) -> bool {
        self.faults.is_some() && self.fault_samples_inside < FEW_SAMPLES
    }
}

fn fault_time(snapshot: &Snapshot, mappings: &Mappings) -> Option<Estimate> {
    let total = snapshot.faults.seconds.and_then(non_negative)?;
    let share = mappings.short.fault_share.and_then(share)?;
    let samples = mappings.short.fault_samples;
    Some(share_of_sampled_sum(total, snapshot.faults.samples, share, samples))
}

fn largest_churned_size(mappings: &Mappings) -> Option<u64> {
    let frequent = mappings
        .sizes
        .iter()
        .filter(|size| size.cycles as f64 >= RARE_SIZE * mappings.cycles as f64);
    frequent.map(|size| size.bytes).max()
}

/// Times outside of this come from a broken file: no machine runs for thirty thousand years, and
/// no window is shorter than a call.
const PLAUSIBLE_SECONDS: std::ops::RangeInclusive<f64> = 1e-6..=1e12;

fn positive(seconds: f64) -> Option<f64> {
    PLAUSIBLE_SECONDS.contains(&seconds).then_some(seconds)
}

fn non_negative(seconds: f64) -> Option<f64> {
    (0.0..=*PLAUSIBLE_SECONDS.end()).contains(&seconds).then_some(seconds)
}

fn share(value: f64) -> Option<f64> {
    (0.0..=1.0).contains(&value).then_some(value)
}
