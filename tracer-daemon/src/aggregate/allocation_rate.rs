//! How often a program calls its allocator, from moments in which probes slowed it down.
//!
//! What probes take is CPU time, and a program calls as often in each second of its own CPU time whether it
//! waits for it or not. So calls are set against the CPU time of the moments less what the probes took of it,
//! and that against the CPU time that the process has while it is left alone.
//!
//! What a hit takes depends on what the processor does around it, and differs by half between programs. So
//! the program itself is asked: in some moments only the half of the functions has probes that asks for blocks,
//! in some only the half that gives them back. What a call takes with each half adds up to its own time twice
//! and what all probes take once; taking off its time with all probes leaves its own. What a
//! hit costs elsewhere is known roughly, which is as much as there is until enough moments were seen, or where one
//! half is hardly called. The closer the probes come
//! to all of the time, the less is known, and in the end nothing but a lower bound.

mod sums;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::sums::{ASKING, BACK, CALLS, CPU, PRICE, Sums, Variance};

/// The least and the largest part of a hit's price that a program was seen to pay.
const PRICE_PARTS: [f64; 2] = [0.55, 1.05];
const LIKELY_PART: f64 = f64::midpoint(PRICE_PARTS[0], PRICE_PARTS[1]);

/// How far what probes take may be from what they take by halves: a hit warms the caches for the next one.
const HALVES_ERROR: f64 = 0.05;

/// How far moments may be from the rest of the time, for the tracer was at work just before.
const MOMENTS_ERROR: f64 = 0.03;

/// Of all hits the smaller half has to have this part.
const SMALLEST_HALF: f64 = 0.1;

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

/// Which functions have probes in a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// All, and calls are counted.
    Whole,
    /// Those that ask for blocks; only hits are counted.
    Asking,
    /// Those that give blocks back; only hits are counted.
    Back,
}

/// Hits of probes, in the functions that ask and in those that give back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// In functions that ask for a block.
    pub asking: u64,
    /// In functions that only give one back.
    pub back: u64,
}

/// What was read at the two ends of a moment: the difference.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// How long it was.
    pub length: Duration,
    /// How long there was no moment before it. How soon it came depends on what was before, not on what is in
    /// it, so it stands for that time.
    pub before: Duration,
    /// Calls that were counted.
    pub calls: u64,
    /// The process's CPU time.
    pub cpu: Duration,
    /// Hits.
    pub hits: Hits,
    /// What they have cost, by their price elsewhere.
    pub price: Duration,
}

/// The time that moments took. That probes take to come out is none of it: nobody hits them any more, or hardly.
#[derive(Clone, Copy, Debug, Default)]
struct Slowed {
    cpu: Duration,
    /// Calls that were counted.
    calls: u64,
    /// Hits while none were, by [`Load`].
    hits: [Hits; 3],
}

/// All moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moments {
    whole: Sums,
    asking: Sums,
    back: Sums,
    slowed: Slowed,
}

/// The program's own CPU time for a call, in seconds, and half of its interval.
#[derive(Clone, Copy, Debug)]
struct OwnTime {
    likely: f64,
    error: f64,
}

impl OwnTime {
    /// What follows from two ways to know it, the better the more. Where they contradict each other, by as much less is
    /// known (Birge's ratio).
    fn and(self, other: Self) -> Self {
        let weights = [self, other].map(|one| one.error.powi(-2));
        let sum: f64 = weights.iter().sum();
        let likely = (weights[0] * self.likely + weights[1] * other.likely) / sum;
        let ratio = (self.likely - other.likely).abs() / self.error.hypot(other.error);
        Self { likely, error: ratio.max(1.0) / sum.sqrt() }
    }
}

impl Moments {
    /// One more.
    pub fn add(&mut self, load: Load, moment: &Moment) {
        let sums = match load {
            Load::Whole => &mut self.whole,
            Load::Asking => &mut self.asking,
            Load::Back => &mut self.back,
        };
        sums.add(moment);
    }

    /// So many calls were counted in so much of the process's CPU time.
    pub fn counted(&mut self, cpu: Duration, calls: u64) {
        self.slowed.cpu += cpu;
        self.slowed.calls += calls;
    }

    /// Probes were in for so much of the process's CPU time, and calls were not counted.
    pub fn slowed(&mut self, load: Load, cpu: Duration, hits: Hits) {
        self.slowed.cpu += cpu;
        let sum = &mut self.slowed.hits[load as usize];
        sum.asking += hits.asking;
        sum.back += hits.back;
    }

    /// Whether moments with half of the probes would tell something.
    #[must_use]
    pub fn want_halves(&self) -> bool {
        self.has_halves() && self.own_by(LIKELY_PART) > self.whole.of(CPU) / 10.0
    }

