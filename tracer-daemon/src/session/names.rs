//! The stacks that go into a snapshot, with names as far as those are found in time.

use std::time::{Duration, Instant};

use super::{
    naming::unnamed,
    unwinder::{Order, Unwinder},
};
use crate::aggregate::{
    cpu_sites::CpuSites,
    snapshot::StackTotals,
    stacks::{StackKey, StackSum, Stacks},
};

/// Stacks of each kind that get names and go into a snapshot.
const NAMED_STACKS: usize = 32;
/// How long a report may wait for names: debug information can be gigabytes.
const NAMING_TIME: Duration = Duration::from_secs(20);

/// Named stacks.
pub(super) struct Named {
    /// The heaviest of calls, faults and look-ups.
    pub(super) stacks: Vec<StackTotals>,
    /// Those of CPU samples: all of them, for only their names tell which belong together.
    pub(super) cpu: CpuSites,
}

/// Names the stacks of a window.
pub(super) fn name(unwinder: &Unwinder, stacks: &Stacks) -> Named {
    let deadline = Instant::now() + NAMING_TIME;
    let heaviest: Vec<(StackKey, StackSum)> =
        stacks.heaviest(NAMED_STACKS).into_iter().map(|(key, sum)| (key.clone(), sum)).collect();
    let mut named: Vec<_> = heaviest.iter().map(|(key, sum)| unnamed(key, *sum)).collect();
    let mut complete = unwinder
        .name(heaviest, Order::PlacesFirst, deadline, |index, totals| named[index] = totals);
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
    Named { stacks: named, cpu }
}
