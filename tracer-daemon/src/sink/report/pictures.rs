use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use crate::{
    aggregate::snapshot::{Snapshot, StackTotals},
    sink::profile::{self, Measure},
};

/// A flame graph of each kind of stacks that has one: its title, and an address that holds the picture itself.
pub(super) fn flame_graphs(snapshot: &Snapshot) -> Vec<(String, String)> {
    let drawn = profile::kinds(&snapshot.stacks).into_iter().filter_map(|kind| {
        let stacks = snapshot.stacks.iter().filter(|stack| stack.kind == kind);
        let stacks: Vec<&StackTotals> = stacks.collect();
        let measure = Measure::usual(kind);
        let title = format!("{kind} by {}", measure.unit());
        let picture = profile::flamegraph(&stacks, &title, measure).ok()?;
        let encoded = percent_encode(&picture, NON_ALPHANUMERIC);
        Some((title, format!("data:image/svg+xml,{encoded}")))
    });
    drawn.collect()
}
