use std::collections::BTreeMap;

use tracer_common::{DURATION_BUCKETS, LockWaits, Syscall};

use super::sample::{Sample, Value};
use crate::aggregate::{MachineSnapshot, counters::Sum, locks::LockSide};

/// The kernel's bucket `n` ends at 2^n ns. Every second one becomes a bucket of Prometheus, from
/// 1 µs on; the last one of the kernel is open and belongs to `+Inf` only.
const FIRST: usize = 10;
const STEP: usize = 2;

/// A histogram of each call over the whole machine: one for each group would be too many series.
pub(super) fn histograms(machine: &MachineSnapshot) -> Vec<Sample> {
    let called = Syscall::ALL.into_iter().filter_map(|syscall| {
        let (durations, nanoseconds) = of_all_groups(machine, syscall)?;
        Some(histogram(&durations, nanoseconds).label("syscall", syscall.name()))
    });
    called.collect()
}

/// A histogram of each side of the lock over the whole machine.
pub(super) fn lock_histograms(machine: &MachineSnapshot) -> Vec<Sample> {
    let mut sums: BTreeMap<LockSide, LockWaits> = BTreeMap::new();
    for (side, waits) in machine.groups.values().flat_map(|group| &group.lock_waits) {
        let sum = sums.entry(*side).or_default();
        *sum = sum.plus(*waits);
    }
    let sides = sums.into_iter();
    sides
        .map(|(side, sum)| histogram(&sum.durations, sum.wait_ns).label("side", side.name()))
        .collect()
}

fn of_all_groups(
    machine: &MachineSnapshot,
    syscall: Syscall,
) -> Option<([u64; DURATION_BUCKETS], u64)> {
    let groups = machine.groups.values().filter_map(|group| group.syscalls.get(&syscall));
    groups.fold(None, |sum, totals| {
        let (mut durations, nanoseconds) = sum.unwrap_or(([0; DURATION_BUCKETS], 0_u64));
        for (sum, calls) in durations.iter_mut().zip(totals.durations) {
            *sum += calls;
        }
        Some((durations, nanoseconds.saturating_add(totals.duration_ns)))
    })
}

fn histogram(durations: &[u64; DURATION_BUCKETS], nanoseconds: u64) -> Sample {
    let ends = (FIRST..DURATION_BUCKETS - 1).step_by(STEP);
    let cumulative = ends.map(|end| {
        let upper = (1_u64 << end) as f64 / 1e9;
        (upper, durations[..=end].iter().sum())
    });
    Sample::of(Value::Histogram {
        cumulative: cumulative.collect(),
        count: durations.iter().sum(),
        sum: nanoseconds as f64 / 1e9,
    })
}
