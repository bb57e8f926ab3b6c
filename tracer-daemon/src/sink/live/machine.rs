//! The whole machine.

mod draw;
mod history;
#[cfg(test)]
mod tests;

use std::time::Instant;

use ratatui::{buffer::Buffer, layout::Rect};
use serde::Serialize;

use self::history::History;
use super::{View, line};
use crate::{
    aggregate::{MachineSnapshot, rates::Interval},
    sink::{
        findings::{ActiveFinding, active},
        rates::{Group, Process},
    },
};

/// What the rows are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rows {
    /// Groups.
    #[default]
    Groups,
    /// Processes.
    Processes,
}

/// What is shown: the last sample, and what led to it.
#[derive(Default)]
pub struct MachineView {
    /// What the rows are.
    pub rows: Rows,
    sample: Option<Sample>,
    history: History,
}

struct Sample {
    machine: MachineSnapshot,
    at: Instant,
}

impl MachineView {
    /// Takes in a sample, which was taken now.
    pub fn take(&mut self, machine: MachineSnapshot, now: Instant) {
        if let Some(interval) = &machine.interval {
            self.history.add(interval);
        }
        self.sample = Some(Sample { machine, at: now });
    }

    /// Whether there has been time for anything to happen.
    #[must_use]
    pub fn has_interval(&self) -> bool {
        self.sample.as_ref().is_some_and(|sample| sample.machine.interval.is_some())
    }
}

impl View for MachineView {
    fn draw(&self, area: Rect, buffer: &mut Buffer) {
        draw::draw(self, area, buffer);
    }

    fn height(&self, width: u16) -> Option<u16> {
        let sample = self.sample.as_ref()?;
        Some(draw::height(self.rows, sample, sample.machine.interval.as_ref()?, width))
    }

    fn json(&self) -> String {
        let Some(Sample { machine, at }) = &self.sample else { return String::new() };
        let Some(interval) = &machine.interval else { return String::new() };
        line(&Line::of(interval, active(&machine.looks, *at)))
    }
}

#[derive(Serialize)]
struct Line<'a> {
    interval_seconds: f64,
    groups: Vec<Group<'a>>,
    processes: Vec<Process<'a>>,
    findings: Vec<ActiveFinding<'a>>,
}

impl<'a> Line<'a> {
    fn of(interval: &'a Interval, findings: Vec<ActiveFinding<'a>>) -> Self {
        Self {
            interval_seconds: interval.seconds,
            groups: interval.groups.iter().map(Group::from).collect(),
            processes: interval.processes.iter().map(Process::from).collect(),
            findings,
        }
    }
}
