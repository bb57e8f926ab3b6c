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
const NAMED_STACKS: usize = 32;
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
    let heaviest = stacks.heaviest(|kind| match kind {
        StackKind::Allocation(_) => NAMED_ALLOCATIONS,
        _ => NAMED_STACKS,
    });
    let heaviest: Vec<(StackKey, StackSum)> =
        heaviest.into_iter().map(|(key, sum)| (key.clone(), sum)).collect();
    let mut named: Vec<_> = heaviest.iter().map(|(key, sum)| without_names(key, *sum)).collect();
    let fates: Vec<_> = heaviest
        .iter()
        .map(|(key, _)| blocks.map(|all| (all.of(key), all.resizes_of(key))))
        .collect();
    let mut complete = unwinder
        .name(heaviest, Order::PlacesFirst, deadline, |index, totals| named[index] = totals);
    for (totals, fate) in named.iter_mut().zip(fates) {
        (totals.blocks, totals.resizes) = fate.unwrap_or_default();
    }
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
