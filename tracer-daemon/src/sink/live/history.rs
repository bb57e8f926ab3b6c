use std::collections::{HashMap, VecDeque};

use tracer_common::ProcessId;

use crate::aggregate::rates::{Interval, Rates};

/// Intervals that are remembered for a row.
pub(super) const OF_ROW: usize = 8;
/// Those remembered for the machine: as many as fit beside its numbers in 80 columns.
pub(super) const OF_MACHINE: usize = 60;

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Group(String),
    Process(ProcessId),
}

/// What was measured lately.
#[derive(Default)]
pub(super) struct History {
    rows: HashMap<Key, VecDeque<f64>>,
    pub(super) calls: VecDeque<f64>,
    pub(super) faults: VecDeque<f64>,
}

impl History {
    /// Takes in an interval. A row that is not in it is forgotten.
    pub(super) fn add(&mut self, interval: &Interval) {
        let all = |rate: fn(&Rates) -> f64| -> f64 {
            interval.groups.iter().map(|group| rate(&group.rates)).sum()
        };
        push(&mut self.calls, all(|rates| rates.calls), OF_MACHINE);
        push(&mut self.faults, all(|rates| rates.faults), OF_MACHINE);
        let groups = interval.groups.iter().map(|one| (Key::Group(one.name.clone()), &one.rates));
        let processes =
            interval.processes.iter().map(|one| (Key::Process(one.process), &one.rates));
        let mut last = std::mem::take(&mut self.rows);
        self.rows = groups
            .chain(processes)
            .map(|(key, rates)| {
                let mut costs = last.remove(&key).unwrap_or_default();
                push(&mut costs, rates.cost(), OF_ROW);
                (key, costs)
            })
            .collect();
    }

    /// The costs of a row, oldest first.
    pub(super) fn of(&self, key: &Key) -> impl Iterator<Item = f64> {
        self.rows.get(key).into_iter().flatten().copied()
    }
}

fn push(values: &mut VecDeque<f64>, value: f64, most: usize) {
    values.push_back(value);
    if values.len() > most {
        values.pop_front();
    }
}
