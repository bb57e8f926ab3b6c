//! What the finished mappings add up to.

use std::collections::HashMap;

use hdrhistogram::Histogram;

use super::{
    faults::Faults,
    mappings::Cycle,
    snapshot::{Mappings, Quantiles, SHORT_LIVED_SECONDS, ShortLived, SizeCycles},
};

/// Sizes told apart; what comes after is counted, not listed.
const MOST_SIZES: usize = 4096;
/// Sizes that a snapshot lists.
const LISTED_SIZES: usize = 32;
const NS: f64 = 1e9;
/// Lifetimes beyond a day count as a day.
const LONGEST_NS: u64 = 24 * 3600 * 1_000_000_000;

/// Mappings of one size that live, and the most that lived at once.
#[derive(Clone, Copy, Debug, Default)]
struct Alive {
    now: u64,
    peak: u64,
    short_cycles: u64,
}

/// Sums over cycles.
#[derive(Clone, Debug)]
pub struct Cycles {
    cycles: u64,
    short_lived: u64,
    lifetimes_ns: Histogram<u64>,
    sizes: HashMap<u64, u64>,
    alive: HashMap<u64, Alive>,
    birth_ns: u64,
    death_ns: u64,
    short_fault_weight: u64,
}

impl Cycles {
    /// Nothing yet.
    ///
    /// # Panics
    /// Never: three significant digits are within the histogram's bounds.
    #[must_use]
    pub fn new() -> Self {
        #[expect(clippy::expect_used, reason = "a constant within the documented bounds")]
        let lifetimes_ns =
            Histogram::new_with_max(LONGEST_NS, 3).expect("three digits are allowed");
        Self {
            cycles: 0,
            short_lived: 0,
            lifetimes_ns,
            sizes: HashMap::new(),
            alive: HashMap::new(),
            birth_ns: 0,
            death_ns: 0,
            short_fault_weight: 0,
        }
    }

    /// A mapping of this length was made.
    pub fn born(&mut self, bytes: u64) {
        if self.alive.len() < MOST_SIZES || self.alive.contains_key(&bytes) {
            let alive = self.alive.entry(bytes).or_default();
            alive.now += 1;
            alive.peak = alive.peak.max(alive.now);
        }
    }

    /// A mapping that was made with this length went with its address space.
    pub fn vanished(&mut self, bytes: u64) {
        if let Some(alive) = self.alive.get_mut(&bytes) {
            alive.now = alive.now.saturating_sub(1);
        }
    }

    /// Takes one more into account.
    pub fn add(&mut self, cycle: &Cycle) {
        self.cycles += 1;
        self.lifetimes_ns.saturating_record(cycle.lifetime_ns);
        if self.sizes.len() < MOST_SIZES || self.sizes.contains_key(&cycle.bytes) {
            *self.sizes.entry(cycle.bytes).or_default() += 1;
        }
        self.vanished(cycle.born_bytes);
        if (cycle.lifetime_ns as f64) < SHORT_LIVED_SECONDS * NS {
            self.short_lived += 1;
            if let Some(alive) = self.alive.get_mut(&cycle.born_bytes) {
                alive.short_cycles += 1;
            }
            self.birth_ns += cycle.birth_duration_ns;
            self.death_ns += cycle.death_duration_ns;
            self.short_fault_weight += cycle.fault_weight;
        }
    }

    /// The sums; `faults` are all of the target's.
    #[must_use]
    pub fn snapshot(&self, faults: &Faults) -> Mappings {
        let mut sizes: Vec<_> =
            self.sizes.iter().map(|(&bytes, &cycles)| SizeCycles { bytes, cycles }).collect();
        sizes.sort_by_key(|size| (std::cmp::Reverse(size.cycles), size.bytes));
        sizes.truncate(LISTED_SIZES);
        Mappings {
            cycles: self.cycles,
            short_lived: self.short_lived,
            lifetime_seconds: self.lifetimes(),
            sizes,
            short: ShortLived {
                birth_seconds: self.birth_ns as f64 / NS,
                death_seconds: self.death_ns as f64 / NS,
                at_once: self.at_once(),
                faults: faults.share_of(self.short_fault_weight),
            },
        }
    }

    /// How many mappings would have had to be kept for all short-lived ones to be served.
    fn at_once(&self) -> u64 {
        self.alive.values().map(|alive| alive.peak.min(alive.short_cycles)).sum()
    }

    fn lifetimes(&self) -> Option<Quantiles> {
        let at = |quantile| self.lifetimes_ns.value_at_quantile(quantile) as f64 / NS;
        (self.cycles > 0).then(|| Quantiles { p50: at(0.5), p90: at(0.9), p99: at(0.99) })
    }
}

impl Default for Cycles {
    fn default() -> Self {
        Self::new()
    }
}
