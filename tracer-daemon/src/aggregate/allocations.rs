//! Calls of the allocator, as a recording has them.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tracer_common::{AllocationCall, AllocationCounter, SIZE_CLASSES};

use super::{
    allocation_rate::CallRate,
    exact_sizes::{ExactSize, SizedCalls, exact_sizes},
    snapshot::{FollowedBlocks, Resizes},
};
use crate::allocator::SizeRule;

/// Calls of the target's allocator while its functions were watched. Counted, never scaled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Allocations {
    /// By the name of the function; one that the allocator does not have is absent. A call that the
    /// allocator makes itself in the course of another does not count.
    pub functions: BTreeMap<String, FunctionTotals>,
    /// Calls by what they asked for, in powers of two, smallest first.
    pub sizes: Vec<SizeCalls>,
    /// Calls for each small size that is not asked to be aligned, the most frequent first.
    pub exact_sizes: Vec<ExactSize>,
    /// What the allocator takes for a request; unknown for allocators that alloctrace does not know.
    pub size_rule: Option<String>,
    /// Share of the window in which calls were counted, 0 to 1.
    pub duty: f64,
    /// How often the probes were put in: more than once where the budget is too small for all calls.
    pub moments: u64,
    /// Calls that a counted one stands for; unknown if none of the window was watched.
    pub weight: Option<f64>,
    /// Calls per second of all functions together, also while they were not counted.
    pub calls_per_second: Option<CallRate>,
    /// False: every call of the window was counted.
    pub sampled: bool,
    /// Calls whose stack was taken, one for each so many bytes; the stacks' numbers are estimated from
    /// them.
    pub stack_samples: u64,
    /// What became of the blocks that those returned; absent where the budget does not allow for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocks: Option<FollowedBlocks>,
    /// What became of the blocks that were to have another size; absent where results are not seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resizes: Option<Resizes>,
}

/// Calls of a function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FunctionTotals {
    /// How many were counted.
    pub calls: u64,
    /// How many of them got nothing of what they asked for; unknown where not every result was seen.
    pub failures: Option<u64>,
    /// What they asked for; unknown for those that give back.
    pub bytes: Option<u64>,
}

/// Calls for a class of sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeCalls {
    /// The largest size of the class; the next smaller class ends at half of it.
    pub bytes: u64,
    /// How many calls.
    pub calls: u64,
}

/// How a window was watched.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Its length.
    pub window: Duration,
    /// The share of it in which calls were counted.
    pub duty: f64,
    /// How often the probes were put in.
    pub moments: u64,
    /// What follows for all of it.
    pub rate: Option<CallRate>,
    /// Stacks that were taken.
    pub stack_samples: u64,
}

/// From the counters of a window.
#[must_use]
pub fn allocations(
    counters: &HashMap<AllocationCall, AllocationCounter>,
    Counted { window, duty, moments, rate, stack_samples }: Counted,
) -> Allocations {
    let totals = |(call, counter): (&AllocationCall, &AllocationCounter)| {
        let bytes = call.bytes([0; 3]).map(|_| counter.bytes);
        (call.name().to_owned(), FunctionTotals { calls: counter.calls, failures: None, bytes })
    };
    let of_class = |class: usize| SizeCalls {
        bytes: 1 << class,
        calls: counters.values().map(|counter| counter.sizes[class]).sum(),
    };
    let calls = counters.values().map(|counter| counter.calls).sum();
    Allocations {
        functions: counters.iter().map(totals).collect(),
        sizes: (0..SIZE_CLASSES).map(of_class).filter(|size| size.calls > 0).collect(),
        exact_sizes: Vec::new(),
        size_rule: None,
        duty,
        moments,
        weight: (duty > 0.0).then(|| duty.recip()),
        calls_per_second: if duty < 1.0 { rate } else { CallRate::exact(calls, window) },
        sampled: duty < 1.0,
        stack_samples,
        blocks: None,
        resizes: None,
    }
}

impl Allocations {
    /// The same with exact sizes, of an allocator with this rule.
    #[must_use]
    pub fn with_sizes(self, sizes: &[SizedCalls], rule: Option<&SizeRule>) -> Self {
        Self {
            exact_sizes: exact_sizes(sizes, rule),
            size_rule: rule.map(|rule| rule.text.to_owned()),
            ..self
        }
    }

    /// The same with failures, of the functions that ask for something and of which every result was seen.
    #[must_use]
    pub fn with_failures(
        mut self,
        counters: &HashMap<AllocationCall, AllocationCounter>,
        is_seen: impl Fn(AllocationCall) -> bool,
    ) -> Self {
        for (call, counter) in counters.iter().filter(|(call, _)| !call.gives_back()) {
            if let Some(totals) = self.functions.get_mut(call.name()) {
                totals.failures = is_seen(*call).then_some(counter.failures);
            }
        }
        self
    }

    /// Blocks taken and given back. Calls of `realloc` are neither.
    #[must_use]
    pub fn blocks(&self) -> (u64, u64) {
        let calls = |is_it: fn(AllocationCall) -> bool| {
            let functions = AllocationCall::ALL.into_iter().filter(|call| is_it(*call));
            let calls = functions.filter_map(|call| Some(self.functions.get(call.name())?.calls));
            calls.fold(0, u64::saturating_add)
        };
        (calls(|call| !call.gives_back() && !call.resizes()), calls(AllocationCall::gives_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters() -> HashMap<AllocationCall, AllocationCounter> {
        let mut malloc = AllocationCounter { calls: 3, bytes: 240, ..AllocationCounter::NONE };
        (malloc.sizes[4], malloc.sizes[7]) = (1, 2);
        let free = AllocationCounter { calls: 2, ..AllocationCounter::NONE };
        HashMap::from([(AllocationCall::Malloc, malloc), (AllocationCall::Free, free)])
    }

    fn counted(duty: f64) -> Counted {
        Counted { window: Duration::from_secs(10), duty, moments: 3, rate: None, stack_samples: 7 }
    }

    #[test]
    fn nothing_is_scaled() {
        let all = allocations(&counters(), counted(0.25));
        assert_eq!(all.functions["malloc"].calls, 3);
        assert_eq!(all.functions["malloc"].bytes, Some(240));
        assert_eq!(all.functions["free"], FunctionTotals { calls: 2, ..Default::default() });
        assert_eq!(all.sizes.iter().map(|size| size.bytes).collect::<Vec<_>>(), [16, 128]);
        assert!(all.sampled && all.weight == Some(4.0) && all.moments == 3);
    }

    #[test]
    fn blocks_are_taken_and_given_back() {
        let mut counters = counters();
        let realloc = AllocationCounter { calls: 100, ..AllocationCounter::NONE };
        counters.insert(AllocationCall::Realloc, realloc);
        assert_eq!(allocations(&counters, counted(1.0)).blocks(), (3, 2));
    }

    #[test]
    fn a_whole_window_is_no_sample() {
        let all = allocations(&counters(), counted(1.0));
        assert!(!all.sampled && all.weight == Some(1.0));
        assert_eq!(allocations(&counters(), counted(0.0)).weight, None);
    }
}
