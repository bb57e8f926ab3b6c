//! How often a program calls its allocator, from moments in which probes slowed it down.
//!
//! What probes take is CPU time, and a program calls as often in each second of its own CPU time whether it
//! waits for it or not. So calls are set against the CPU time of the moments less what the probes took of it,
//! and that against the CPU time that the process has while it is left alone. What a hit takes is known to
//! some percent only: the closer it comes to all of the time, the less is known, and in the end nothing
//! but a lower bound.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracer_common::ProbeCost;

/// Kinds of hits that have prices of their own.
const KINDS: usize = ProbeCost::ALL.len();

/// How far the price of a hit may be from the truth.
const PRICE_ERROR: f64 = 0.1;

/// An estimate whose bounds are this many times apart is none.
const VAGUE: f64 = 3.0;

/// Calls per second of the window, all functions together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallRate {
    /// The most likely value; `None`: there is only a lower bound.
    pub estimate: Option<f64>,
    /// The lower end of the interval that holds the truth with 95 %.
    pub low: f64,
    /// Its upper end.
    pub high: Option<f64>,
}

impl CallRate {
    /// That of calls which were all counted.
    pub(super) fn exact(calls: u64, window: Duration) -> Option<Self> {
        let rate = calls as f64 / window.as_secs_f64();
        let all = Self { estimate: Some(rate), low: rate, high: Some(rate) };
        rate.is_finite().then_some(all)
    }
}

/// What was read at the two ends of a moment in which calls were counted: the difference.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// How long it was.
    pub length: Duration,
    /// How long nothing was counted before it. How soon it came depends on what was before, not on what is in
    /// it, so it stands for that time.
    pub before: Duration,
    /// Calls that were counted.
    pub calls: u64,
    /// The process's CPU time.
    pub cpu: Duration,
    /// Hits of probes, by [`ProbeCost`].
    pub hits: [u64; KINDS],
}

/// The sums over all moments, each as heavy as the time that it stands for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moments {
    weight: f64,
    weight_squared: f64,
    calls: f64,
    cpu: f64,
    hits: [f64; KINDS],
    /// Sums of squares and products of a moment's calls and CPU time.
    calls_squared: f64,
    cpu_squared: f64,
    product: f64,
}

impl Moments {
    /// One more.
    pub fn add(&mut self, moment: Moment) {
        if moment.length.is_zero() {
            return;
        }
        let weight = 1.0 + moment.before.div_duration_f64(moment.length);
        let calls = weight * moment.calls as f64;
        let cpu = weight * moment.cpu.as_secs_f64();
        self.weight += weight;
        self.weight_squared += weight * weight;
        self.calls += calls;
        self.cpu += cpu;
        for (sum, hits) in self.hits.iter_mut().zip(moment.hits) {
            *sum += weight * hits as f64;
        }
        self.calls_squared += calls * calls;
        self.cpu_squared += cpu * cpu;
        self.product += calls * cpu;
    }

    /// The rate, if the process has `cpu` in `time` while nothing is counted, and hits take as many seconds
    /// as `price` says. `None`: too few moments to tell how much they differ.
    #[must_use]
    pub fn rate(
        &self,
        cpu: Duration,
        time: Duration,
        price: impl Fn([f64; KINDS]) -> f64,
    ) -> Option<CallRate> {
        let taken = price(self.hits);
        let busy = cpu.as_secs_f64() / time.as_secs_f64();
        let spread = self.spread().filter(|_| busy.is_finite())?;
        let own = |error: f64| self.cpu - taken * (1.0 + error);
        let (least, likely, most) = (own(PRICE_ERROR), own(0.0), own(-PRICE_ERROR));
        // Calls for own CPU time differ more than for all of it, of which the probes took their part.
        let (per, off) = (|own| busy * self.calls / own, |own| spread * self.cpu / own);
        let low = per(most.min(self.cpu)) * (1.0 - off(likely).min(1.0));
        // Of the whole CPU time at most all was the program's own.
        let bound = per(self.cpu) * (1.0 - spread).max(0.0);
        let high = per(least) * (1.0 + off(least));
        if !(least > 0.0 && high <= VAGUE * low) {
            return Some(CallRate { estimate: None, low: bound, high: None });
        }
        Some(CallRate { estimate: Some(per(likely)), low: low.max(bound), high: Some(high) })
    }

