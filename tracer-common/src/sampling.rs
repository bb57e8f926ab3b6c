use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Header;

/// A call that asked the allocator for memory, sampled by its bytes; its stack comes with it.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AllocationSample {
    /// Who and when.
    pub header: Header,
    /// Bytes that it asked for.
    pub bytes: u64,
    /// An [`crate::AllocationCall`].
    pub call: u32,
    /// Bytes between samples on average.
    pub gap: u32,
}

/// Bits behind the point of the numbers below.
const POINT: u32 = 16;

/// The natural logarithm of 2.
const LN_2: u64 = 45_426;

/// How much log2(1 + m) is above m, for each m(1 - m): so that their means between 0 and 1 are equal.
const ABOVE: u64 = 22_533;

/// The byte to sample next, counted from 1: gaps that are distributed exponentially around `mean`, so
/// that every byte is as likely to be sampled, whatever came before it. Made from 32 random bits by
/// `-ln(random / 2^32)`, without floating point.
#[must_use]
#[inline(always)]
pub const fn exponential_gap(random: u32, mean: u32) -> u32 {
    let random = random | 1;
    let zeros = random.leading_zeros();
    // Without the leading one, the digits behind the point.
    let digits = (((random << zeros) << 1) >> (32 - POINT)) as u64;
    let one = 1 << POINT;
    let above = product(product(digits, one - digits), ABOVE);
    let halvings = (zeros as u64 + 1) * one - (digits + above);
    let gap = product(product(mean as u64, LN_2), halvings);
    if gap < u32::MAX as u64 { gap as u32 + 1 } else { u32::MAX }
}

/// Calls for each sample that are wanted, at least and at most: they cost the target thirty to a hundred times as
/// much as the sample.
const FEW_CALLS: u32 = 32;
const MANY_CALLS: u32 = 128;
const FIRST_GAP: u32 = 32 << 10;
const SMALLEST_GAP: u32 = 1 << 10;
const LARGEST_GAP: u32 = 64 << 20;

/// The mean of the next distance, after one of mean `gap` in which there were so many calls; 0: the first.
/// It may depend on what was, but not on what comes: so calls stand for what they would with any other.
#[must_use]
#[inline(always)]
pub const fn suitable_gap(gap: u32, calls: u32) -> u32 {
    if gap == 0 {
        FIRST_GAP
    } else if calls < FEW_CALLS && gap < LARGEST_GAP {
        gap * 2
    } else if calls > MANY_CALLS && gap > SMALLEST_GAP {
        gap / 2
    } else {
        gap
    }
}

/// Of two numbers, one of which has digits behind the point.
#[inline(always)]
const fn product(one: u64, other: u64) -> u64 {
    (one * other) >> POINT
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEAN: u32 = 512 << 10;

    /// Gaps of numbers that are spread evenly.
    fn gaps() -> impl Iterator<Item = u32> {
        (0..1 << 16).map(|step: u32| exponential_gap((step << 16) + (1 << 15), MEAN))
    }

    #[test]
    fn the_mean_is_right() {
        let mean = gaps().map(u64::from).sum::<u64>() / (1 << 16);
        assert!(mean.abs_diff(u64::from(MEAN)) < u64::from(MEAN) / 500, "{mean}");
    }

    /// A share of exp(-k) is longer than k means.
    #[test]
    fn the_tail_is_exponential() {
        for (means, share) in [(0.1, 0.9048), (0.5, 0.6065), (1.0, 0.3679), (3.0, 0.0498)] {
            let limit = (f64::from(MEAN) * means) as u32;
            let longer = gaps().filter(|gap| *gap > limit).count() as f64 / f64::from(1 << 16);
            assert!((longer - share).abs() < 0.005, "{means}: {longer}");
        }
    }

    #[test]
    fn gaps_follow_the_sizes() {
        for (size, smallest, largest) in
            [(1, 1 << 10, 1 << 10), (64, 2048, 8192), (100_000, 3 << 20, 13 << 20)]
        {
            let gap = (0..100).fold(0, |gap, _| suitable_gap(gap, gap / size));
            assert!((smallest..=largest).contains(&gap), "{size}: {gap}");
        }
        let gap = (0..100).fold(0, |gap, _| suitable_gap(gap, 1));
        assert_eq!(gap, LARGEST_GAP);
    }

    #[test]
    fn every_number_gives_a_gap() {
        for random in [0, 1, 2, u32::MAX / 2, u32::MAX - 1, u32::MAX] {
            for mean in [0, 1, MEAN, u32::MAX] {
                assert!(exponential_gap(random, mean) >= 1, "{random} {mean}");
            }
        }
        assert_eq!(exponential_gap(7, 0), 1);
    }
}
