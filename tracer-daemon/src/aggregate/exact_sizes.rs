//! Exactly how many bytes programs ask for, and what their allocator takes for that.

use std::{cmp::Reverse, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use tracer_common::AllocationCall;

use crate::allocator::SizeRule;

/// Calls of a function for so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizedCalls {
    /// The function.
    pub call: AllocationCall,
    /// What they asked for.
    pub bytes: u64,
    /// How many.
    pub calls: u64,
}

/// Calls for exactly so many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExactSize {
    /// What each of them asked for.
    pub bytes: u64,
    /// How many.
    pub calls: u64,
    /// What the allocator takes for each; unknown for allocators whose rule is not known.
    pub taken: Option<u64>,
}

/// Sums of sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Calls.
    pub calls: u64,
    /// Bytes that they asked for.
    pub asked: u64,
    /// Bytes that the allocator took.
    pub taken: u64,
}

/// The functions' calls by size, the most frequent first. Those that ask for an alignment are left out,
/// for they take more; so are calls of `realloc` for nothing, which give back.
#[must_use]
pub fn exact_sizes(all: &[SizedCalls], rule: Option<&SizeRule>) -> Vec<ExactSize> {
    let mut calls: BTreeMap<u64, u64> = BTreeMap::new();
    for one in all.iter().filter(|one| takes_by_rule(one)) {
        let sum = calls.entry(one.bytes).or_default();
        *sum = sum.saturating_add(one.calls);
    }
    let size =
        |(bytes, calls)| ExactSize { bytes, calls, taken: rule.and_then(|rule| rule.taken(bytes)) };
    let mut sizes: Vec<_> = calls.into_iter().map(size).collect();
    sizes.sort_by_key(|size| Reverse(size.calls));
    sizes
}

fn takes_by_rule(one: &SizedCalls) -> bool {
    match one.call {
        AllocationCall::PosixMemalign
        | AllocationCall::AlignedAlloc
        | AllocationCall::Memalign
        | AllocationCall::Valloc
        | AllocationCall::Pvalloc => false,
        AllocationCall::Realloc | AllocationCall::Reallocarray | AllocationCall::Rallocx => {
            one.bytes > 0
        }
        _ => true,
    }
}

impl Taken {
    /// Of those whose rule is known.
    #[must_use]
    pub fn sum<'a>(sizes: impl IntoIterator<Item = &'a ExactSize>) -> Self {
        sizes.into_iter().fold(Self::default(), |sum, size| {
            let Some(taken) = size.taken else { return sum };
            Self {
                calls: sum.calls.saturating_add(size.calls),
                asked: sum.asked.saturating_add(size.bytes.saturating_mul(size.calls)),
                taken: sum.taken.saturating_add(taken.saturating_mul(size.calls)),
            }
        })
    }

    /// Bytes that nobody asked for.
    #[must_use]
    pub fn waste(&self) -> u64 {
        self.taken.saturating_sub(self.asked)
    }

    /// By powers of two, as [`super::allocations::SizeCalls`]: the largest size of each class first.
    #[must_use]
    pub fn by_class(sizes: &[ExactSize]) -> BTreeMap<u64, Self> {
        let mut classes: BTreeMap<u64, Vec<&ExactSize>> = BTreeMap::new();
        for size in sizes.iter().filter(|size| size.taken.is_some()) {
            let class = size.bytes.max(1).checked_next_power_of_two().unwrap_or(u64::MAX);
            classes.entry(class).or_default().push(size);
        }
        classes.into_iter().map(|(class, sizes)| (class, Self::sum(sizes))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocator::Family;

    fn calls(call: AllocationCall, bytes: u64, calls: u64) -> SizedCalls {
        SizedCalls { call, bytes, calls }
    }

    fn of_glibc() -> Option<&'static SizeRule> {
        SizeRule::all().find(|rule| rule.family == Family::Glibc)
    }

    #[test]
    fn functions_count_together_and_the_frequent_come_first() {
        let all = [
            calls(AllocationCall::Malloc, 10, 5),
            calls(AllocationCall::Malloc, 26, 4),
            calls(AllocationCall::New, 26, 3),
            calls(AllocationCall::Realloc, 0, 90),
            calls(AllocationCall::PosixMemalign, 26, 90),
        ];
        let sizes = exact_sizes(&all, of_glibc());
        let row = |bytes, calls, taken| ExactSize { bytes, calls, taken: Some(taken) };
        assert_eq!(sizes, [row(26, 7, 48), row(10, 5, 32)]);
        let sum = Taken::sum(&sizes);
        assert_eq!(sum, Taken { calls: 12, asked: 232, taken: 496 });
        assert_eq!(sum.waste(), 264);
        let classes = Taken::by_class(&sizes);
        assert_eq!(classes.keys().copied().collect::<Vec<_>>(), [16, 32]);
        assert_eq!(classes[&16], Taken { calls: 5, asked: 50, taken: 160 });
    }

    #[test]
    fn without_a_rule_nothing_is_known_of_what_is_taken() {
        let sizes = exact_sizes(&[calls(AllocationCall::Malloc, 10, 5)], None);
        assert_eq!(sizes, [ExactSize { bytes: 10, calls: 5, taken: None }]);
        assert_eq!(Taken::sum(&sizes), Taken::default());
        assert!(Taken::by_class(&sizes).is_empty());
    }

    #[test]
    fn a_hostile_recording_does_not_overflow() {
        let size = ExactSize { bytes: u64::MAX, calls: u64::MAX, taken: Some(u64::MAX) };
        assert_eq!(Taken::sum(&[size, size]).waste(), 0);
        assert_eq!(Taken::by_class(&[size]).len(), 1);
    }
}
