//! What windows over processes' allocators found, folded into their groups.

use std::collections::{BTreeMap, HashMap};

use tracer_common::{AllocationCall, ProcessId, SIZE_CLASSES};

use super::{
    allocations::Allocations,
    groups::OTHER,
    snapshot::{BlockSum, Snapshot},
};
use crate::allocator::name_and_version;

/// Groups with names of their own: of those processes only that somebody has chosen.
const MOST_GROUPS: usize = 100;

/// Windows of the daemon's own life, as metrics have them. Calls, bytes and sizes are of the time in windows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AllocatorTotals {
    /// By the group's name.
    pub groups: BTreeMap<String, AllocatorGroup>,
    /// The share of one CPU that probes may take; absent where nobody asked for windows.
    pub budget: Option<f64>,
    /// Processes that have probes at present.
    pub open: u64,
}

/// The windows of a group's processes, dead ones included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AllocatorGroup {
    /// By the function's name.
    pub functions: BTreeMap<&'static str, FunctionSums>,
    /// Calls by what they asked for, see [`tracer_common::size_class`].
    pub sizes: BTreeMap<u32, u64>,
    /// Windows that ended well.
    pub windows: u64,
    /// Windows that did not.
    pub failed: u64,
    /// The time in windows.
    pub seconds: f64,
    /// The part of it in which each call was counted.
    pub counted_seconds: f64,
    /// What tracing took in windows.
    pub tracing_seconds: f64,
    /// Living processes that are to be traced.
    pub targets: u64,
    /// Blocks of the last windows of living processes that were not given back in them; absent where
    /// none was followed to its end.
    pub outstanding: Option<BlockSum>,
    /// Living processes by their allocators' names and versions, as far as a window told.
    pub allocators: BTreeMap<(String, String), u64>,
}

/// Calls of a function in windows: counted, or estimated from the part of a window that was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionSums {
    /// How many.
    pub calls: u64,
    /// What they asked for; absent for functions that give back.
    pub bytes: Option<u64>,
    /// Those that got nothing; absent as long as results were never seen.
    pub failures: Option<u64>,
}

/// The windows so far.
#[derive(Default)]
pub struct AllocatorWindows {
    groups: BTreeMap<String, AllocatorGroup>,
    last: HashMap<ProcessId, Last>,
}

/// The last window of a living process.
struct Last {
    group: String,
    outstanding: Option<BlockSum>,
    allocator: Option<(String, String)>,
}

impl AllocatorWindows {
    /// A window over a process has ended well.
    pub fn add(&mut self, process: ProcessId, group: &str, snapshot: &Snapshot) {
        let Some(allocations) = &snapshot.allocations else { return };
        let group = self.enter(group);
        let sums = self.groups.entry(group.clone()).or_default();
        sums.add(snapshot, allocations);
        let followed = allocations.blocks.as_ref();
        let allocator = snapshot.target.allocator.as_deref().map(|text| {
            let (name, version) = name_and_version(text);
            (name.to_owned(), version.unwrap_or_default().to_owned())
        });
        let outstanding = followed.and_then(|followed| followed.totals.outstanding);
        self.last.insert(process, Last { group, outstanding, allocator });
    }

    /// A window over a process of this group has failed.
    pub fn failed(&mut self, group: &str) {
        let group = self.enter(group);
        self.groups.entry(group).or_default().failed += 1;
    }

    /// These are to be traced, each with its group; others are forgotten.
    pub fn living<'a>(&mut self, targets: impl Iterator<Item = (ProcessId, &'a str)>) {
        self.groups.values_mut().for_each(|group| group.targets = 0);
        let mut old = std::mem::take(&mut self.last);
        for (process, group) in targets {
            let group = self.enter(group);
            self.groups.entry(group).or_default().targets += 1;
            self.last.extend(old.remove_entry(&process));
        }
    }

    /// The groups as they stand.
    #[must_use]
    pub fn groups(&self) -> BTreeMap<String, AllocatorGroup> {
        let mut groups = self.groups.clone();
        for last in self.last.values() {
            let Some(group) = groups.get_mut(&last.group) else { continue };
            if let Some(blocks) = last.outstanding {
                let sum = group.outstanding.get_or_insert_default();
                sum.blocks = sum.blocks.saturating_add(blocks.blocks);
                sum.bytes = sum.bytes.saturating_add(blocks.bytes);
            }
            if let Some(allocator) = &last.allocator {
                *group.allocators.entry(allocator.clone()).or_default() += 1;
            }
        }
        groups
    }

    /// The group of that name, or the one that stands for too many.
    fn enter(&self, name: &str) -> String {
        let is_known = self.groups.contains_key(name) || self.groups.len() < MOST_GROUPS;
        if is_known { name } else { OTHER }.to_owned()
    }
}

impl AllocatorGroup {
    fn add(&mut self, snapshot: &Snapshot, found: &Allocations) {
        let seconds = snapshot.window.seconds;
        let scale = Scale::of(found, seconds);
        for call in AllocationCall::ALL {
            let Some(totals) = found.functions.get(call.name()) else { continue };
            let sums = self.functions.entry(call.name()).or_default();
            sums.calls = sums.calls.saturating_add(scale.up(totals.calls));
            add(&mut sums.bytes, totals.bytes.map(|bytes| scale.up(bytes)));
            add(&mut sums.failures, totals.failures);
        }
        let classes = found.sizes.iter().filter(|size| size.bytes.is_power_of_two());
        for size in classes.take(SIZE_CLASSES) {
            let sum = self.sizes.entry(size.bytes.trailing_zeros()).or_default();
            *sum = sum.saturating_add(scale.up(size.calls));
        }
        self.windows += 1;
        self.seconds += seconds;
        self.counted_seconds += seconds * found.duty;
        self.tracing_seconds += snapshot.overhead.map_or(0.0, |cost| cost.seconds);
    }
}

fn add(sum: &mut Option<u64>, more: Option<u64>) {
    if let Some(more) = more {
        let sum = sum.get_or_insert_default();
        *sum = sum.saturating_add(more);
    }
}

/// What a counted call stands for in its window.
#[derive(Clone, Copy)]
struct Scale(f64);

impl Scale {
    /// From the estimated rate, or its lower bound where there is no more. Without either, and where every
    /// call was counted, a call stands for itself.
    fn of(found: &Allocations, seconds: f64) -> Self {
        let counted = found.functions.values().map(|one| one.calls).fold(0, u64::saturating_add);
        let rate = found.calls_per_second.filter(|_| found.sampled);
        let estimate = rate.map_or(0.0, |rate| rate.estimate.unwrap_or(rate.low)) * seconds;
        let scale = estimate / counted as f64;
        Self(if scale.is_finite() { scale.max(1.0) } else { 1.0 })
    }

    fn up(self, counted: u64) -> u64 {
        if self.0 > 1.0 { (counted as f64 * self.0).round() as u64 } else { counted }
    }
}

#[cfg(test)]
mod tests;
