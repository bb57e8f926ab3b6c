//! A fair sample of a stream of unknown length, in bounded memory.

use std::{collections::HashMap, hash::Hash};

/// Things kept: a share of them is known to within 0.8 % (one standard deviation).
const MOST: usize = 4096;

/// At most [`MOST`] things, each of those seen with the same chance (Vitter's algorithm R).
#[derive(Clone, Debug)]
pub struct Reservoir<T> {
    kept: Vec<T>,
    seen: u64,
    random: u64,
}

impl<T> Default for Reservoir<T> {
    fn default() -> Self {
        Self { kept: Vec::new(), seen: 0, random: 0x9e37_79b9_7f4a_7c15 }
    }
}

impl<T: Clone + Eq + Hash> Reservoir<T> {
    /// Takes a thing in.
    pub fn add(&mut self, thing: T) {
        self.seen += 1;
        if self.kept.len() < MOST {
            self.kept.push(thing);
        } else if let Ok(place) = usize::try_from(self.next_random() % self.seen)
            && let Some(other) = self.kept.get_mut(place)
        {
            *other = thing;
        }
    }

    /// The different things that were kept, in no order, and how many of those seen each stands
    /// for.
    #[must_use]
    pub fn counts(&self) -> Vec<(T, f64)> {
        let weight = self.seen as f64 / self.kept.len() as f64;
        let mut counts: HashMap<&T, f64> = HashMap::new();
        for thing in &self.kept {
            *counts.entry(thing).or_default() += weight;
        }
        counts.into_iter().map(|(thing, count)| (thing.clone(), count)).collect()
    }

    /// Marsaglia's xorshift.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_stream_is_kept_as_it_was() {
        let mut reservoir = Reservoir::default();
        assert_eq!(reservoir.counts(), []);
        (0..30).for_each(|n| reservoir.add(n % 3));
        let counts = reservoir.counts();
        assert_eq!(counts.len(), 3);
        assert!(counts.iter().all(|(_, count)| (*count - 10.0).abs() < 1e-9), "{counts:?}");
    }

    #[test]
    fn a_long_stream_keeps_its_shares() {
        const LENGTH: u64 = 100 * MOST as u64;
        let mut reservoir = Reservoir::default();
        // The first three quarters are of one sort, and the last is of the other.
        (0..LENGTH).for_each(|n| reservoir.add(n >= LENGTH / 4 * 3));
        let counts = reservoir.counts();
        let total: f64 = counts.iter().map(|(_, count)| count).sum();
        assert!((total - LENGTH as f64).abs() < 1.0, "{total}");
        let late = counts.iter().find(|(late, _)| *late).expect("a quarter");
        let share = late.1 / total;
        // Five standard deviations.
        assert!((share - 0.25).abs() < 0.034, "{share}");
    }
}