    /// The rate in a window of this length, in which the process had so much CPU time. `None`: too few
    /// moments to tell how much they differ.
    #[must_use]
    pub fn rate(&self, window: Duration, cpu: Duration) -> Option<CallRate> {
        let bound = self.upper_bound()?;
        let alone = cpu.saturating_sub(self.slowed.cpu).as_secs_f64();
        let slowed = self.slowed.calls as f64 + self.uncounted_calls();
        let rate = |own: f64| (slowed + alone / own) / window.as_secs_f64();
        let least = rate(bound);
        if !(least.is_finite() && least > 0.0) {
            return None;
        }
        let lower_bound = CallRate { estimate: None, low: least, high: None };
        let interval = self.own().filter(|own| own.likely > own.error).map(|own| CallRate {
            estimate: Some(rate(own.likely.min(bound))),
            low: rate((own.likely + own.error).min(bound)) * (1.0 - MOMENTS_ERROR),
            high: Some(rate(own.likely - own.error) * (1.0 + MOMENTS_ERROR)),
        });
        let clear = interval.filter(|rate| rate.high.is_some_and(|high| high <= VAGUE * rate.low));
        Some(clear.unwrap_or(lower_bound))
    }

    fn own(&self) -> Option<OwnTime> {
        let by_price = self.own_by_price()?;
        Some(self.own_by_halves().map_or(by_price, |by_halves| by_halves.and(by_price)))
    }

    /// Of the CPU time of moments at most all was the program's own.
    fn upper_bound(&self) -> Option<f64> {
        let per_call = self.whole.of(CPU) / self.whole.of(CALLS);
        let error = self.whole.variance([0.0, 0.0, -per_call, 1.0, 0.0])?.half_interval();
        Some(per_call + error / self.whole.of(CALLS))
    }

    fn own_by_halves(&self) -> Option<OwnTime> {
        if !self.has_halves() {
            return None;
        }
        let (asked, given) = (self.whole.of(ASKING), self.whole.of(BACK));
        // CPU time by hit, with half of the probes.
        let per_asking = self.asking.of(CPU) / self.asking.of(ASKING);
        let per_back = self.back.of(CPU) / self.back.of(BACK);
        let own = asked * per_asking + given * per_back - self.whole.of(CPU);
        let per_call = own / self.whole.of(CALLS);
        let asking = self.asking.variance([-per_asking, 0.0, 0.0, 1.0, 0.0])?;
        let back = self.back.variance([0.0, -per_back, 0.0, 1.0, 0.0])?;
        let variance = Variance::of_sum(&[
            asking.times(asked / self.asking.of(ASKING)),
            back.times(given / self.back.of(BACK)),
            self.whole.variance([per_asking, per_back, -per_call, -1.0, 0.0])?,
        ]);
        let taken = (self.whole.of(CPU) - own).max(0.0);
        Some(self.own_time(own, variance.half_interval() + HALVES_ERROR * taken))
    }

    fn own_by_price(&self) -> Option<OwnTime> {
        let own = self.own_by(LIKELY_PART);
        let per_call = own / self.whole.of(CALLS);
        let variance = self.whole.variance([0.0, 0.0, -per_call, 1.0, -LIKELY_PART])?;
        let error = (PRICE_PARTS[1] - LIKELY_PART) * self.whole.of(PRICE);
        Some(self.own_time(own, variance.half_interval() + error))
    }

    /// From CPU time for all calls that were counted.
    fn own_time(&self, seconds: f64, error: f64) -> OwnTime {
        let calls = self.whole.of(CALLS);
        OwnTime { likely: seconds / calls, error: error / calls }
    }

    /// CPU time of the program's own, if it pays this part of the price.
    fn own_by(&self, part: f64) -> f64 {
        self.whole.of(CPU) - part * self.whole.of(PRICE)
    }

    fn has_halves(&self) -> bool {
        let (asked, given) = (self.whole.of(ASKING), self.whole.of(BACK));
        asked.min(given) > SMALLEST_HALF * (asked + given)
    }

    /// Calls while probes were in and did not count, by the hits that go with a call.
    fn uncounted_calls(&self) -> f64 {
        let [whole, asking, back] = self.slowed.hits;
        let calls = |hits: u64, of: f64| {
            if of > 0.0 { hits as f64 * self.whole.of(CALLS) / of } else { 0.0 }
        };
        let (asked, given) = (self.whole.of(ASKING), self.whole.of(BACK));
        calls(whole.asking + whole.back, asked + given)
            + calls(asking.asking, asked)
            + calls(back.back, given)
    }
}

#[cfg(test)]
mod tests;