    /// Half of the 95 % interval of calls per CPU time, as a share of it: that of a ratio of sums over
    /// moments chosen at random.
    fn spread(&self) -> Option<f64> {
        // Of moments of unequal weight the heavy ones tell: as many as Kish's effective sample has.
        let number = self.weight * self.weight / self.weight_squared;
        let freedom = number - 1.0;
        let ratio = self.calls / self.cpu;
        if !(freedom >= 1.0 && ratio > 0.0) {
            return None;
        }
        let squares =
            self.calls_squared - 2.0 * ratio * self.product + ratio * ratio * self.cpu_squared;
        let error = (number / freedom * squares.max(0.0)).sqrt();
        Some(student(freedom as u32) * error / self.calls)
    }
}

/// Student's t for 95 % and so many degrees of freedom; above the table by its expansion for large
/// numbers (Abramowitz and Stegun 26.7.5).
fn student(freedom: u32) -> f64 {
    const FEW: [f64; 6] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447];
    let few = FEW.get(freedom.saturating_sub(1) as usize);
    few.copied()
        .unwrap_or(1.960 + 2.3723 / f64::from(freedom) + 2.8225 / f64::from(freedom).powi(2))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const PRICE: f64 = 0.8e-6;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// All of its time on a CPU, with so many hits for each call.
    fn moment(length: f64, calls: u64, hits: u64) -> Moment {
        let (length, hits) = (seconds(length), [hits * calls, 0, 0]);
        Moment { length, before: 9 * length, calls, cpu: length, hits }
    }

    fn price([emulated, ..]: [f64; 3]) -> f64 {
        emulated * PRICE
    }

    /// A busy thread that calls every `every` seconds, watched for moments of these lengths.
    fn watched(every: f64, lengths: &[f64]) -> Moments {
        let mut moments = Moments::default();
        for length in lengths {
            let calls = length / (every + PRICE);
            moments.add(moment(*length, calls as u64, 1));
        }
        moments
    }

    #[test]
    fn a_slowed_program_has_the_rate_of_its_own_time() {
        let rate =
            watched(1e-6, &[0.02, 0.021, 0.025]).rate(seconds(9.0), seconds(10.0), price).unwrap();
        let estimate = rate.estimate.unwrap();
        assert!((estimate / 0.9e6 - 1.0).abs() < 0.001, "{rate:?}");
        assert!(rate.low < 0.93 * estimate && rate.high.unwrap() > 1.08 * estimate, "{rate:?}");
    }

    #[test]
    fn a_program_that_does_nothing_else_has_a_lower_bound() {
        let rate = watched(8e-9, &[0.02; 5]).rate(seconds(10.0), seconds(10.0), price).unwrap();
        assert_eq!((rate.estimate, rate.high), (None, None));
        assert!(rate.low > 1.2e6 && rate.low < 1e9 / 8.0, "{rate:?}");
    }

    #[test]
    fn the_interval_is_as_wide_as_the_moments_differ() {
        let mut moments = Moments::default();
        for calls in [900, 1100, 1000, 950, 1050] {
            moments.add(moment(0.01, calls, 0));
        }
        let rate = moments.rate(seconds(1.0), seconds(1.0), price).unwrap();
        // The standard error is 79.06 / sqrt(5) = 35.36; times 2.776.
        assert!((rate.high.unwrap() - 109_816.0).abs() < 5.0, "{rate:?}");
        assert!((rate.low - 90_184.0).abs() < 5.0, "{rate:?}");
    }

    /// A program that is busy calling for a second, and busy with other things for the next; when it calls, the
    /// probes stay out for long.
    #[test]
    fn a_moment_stands_for_the_time_before_it() {
        let mut moments = Moments::default();
        for _ in 0..5 {
            for _ in 0..2 {
                let (length, before) = (seconds(0.02), seconds(0.48));
                moments.add(Moment { length, before, calls: 2000, cpu: length, hits: [0; 3] });
            }
            for _ in 0..20 {
                let (length, before) = (seconds(0.02), seconds(0.03));
                moments.add(Moment { length, before, calls: 0, cpu: length, hits: [0; 3] });
            }
        }
        let rate = moments.rate(seconds(10.0), seconds(10.0), price).unwrap();
        assert!((rate.estimate.unwrap_or(rate.low) - 50_000.0).abs() < 1.0, "{rate:?}");
    }

    #[test]
    fn one_moment_tells_nothing() {
        assert_eq!(watched(1e-6, &[0.02]).rate(seconds(1.0), seconds(1.0), price), None);
        assert_eq!(Moments::default().rate(seconds(1.0), seconds(1.0), price), None);
        assert_eq!(watched(1e-6, &[0.02]).rate(Duration::ZERO, Duration::ZERO, price), None);
    }

    #[test]
    fn student_is_that_of_the_tables() {
        for (freedom, t) in [(1, 12.706), (6, 2.447), (7, 2.365), (10, 2.228), (30, 2.042)] {
            assert!((student(freedom) - t).abs() < 0.01, "{freedom}: {}", student(freedom));
        }
    }
}
