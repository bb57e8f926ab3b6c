use std::time::Instant;

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
        notes::{self, Whose},
        trend::bar,
    },
    MachineView, Rows, Sample,
    history::{History, Key, OF_ROW},
};
use crate::{
    aggregate::{
        MachineSnapshot,
        looks::Found,
        rates::{Interval, Rates},
    },
    humanize::{self, escaped},
};

/// Lines besides the rows and what is found: machine, headings, keys.
const FRAME: u16 = 7;
/// Rows that findings leave room for.
const LEAST_ROWS: usize = 6;
/// From here on a row is worth a look: a tenth of a CPU.
const WORTH_A_LOOK: f64 = 0.1;
/// The name, and then numbers; 80 columns with a space between each two.
const WIDTHS: [Constraint; 8] = [
    Constraint::Fill(1),
    Constraint::Length(7),
    Constraint::Length(7),
    Constraint::Length(8),
    Constraint::Length(6),
    Constraint::Length(6),
    Constraint::Length(7),
    Constraint::Length(OF_ROW as u16),
];

/// Lines that show every row and every finding, as many as can be told.
pub(super) fn height(rows: Rows, sample: &Sample, interval: &Interval, width: u16) -> u16 {
    let lines = number_of(rows, interval) + found(sample, width, usize::MAX).len();
    u16::try_from(lines).unwrap_or(u16::MAX).saturating_add(FRAME)
}

/// Draws it all.
pub(super) fn draw(view: &MachineView, area: Rect, buffer: &mut Buffer) {
    let Some(sample) = &view.sample else {
        return Line::from("measuring …").render(area, buffer);
    };
    let machine = &sample.machine;
    let rows = machine.interval.as_ref().map_or(0, |interval| number_of(view.rows, interval));
    let room = usize::from(area.height.saturating_sub(FRAME)).saturating_sub(rows.min(LEAST_ROWS));
    let notes = found(sample, area.width, room);
    let parts = [
        Constraint::Length(4),
        Constraint::Fill(1),
        Constraint::Length(u16::try_from(notes.len()).unwrap_or(u16::MAX)),
        Constraint::Length(2),
    ];
    let [head, rows, below, foot] = Layout::vertical(parts).areas(area);
    header(&view.history, machine, head, buffer);
    if let Some(interval) = &machine.interval {
        table(view, interval).render(rows, buffer);
    }
    Text::from(notes).render(below, buffer);
    footer(view.rows, machine, foot, buffer);
}

fn number_of(rows: Rows, interval: &Interval) -> usize {
    match rows {
        Rows::Groups => interval.groups.len(),
        Rows::Processes => interval.processes.len(),
    }
}

/// What closer looks found, and what they are at.
fn found(sample: &Sample, width: u16, room: usize) -> Vec<Line<'static>> {
    let looks = &sample.machine.looks;
    let findings = looks.worst_first().into_iter().map(|(group, found, finding)| {
        notes::finding(finding, Some(&whose(group, found, sample.at)), width)
    });
    let attention = looks.attention.as_ref();
    let attention = attention.map(|attention| notes::attention(attention, sample.at, width));
    notes::fitted(findings.collect(), attention.unwrap_or_default(), room)
}

fn whose(group: &str, found: &Found, now: Instant) -> Whose {
    let Found { process, comm, at, .. } = found;
    let age = notes::whole(now.saturating_duration_since(*at).as_secs());
    let of = if group == comm { String::new() } else { format!(" of {group}") };
    Whose {
        who: format!("{comm} (pid {}){of}, {age} ago", process.pid),
        all: format!("alloctrace attach --pid {} --duration 30s", process.pid),
    }
}

fn header(history: &History, machine: &MachineSnapshot, area: Rect, buffer: &mut Buffer) {
    let seconds = machine.interval.as_ref().map(|interval| interval.seconds);
    let over = seconds.map_or_else(String::new, |seconds| {
        format!(", each second of the last {}", humanize::seconds(seconds))
    });
    let title = format!("alloctrace {} on Linux {}{over}", machine.version, machine.kernel);
    let lines = vec![
        Line::from(escaped(&title)).dim(),
        history.calls.line("calls", compact),
        history.faults.line("faults", compact),
    ];
    Text::from(lines).render(area, buffer);
}

fn table<'a>(view: &MachineView, interval: &Interval) -> Table<'a> {
    let rows: Vec<_> = match view.rows {
        Rows::Groups => interval
            .groups
            .iter()
            .map(|one| {
                let key = Key::Group(one.name.clone());
                (one.name.clone(), one.processes.to_string(), one.areas, one.rates, key)
            })
            .collect(),
        Rows::Processes => interval
            .processes
            .iter()
            .map(|one| {
                let key = Key::Process(one.process);
                let name = format!("{} ({})", one.comm, one.group);
                (name, one.process.pid.to_string(), one.areas, one.rates, key)
            })
            .collect(),
    };
    let costs = rows.iter().flat_map(|(.., key)| view.history.of(key));
    let scale = costs.fold(WORTH_A_LOOK, f64::max);
    let rows = rows.into_iter().map(|(name, number, areas, rates, key)| {
        let trend: String = view.history.of(&key).map(|cost| bar(cost, scale)).collect();
        row(&name, &number, areas, &rates, &trend)
    });
    let heading = match view.rows {
        Rows::Groups => ["GROUP", "PROCS"],
        Rows::Processes => ["PROCESS (GROUP)", "PID"],
    };
    let headings = [heading[0], heading[1], "CALLS/S", "FAULTS/S", "TIME", "CPU", "AREAS", "TREND"];
    Table::new(rows, WIDTHS)
        .header(cells(headings.map(str::to_owned)).style(Style::new().reversed()))
}

fn row<'a>(name: &str, number: &str, areas: Option<u64>, rates: &Rates, trend: &str) -> Row<'a> {
    let areas = areas.map_or_else(|| "?".to_owned(), |areas| compact(areas as f64));
    let cells = cells([
        escaped(name),
        number.to_owned(),
        compact(rates.calls),
        compact(rates.faults),
        share(rates.time),
        rates.cpu.map_or_else(|| "?".to_owned(), share),
        areas,
        format!("{trend:>OF_ROW$}"),
    ]);
    if rates.cost() >= WORTH_A_LOOK { cells.bold() } else { cells }
}

fn footer(rows: Rows, machine: &MachineSnapshot, area: Rect, buffer: &mut Buffer) {
    let lost = machine.losses().map(|(cause, number)| (cause.name(), number));
    let other = match rows {
        Rows::Groups => "p processes",
        Rows::Processes => "g groups",
    };
    let keys =
        format!("q quit  {other}  TIME in calls and faults, CPU on memory: shares of one CPU");
    let lines = vec![notes::missing(lost, &machine.probes), Line::from(keys).dim()];
    Text::from(lines).render(area, buffer);
}
