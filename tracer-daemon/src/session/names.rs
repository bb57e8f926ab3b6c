//! The stacks that go into a snapshot, with names as far as those are found in time.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{
    naming::without_names,
    unwinder::{BuildIds, Order, Unwinder},
};
use crate::aggregate::{
    blocks::Blocks,
    cpu_sites::CpuSites,
    snapshot::{Module, StackTotals},
    stack_kind::StackKind,
    stacks::{StackKey, StackSum, Stacks},
};

/// Stacks of each kind that get names and go into a snapshot.
pub(super) const NAMED_STACKS: usize = 32;
/// The same of each function of the allocator: programs call it from everywhere.
const NAMED_ALLOCATIONS: usize = 512;
/// How long a report may wait for names: debug information can be gigabytes.
const NAMING_TIME: Duration = Duration::from_secs(20);

/// Named stacks.
pub(super) struct Named {
    /// The heaviest of calls, faults, look-ups and allocations.
    pub(super) stacks: Vec<StackTotals>,
    /// Those of CPU samples: all of them, for only their names tell which belong together.
    pub(super) cpu: CpuSites,
    /// Of the files that they lead through.
    pub(super) build_ids: BuildIds,
}

/// Names the stacks of a window.
pub(super) fn name(unwinder: &Unwinder, stacks: &Stacks, blocks: Option<&Blocks>) -> Named {
    let deadline = Instant::now() + NAMING_TIME;
    let most = |kind| match kind {
        StackKind::Allocation(_) => NAMED_ALLOCATIONS,
        _ => NAMED_STACKS,
    };
    let (named, mut complete) = heaviest(unwinder, stacks, blocks, most, deadline);
    let (samples, weights): (Vec<_>, Vec<_>) = stacks
        .cpu()
        .counts()
        .into_iter()
        .map(|(key, weight)| ((key, StackSum::default()), weight))
        .unzip();
    let mut cpu = CpuSites::default();
    complete &= unwinder
        .name(samples, Order::NamesOnly, deadline, |index, totals| cpu.add(totals, weights[index]));
    if !complete {
        let seconds = NAMING_TIME.as_secs();
        log::warn!("some stacks have no names: not found within {seconds} s");
    }
    let build_ids = unwinder.build_ids(deadline).unwrap_or_default();
    Named { stacks: named, cpu, build_ids }
}

/// The heaviest stacks, so many of each kind, and whether all of them got their names until `deadline`.
pub(super) fn heaviest(
    unwinder: &Unwinder,
    stacks: &Stacks,
    blocks: Option<&Blocks>,
    most: impl Fn(StackKind) -> usize,
    deadline: Instant,
) -> (Vec<StackTotals>, bool) {
    let heaviest = stacks.heaviest(most).into_iter();
    let heaviest: Vec<(StackKey, StackSum)> =
        heaviest.map(|(key, sum)| (key.clone(), sum)).collect();
    let mut named: Vec<_> = heaviest.iter().map(|(key, sum)| without_names(key, *sum)).collect();
    let fates: Vec<_> = heaviest
        .iter()
        .map(|(key, _)| blocks.map(|all| (all.of(key), all.resizes_of(key))))
        .collect();
    let complete = unwinder
        .name(heaviest, Order::PlacesFirst, deadline, |index, totals| named[index] = totals);
    for (totals, fate) in named.iter_mut().zip(fates) {
        (totals.blocks, totals.resizes) = fate.unwrap_or_default();
    }
    (named, complete)
}

/// The files that stacks lead through.
pub(super) fn modules(stacks: &[StackTotals], build_ids: &BuildIds) -> Vec<Module> {
    let frames = stacks.iter().flat_map(|stack| &stack.frames);
    let names: BTreeSet<_> = frames.filter_map(|frame| frame.module.as_ref()).collect();
    names
        .into_iter()
        .map(|name| Module {
            module: name.clone(),
            build_id: build_ids.get(name).cloned().flatten(),
        })
        .collect()
}
