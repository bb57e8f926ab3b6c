use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Style, Stylize},
    text::{Line, Text},
    widgets::{Row, Table, Widget},
};

use super::{
    super::{
        figures::{cells, compact, share},
        notes,
    },
    Reading, Trends, WindowView,
};
use crate::{
    aggregate::Snapshot,
    humanize::{bytes, escaped},
};

/// Title, trends, and a gap.
const HEAD: u16 = 6;
/// What is missing, and keys.
const FOOT: u16 = 2;
const KEYS: &str = "q ends and reports  TIME in calls and faults, CPU: shares of one CPU";
/// The name, and then numbers.
const WIDTHS: [Constraint; 6] = [
    Constraint::Length(14),
    Constraint::Length(8),
    Constraint::Length(8),
    Constraint::Length(10),
    Constraint::Length(8),
    Constraint::Length(8),
];
const HEADINGS: [&str; 6] = ["CALL", "EACH S", "FAILED/S", "BYTES/S", "TIME", "SO FAR"];

/// Lines that show all of it.
pub(super) fn height(reading: &Reading, width: u16) -> u16 {
    let lines = rows(reading).len() + 1 + found(reading, width, usize::MAX).len();
    u16::try_from(lines).unwrap_or(u16::MAX).saturating_add(HEAD + FOOT)
}

/// Draws it all.
pub(super) fn draw(view: &WindowView, area: Rect, buffer: &mut Buffer) {
    let Some(reading) = &view.last else {
        return Line::from("measuring …").render(area, buffer);
    };
    let rows = rows(reading);
    let height = u16::try_from(rows.len() + 1).unwrap_or(u16::MAX);
    let room = area.height.saturating_sub(HEAD + FOOT).saturating_sub(height);
    let parts = [
        Constraint::Length(HEAD),
        Constraint::Length(height),
        Constraint::Fill(1),
        Constraint::Length(FOOT),
    ];
    let [head, table, below, foot] = Layout::vertical(parts).areas(area);
    header(&reading.snapshot, &view.trends, head, buffer);
    let headings = cells(HEADINGS.map(str::to_owned)).style(Style::new().reversed());
    Table::new(rows, WIDTHS).header(headings).render(table, buffer);
    Text::from(found(reading, area.width, room.into())).render(below, buffer);
    footer(&reading.snapshot, foot, buffer);
}

fn header(snapshot: &Snapshot, trends: &Trends, area: Rect, buffer: &mut Buffer) {
    let target = &snapshot.target;
    let threads = match target.threads {
        Some(1) => ", 1 thread".to_owned(),
        Some(threads) => format!(", {threads} threads"),
        None => String::new(),
    };
    let resident = snapshot
        .resident
        .map_or_else(String::new, |resident| format!(", {} resident", bytes(resident.after)));
    let time = notes::whole(snapshot.window.seconds as u64);
    let (comm, pid) = (&target.comm, target.pid);
    let title = format!("{comm} (pid {pid}){threads}{resident}; traced for {time}");
    let lines = vec![
        Line::from(escaped(&title)).bold(),
        trends.calls.line("calls", compact),
        trends.faults.line("faults", compact),
        trends.bytes.line("bytes", |value| bytes(value as u64)),
        trends.cpu.line("CPU", share),
    ];
    Text::from(lines).render(area, buffer);
}

/// What has happened at all.
fn rows(reading: &Reading) -> Vec<Row<'static>> {
    let Reading { snapshot, rates, .. } = reading;
    let called = snapshot.syscalls.iter().filter(|(_, totals)| totals.calls > 0);
    let calls = called.filter_map(|(name, totals)| {
        let rates = rates.syscalls.get(name)?;
        Some(cells([
            name.clone(),
            compact(rates.calls_per_second),
            compact(rates.failures_per_second),
            bytes(rates.bytes_per_second as u64),
            share(rates.time_share),
            compact(totals.calls as f64),
        ]))
    });
    let (faults, totals) = (&rates.faults, &snapshot.faults);
    let kinds = [
        ("minor faults", faults.minor_per_second, faults.time_share, totals.minor),
        ("major faults", faults.major_per_second, None, totals.major),
    ];
    let had = kinds.into_iter().filter(|(.., total)| *total != Some(0));
    let faults = had.map(|(name, rate, time, total)| {
        cells([
            name.to_owned(),
            rate.map_or_else(|| "?".to_owned(), compact),
            String::new(),
            String::new(),
            time.map_or_else(String::new, share),
            total.map_or_else(|| "?".to_owned(), |total| compact(total as f64)),
        ])
    });
    calls.chain(faults).collect()
}

fn found(reading: &Reading, width: u16, room: usize) -> Vec<Line<'static>> {
    let findings = reading.findings.iter().map(|finding| notes::finding(finding, None, width));
    let findings: Vec<_> = findings.filter(|lines| !lines.is_empty()).collect();
    let none = match findings.is_empty() {
        true => vec![Line::default(), Line::from("nothing found so far")],
        false => Vec::new(),
    };
    notes::fitted(findings, none, room)
}

fn footer(snapshot: &Snapshot, area: Rect, buffer: &mut Buffer) {
    let lost = snapshot.lost.iter().map(|(cause, number)| (cause.as_str(), *number));
    let lines = vec![notes::missing(lost, &snapshot.tracer.probes), Line::from(KEYS).dim()];
    Text::from(lines).render(area, buffer);
}
