//! What windows over allocators found, as samples.

use tracer_common::SIZE_CLASSES;

use super::sample::{Sample, Value};
use crate::aggregate::MachineSnapshot;
use crate::aggregate::allocator_windows::{AllocatorGroup, FunctionSums};

/// Ends of the buckets of requests: powers of four from 16 bytes to 4 GiB.
const BUCKETS: std::ops::RangeInclusive<u32> = 4..=32;
const STEP: usize = 2;

pub(super) fn by_group(
    machine: &MachineSnapshot,
    value: fn(&AllocatorGroup) -> Option<f64>,
) -> Vec<Sample> {
    let groups = machine.allocator.groups.iter();
    groups
        .filter_map(|(name, group)| Some(Sample::new(value(group)?).label("group", name)))
        .collect()
}

pub(super) fn by_function(
    machine: &MachineSnapshot,
    value: fn(&FunctionSums) -> Option<u64>,
) -> Vec<Sample> {
    let functions = machine.allocator.groups.iter().flat_map(|(name, group)| {
        group.functions.iter().filter_map(move |(function, sums)| {
            Some(Sample::count(value(sums)?).label("group", name).label("function", function))
        })
    });
    functions.collect()
}

pub(super) fn requests(machine: &MachineSnapshot) -> Vec<Sample> {
    let groups = machine.allocator.groups.iter().filter(|(_, group)| !group.sizes.is_empty());
    groups.map(|(name, group)| histogram(group).label("group", name)).collect()
}

fn histogram(group: &AllocatorGroup) -> Sample {
    let up_to = |end: u32| {
        let calls = group.sizes.range(..=end).map(|(_, calls)| *calls);
        calls.fold(0, u64::saturating_add)
    };
    let cumulative = BUCKETS.step_by(STEP).map(|end| ((1_u64 << end) as f64, up_to(end)));
    let bytes = group.functions.values().filter_map(|sums| sums.bytes);
    Sample::of(Value::Histogram {
        cumulative: cumulative.collect(),
        count: up_to(SIZE_CLASSES as u32),
        sum: bytes.fold(0, u64::saturating_add) as f64,
    })
}

pub(super) fn info(machine: &MachineSnapshot) -> Vec<Sample> {
    let allocators = machine.allocator.groups.iter().flat_map(|(group, totals)| {
        totals.allocators.keys().map(move |(allocator, version)| {
            Sample::new(1.0)
                .label("group", group)
                .label("allocator", allocator)
                .label("version", version)
        })
    });
    allocators.collect()
}

/// What does not belong to a group; nothing where nobody asked for windows.
pub(super) fn of_daemon(
    machine: &MachineSnapshot,
    value: fn(&MachineSnapshot) -> f64,
) -> Vec<Sample> {
    machine.allocator.budget.map(|_| Sample::new(value(machine))).into_iter().collect()
}
