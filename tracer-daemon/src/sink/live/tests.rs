use std::sync::Arc;

use ratatui::{Terminal, backend::TestBackend, buffer::Cell};
use tracer_common::{Loss, ProcessId};

use super::*;
use crate::aggregate::{
    rates::{GroupRates, ProcessRates, Rates},
    snapshot::ProbeStatus,
};

fn rates(calls: f64, cost: f64) -> Rates {
    Rates { calls, faults: 6.0 * calls, major_faults: 0.0, time: cost, cpu: Some(cost / 2.0) }
}

fn group(name: &str, calls: f64, cost: f64) -> GroupRates {
    GroupRates { name: name.to_owned(), processes: 2, areas: Some(9053), rates: rates(calls, cost) }
}

fn machine(calls: f64) -> MachineSnapshot {
    let process = ProcessRates {
        process: ProcessId::new(4321, 700),
        comm: "churner".to_owned(),
        group: Arc::from("web.service"),
        areas: None,
        rates: Rates { cpu: None, ..rates(calls, 0.75) },
    };
    let groups = vec![
        group("web.service", calls, 0.75),
        group("evil\x1b[2J\nname-that-does-not-fit-into-its-column", 12.0, 0.001),
        group("idle", 0.0, 0.0),
    ];
    MachineSnapshot {
        version: "0.1.0".to_owned(),
        kernel: "6.12".to_owned(),
        interval: Some(Interval { seconds: 1.0, groups, processes: vec![process] }),
        ..MachineSnapshot::default()
    }
}

fn screen(view: &View, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| draw(view, frame.area(), frame.buffer_mut())).expect("drawn");
    let cells = terminal.backend().buffer().content().chunks(usize::from(width));
    cells.map(|row| row.iter().map(Cell::symbol).collect()).collect()
}

/// Lines without what is to their right.
fn drawn(view: &View) -> Vec<String> {
    screen(view, 80, 24).iter().map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn groups_in_eighty_columns() {
    let mut view = View::default();
    view.take(machine(1000.0));
    view.take(machine(48_531.0));
    let lines = drawn(&view);
    let expected = [
        "alloctrace 0.1.0 on Linux 6.12, each second of the last 1.00 s",
        "calls      48.5k                                                            ▁█",
    ];
    assert_eq!(lines[..2], expected, "{lines:#?}");
    assert!(lines[2].starts_with("faults      291k "), "{lines:#?}");
    let rows = [
        "GROUP                      PROCS CALLS/S FAULTS/S   TIME    CPU   AREAS    TREND",
        "web.service                    2   48.5k     291k    75%    38%    9.1k       ██",
        "evil\\u{1b}[2J\\nname-that       2      12       72   0.1%  <0.1%    9.1k       ▁▁",
        "idle                           2       0        0     0%     0%    9.1k       ▁▁",
        "",
    ];
    assert_eq!(lines[4..9], rows, "{lines:#?}");
    assert!(lines[23].starts_with("q quit  p processes  "), "{lines:#?}");
}

#[test]
fn processes_in_eighty_columns() {
    let mut view = View { rows: Rows::Processes, ..View::default() };
    view.take(machine(50.0));
    let lines = drawn(&view);
    let rows = [
        "PROCESS (GROUP)              PID CALLS/S FAULTS/S   TIME    CPU   AREAS    TREND",
        "churner (web.service)       4321      50      300    75%      ?       ?        █",
        "",
    ];
    assert_eq!(lines[4..7], rows, "{lines:#?}");
    assert!(lines[23].starts_with("q quit  g groups  "), "{lines:#?}");
}

#[test]
fn what_is_missing_is_said() {
    let mut machine = machine(1.0);
    machine.lost.insert(Loss::FaultRecords, 7);
    machine.probes.push(ProbeStatus {
        signal: "faults".to_owned(),
        backend: None,
        status: "failed".to_owned(),
        reason: None,
    });
    let mut view = View::default();
    view.take(machine);
    assert_eq!(drawn(&view)[22], "lost: fault_records 7  not measured: faults");
}

#[test]
fn any_size_is_drawn() {
    let mut view = View::default();
    for _ in 0..100 {
        for (width, height) in [(1, 1), (20, 5), (80, 24), (300, 100)] {
            assert_eq!(screen(&view, width, height).len(), usize::from(height));
        }
        view.take(machine(1.0));
    }
}

#[test]
fn without_a_terminal_every_row_is_a_line() {
    let mut view = View::default();
    assert_eq!((text(&view, 80), json(&view)), (String::new(), String::new()));
    let mut machine = machine(1.0);
    let interval = machine.interval.as_mut().expect("set");
    interval.groups.extend((0..100).map(|index| group(&format!("g{index}"), 0.0, 0.0)));
    view.take(machine);
    let table = text(&view, 80);
    assert!(table.lines().any(|line| line.starts_with("g99 ")), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
}

#[test]
fn json_has_a_line_for_each_interval() {
    let mut view = View::default();
    view.take(machine(50.0));
    let line = json(&view);
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(value["interval_seconds"], 1.0);
    let group = &value["groups"][0];
    assert_eq!(
        (&group["group"], &group["calls_per_second"]),
        (&"web.service".into(), &50.0.into())
    );
    let process = &value["processes"][0];
    assert_eq!((&process["pid"], &process["start_time"]), (&4321.into(), &7.0.into()));
    assert_eq!((&process["cpu_share"], &process["areas"]), (&().into(), &().into()));
}
