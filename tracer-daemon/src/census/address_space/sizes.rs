use std::{cmp::Reverse, collections::HashMap};

/// How often each size occurs, most frequent first and among those the largest first.
pub(super) fn tally(sizes: impl Iterator<Item = u64>) -> Vec<(u64, u64)> {
    let mut counts = HashMap::new();
    for size in sizes {
        *counts.entry(size).or_insert(0_u64) += 1;
    }
    let mut tally: Vec<_> = counts.into_iter().collect();
    tally.sort_unstable_by_key(|&(size, count)| Reverse((count, size)));
    tally
}
