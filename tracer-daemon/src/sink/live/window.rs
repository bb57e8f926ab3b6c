//! The window over a process.

mod draw;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use ratatui::{buffer::Buffer, layout::Rect};
use serde::Serialize;

use super::{
    View, line,
    trend::{LONGEST, Trend},
};
use crate::{
    aggregate::{Snapshot, window_rates::WindowRates},
    diagnose::Finding,
};

/// What is shown: the window so far, and what led to it.
#[derive(Default)]
pub struct WindowView {
    last: Option<Reading>,
    trends: Trends,
}

struct Reading {
    snapshot: Snapshot,
    rates: WindowRates,
    findings: Vec<Finding>,
}

#[derive(Default)]
struct Trends {
    calls: Trend,
    faults: Trend,
    bytes: Trend,
    cpu: Trend,
}

impl WindowView {
    /// Takes in the window as it stands, and what follows from that.
    pub fn take(&mut self, snapshot: Snapshot, findings: Vec<Finding>) {
        let before = self.last.as_ref().map(|last| &last.snapshot);
        let Some(rates) = WindowRates::between(before, &snapshot) else { return };
        let (calls, faults) = (rates.calls(), rates.faults);
        self.trends.calls.push(calls.calls_per_second, LONGEST);
        self.trends.bytes.push(calls.bytes_per_second, LONGEST);
        let both = [faults.minor_per_second, faults.major_per_second].into_iter().flatten();
        self.trends.faults.push(both.sum(), LONGEST);
        self.trends.cpu.push(rates.cpu_share.unwrap_or(0.0), LONGEST);
        self.last = Some(Reading { snapshot, rates, findings });
    }
}

impl View for WindowView {
    fn draw(&self, area: Rect, buffer: &mut Buffer) {
        draw::draw(self, area, buffer);
    }

    fn height(&self, width: u16) -> Option<u16> {
        self.last.as_ref().map(|last| draw::height(last, width))
    }

    fn json(&self) -> String {
        self.last.as_ref().map_or_else(String::new, |last| line(&Line::of(last)))
    }
}

#[derive(Serialize)]
struct Line<'a> {
    elapsed_seconds: f64,
    #[serde(flatten)]
    rates: &'a WindowRates,
    resident_bytes: Option<u64>,
    lost: &'a BTreeMap<String, u64>,
    findings: &'a [Finding],
}

impl<'a> Line<'a> {
    fn of(reading: &'a Reading) -> Self {
        let Reading { snapshot, rates, findings } = reading;
        Self {
            elapsed_seconds: snapshot.window.seconds,
            rates,
            resident_bytes: snapshot.resident.map(|resident| resident.after),
            lost: &snapshot.lost,
            findings,
        }
    }
}
