//! The machine as it goes, for a terminal. Drawing is a function of what was measured and of the room there is.

mod draw;
mod history;
#[cfg(test)]
mod tests;

use ratatui::{buffer::Buffer, layout::Rect};
use serde::Serialize;

pub use self::draw::draw;
use self::history::History;
use super::rates::{Group, Process};
use crate::aggregate::{MachineSnapshot, rates::Interval};

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
pub struct View {
    /// What the rows are.
    pub rows: Rows,
    machine: Option<MachineSnapshot>,
    history: History,
}

impl View {
    /// Takes in a sample.
    pub fn take(&mut self, machine: MachineSnapshot) {
        if let Some(interval) = &machine.interval {
            self.history.add(interval);
        }
        self.machine = Some(machine);
    }

    /// Whether there has been time for anything to happen.
    #[must_use]
    pub fn has_interval(&self) -> bool {
        self.interval().is_some()
    }

    fn interval(&self) -> Option<&Interval> {
        self.machine.as_ref()?.interval.as_ref()
    }
}

#[derive(Serialize)]
struct Line<'a> {
    interval_seconds: f64,
    groups: Vec<Group<'a>>,
    processes: Vec<Process<'a>>,
}

/// The last interval for programs, in a line; nothing if there was none yet.
#[must_use]
pub fn json(view: &View) -> String {
    let Some(interval) = view.interval() else { return String::new() };
    let line = Line {
        interval_seconds: interval.seconds,
        groups: interval.groups.iter().map(Group::from).collect(),
        processes: interval.processes.iter().map(Process::from).collect(),
    };
    // Strings and numbers: there is nothing that could not be written.
    serde_json::to_string(&line).map_or_else(|_| String::new(), |text| text + "\n")
}

/// The last interval as a table, every row; nothing if there was none yet.
#[must_use]
pub fn text(view: &View, width: u16) -> String {
    let Some(interval) = view.interval() else { return String::new() };
    let area = Rect::new(0, 0, width, draw::height(view, interval));
    let mut buffer = Buffer::empty(area);
    draw(view, area, &mut buffer);
    let mut text = String::new();
    for row in area.rows() {
        let line: String = row.columns().map(|cell| buffer[cell].symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
