use std::collections::HashMap;

use tracer_common::ProcessId;

use super::super::trend::{LONGEST, Trend};
use crate::aggregate::rates::{Interval, Rates};

/// Intervals that are remembered for a row.
pub(super) const OF_ROW: usize = 8;

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Group(String),
    Process(ProcessId),
}

/// What was measured lately.
#[derive(Default)]
pub(super) struct History {
    rows: HashMap<Key, Trend>,
    pub(super) calls: Trend,
    pub(super) faults: Trend,
}

impl History {
    /// Takes in an interval. A row that is not in it is forgotten.
    pub(super) fn add(&mut self, interval: &Interval) {
        let all = |rate: fn(&Rates) -> f64| -> f64 {
            interval.groups.iter().map(|group| rate(&group.rates)).sum()
        };
        self.calls.push(all(|rates| rates.calls), LONGEST);
        self.faults.push(all(|rates| rates.faults), LONGEST);
        let groups = interval.groups.iter().map(|one| (Key::Group(one.name.clone()), &one.rates));
        let processes =
            interval.processes.iter().map(|one| (Key::Process(one.process), &one.rates));
        let mut last = std::mem::take(&mut self.rows);
        self.rows = groups
            .chain(processes)
            .map(|(key, rates)| {
                let mut costs = last.remove(&key).unwrap_or_default();
                costs.push(rates.cost(), OF_ROW);
                (key, costs)
            })
            .collect();
    }

    /// The costs of a row, oldest first.
    pub(super) fn of(&self, key: &Key) -> impl Iterator<Item = f64> {
        self.rows.get(key).into_iter().flat_map(Trend::values)
    }
}
