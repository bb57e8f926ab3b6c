//! Ranges of addresses that do not overlap, in bounded memory.

use std::collections::BTreeMap;

/// Ranges kept; what comes after is not.
const MOST: usize = 1 << 16;

/// The ends of ranges by their starts.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds a range.
    pub(super) fn insert(&mut self, start: u64, end: u64) {
        self.remove(start, end);
        if start < end && self.0.len() < MOST {
            self.0.insert(start, end);
        }
    }

    /// Takes out whatever lies in a range.
    pub(super) fn remove(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let below = self.0.range(..start).next_back().map(|(first, last)| (*first, *last));
        let within = self.0.range(start..end).map(|(first, last)| (*first, *last));
        let hit: Vec<_> =
            below.into_iter().chain(within).filter(|(_, last)| *last > start).collect();
        for (first, last) in hit {
            self.0.remove(&first);
            if first < start {
                self.0.insert(first, start);
            }
            if last > end {
                self.0.insert(end, last);
            }
        }
    }

    /// Whether an address lies in one of them.
    pub(super) fn contain(&self, address: u64) -> bool {
        self.0.range(..=address).next_back().is_some_and(|(_, end)| address < *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_out_leaves_both_sides() {
        let mut ranges = Ranges::default();
        ranges.insert(10, 50);
        ranges.insert(40, 60);
        ranges.insert(100, 100);
        ranges.remove(20, 30);
        ranges.remove(58, 200);
        ranges.remove(30, 20);
        let inside: Vec<_> = (0..110).filter(|address| ranges.contain(*address)).collect();
        assert_eq!(inside, (10..20).chain(30..58).collect::<Vec<_>>());
        ranges.remove(0, u64::MAX);
        assert!(ranges.0.is_empty());
    }

    #[test]
    fn too_many_are_not_kept() {
        let mut ranges = Ranges::default();
        for index in 0..MOST as u64 + 5 {
            ranges.insert(2 * index, 2 * index + 1);
        }
        assert_eq!(ranges.0.len(), MOST);
    }
}
