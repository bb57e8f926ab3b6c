//! From numbers to advice: a file for each pathology, a pure function of the snapshot.

mod allocator_settings;
mod area_index;
mod arena_contention;
mod caller;
mod estimate;
mod fault_storm;
mod find_vma_hot;
mod finding;
mod heap_trim_churn;
mod hole_search;
mod hot_spot;
mod kernel_cost;
mod leak_growth;
mod major_faults;
mod mmap_churn;
mod mmap_lock_contention;
mod realloc_copy;
mod small_block_waste;
mod vma_explosion;
mod worth;

use std::cmp::Ordering;

pub use arena_contention::arena_contention;
pub(crate) use caller::from_call_site;
pub use fault_storm::fault_storm;
pub use find_vma_hot::find_vma_hot;
pub use finding::{Cause, Cost, Finding, MemorySaving, Saving, Severity};
pub use heap_trim_churn::heap_trim_churn;
pub use hole_search::hole_search;
pub use leak_growth::leak_growth;
pub use major_faults::major_faults;
pub use mmap_churn::mmap_churn;
pub use mmap_lock_contention::mmap_lock_contention;
pub use realloc_copy::realloc_copy;
pub use small_block_waste::small_block_waste;
pub use vma_explosion::vma_explosion;

use crate::aggregate::Snapshot;

/// Looks for one pathology.
type Diagnosis = fn(&Snapshot) -> Option<Finding>;

/// Every pathology that is looked for: its name, what to look at, and the look.
const PATHOLOGIES: &[(&str, Diagnosis)] = &[
    ("mmap-churn", mmap_churn),
    ("heap-trim-churn", heap_trim_churn),
    ("fault-storm", fault_storm),
    ("major-faults", major_faults),
    ("arena-contention", arena_contention),
    ("realloc-copy", realloc_copy),
    ("small-block-waste", small_block_waste),
    ("vma-explosion", vma_explosion),
    ("hole-search", hole_search),
    ("find-vma-hot", find_vma_hot),
    ("mmap-lock-contention", mmap_lock_contention),
    ("leak-growth", leak_growth),
];

/// All that is wrong with the target, worst first.
#[must_use]
pub fn all(snapshot: &Snapshot) -> Vec<Finding> {
    let mut findings: Vec<_> =
        PATHOLOGIES.iter().filter_map(|(_, diagnosis)| diagnosis(snapshot)).collect();
    findings.sort_by(worst_first);
    findings
}

/// Of two that are equally severe, a failure that is coming outranks time that is lost.
#[must_use]
pub fn worst_first(a: &Finding, b: &Finding) -> Ordering {
    let by_failure = vma_explosion::is_it(b).cmp(&vma_explosion::is_it(a));
    let by_cost = b.cost.cpu_seconds_per_second.total_cmp(&a.cost.cpu_seconds_per_second);
    b.severity.cmp(&a.severity).then(by_failure).then(by_cost)
}

/// The names of the pathologies that [`all`] could find there.
pub fn names(snapshot: &Snapshot) -> impl Iterator<Item = &'static str> {
    let is_blind = |name: &str| name == leak_growth::ID && !leak_growth::is_possible(snapshot);
    PATHOLOGIES.iter().map(|(name, _)| *name).filter(move |name| !is_blind(name))
}
