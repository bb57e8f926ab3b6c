use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Style, Stylize},
    text::{Line, Text},
    widgets::{Row, Table, Widget},
};

use super::{
    Rows, View,
    history::{Key, OF_MACHINE, OF_ROW},
};
use crate::{
    aggregate::{
        MachineSnapshot,
        rates::{Interval, Rates},
        snapshot::unmeasured,
    },
    humanize::{self, escaped},
};

/// Lines besides the rows: machine, headings, keys.
const FRAME: u16 = 7;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
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

/// Lines that show every row, as many as can be told.
pub(super) fn height(view: &View, interval: &Interval) -> u16 {
    let rows = match view.rows {
        Rows::Groups => interval.groups.len(),
        Rows::Processes => interval.processes.len(),
    };
    u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(FRAME)
}

/// Draws it all.
pub fn draw(view: &View, area: Rect, buffer: &mut Buffer) {
    let parts = [Constraint::Length(4), Constraint::Fill(1), Constraint::Length(2)];
    let [head, rows, foot] = Layout::vertical(parts).areas(area);
    let Some(machine) = &view.machine else {
        return Line::from("measuring …").render(head, buffer);
    };
    header(view, machine, head, buffer);
    if let Some(interval) = &machine.interval {
        table(view, interval).render(rows, buffer);
    }
    footer(view, machine, foot, buffer);
}

fn header(view: &View, machine: &MachineSnapshot, area: Rect, buffer: &mut Buffer) {
    let seconds = machine.interval.as_ref().map(|interval| interval.seconds);
    let over = seconds.map_or_else(String::new, |seconds| {
        format!(", each second of the last {}", humanize::seconds(seconds))
    });
    let title = format!("alloctrace {} on Linux {}{over}", machine.version, machine.kernel);
    let (calls, faults) = (&view.history.calls, &view.history.faults);
    let total = |name: &str, values: &std::collections::VecDeque<f64>| {
        let last = values.back().map_or_else(String::new, |last| compact(*last));
        let scale = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let bars: String = values.iter().map(|value| bar(*value, scale)).collect();
        Line::from(format!("{name:<8}{last:>8}  {bars:>OF_MACHINE$}"))
    };
    let lines =
        vec![Line::from(escaped(&title)).dim(), total("calls", calls), total("faults", faults)];
    Text::from(lines).render(area, buffer);
}

fn table<'a>(view: &View, interval: &Interval) -> Table<'a> {
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

/// The name to the left, numbers to the right.
fn cells<'a>(texts: [String; 8]) -> Row<'a> {
    let cells = texts.into_iter().enumerate().map(|(index, text)| {
        let line = Line::from(text);
        if index == 0 { line } else { line.right_aligned() }
    });
    Row::new(cells.map(Text::from))
}

fn footer(view: &View, machine: &MachineSnapshot, area: Rect, buffer: &mut Buffer) {
    let lost = machine.losses().map(|(cause, number)| format!("{} {number}", cause.name()));
    let lost: Vec<_> = lost.collect();
    let missing: Vec<_> =
        unmeasured(&machine.probes).into_iter().flat_map(|(signals, _)| signals).collect();
    let mut wrong = String::new();
    if !lost.is_empty() {
        wrong = format!("lost: {}  ", lost.join(", "));
    }
    if !missing.is_empty() {
        wrong.push_str(&format!("not measured: {}", missing.join(", ")));
    }
    let other = match view.rows {
        Rows::Groups => "p processes",
        Rows::Processes => "g groups",
    };
    let keys =
        format!("q quit  {other}  TIME in calls and faults, CPU on memory: shares of one CPU");
    let lines = vec![Line::from(escaped(&wrong)), Line::from(keys).dim()];
    Text::from(lines).render(area, buffer);
}

/// `812`, `48.5k`, `2.1M`: at most six characters.
fn compact(number: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let unit = UNITS.iter().find(|(size, _)| number >= size * 0.9995);
    match unit {
        Some((size, unit)) if number / size < 99.95 => format!("{:.1}{unit}", number / size),
        Some((size, unit)) => format!("{:.0}{unit}", number / size),
        None if number > 0.0 && number < 9.95 => format!("{number:.1}"),
        None => format!("{number:.0}"),
    }
}

fn share(share: f64) -> String {
    humanize::percent(share).replace(' ', "")
}

fn bar(value: f64, scale: f64) -> char {
    let part = (value / scale * (BARS.len() - 1) as f64).round();
    // Not a number and less than nothing become 0.
    BARS[(part as usize).min(BARS.len() - 1)]
}
