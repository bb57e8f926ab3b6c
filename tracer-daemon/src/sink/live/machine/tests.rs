use std::{sync::Arc, time::Duration};

use ratatui::{Terminal, backend::TestBackend, buffer::Cell};
use tracer_common::{Loss, ProcessId};

use super::{super::text, *};
use crate::{
    aggregate::{
        looks::{Attention, Found, LastLook, Load, Stage},
        rates::{GroupRates, ProcessRates, Rates},
        snapshot::ProbeStatus,
    },
    diagnose::{Cause, Cost, Finding, Severity},
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

fn screen(view: &MachineView, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| view.draw(frame.area(), frame.buffer_mut())).expect("drawn");
    let cells = terminal.backend().buffer().content().chunks(usize::from(width));
    cells.map(|row| row.iter().map(Cell::symbol).collect()).collect()
}

/// Lines without what is to their right.
fn drawn(view: &MachineView) -> Vec<String> {
    screen(view, 80, 24).iter().map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn groups_in_eighty_columns() {
    let mut view = MachineView::default();
    view.take(machine(1000.0), Instant::now());
    view.take(machine(48_531.0), Instant::now());
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
    let mut view = MachineView { rows: Rows::Processes, ..MachineView::default() };
    view.take(machine(50.0), Instant::now());
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
    let mut view = MachineView::default();
    view.take(machine, Instant::now());
    assert_eq!(drawn(&view)[22], "lost: fault_records 7  not measured: faults");
}

#[test]
fn any_size_is_drawn() {
    let mut view = MachineView::default();
    for _ in 0..100 {
        for (width, height) in [(1, 1), (20, 5), (80, 24), (300, 100)] {
            assert_eq!(screen(&view, width, height).len(), usize::from(height));
        }
        view.take(machine(1.0), Instant::now());
    }
}

#[test]
fn without_a_terminal_every_row_is_a_line() {
    let mut view = MachineView::default();
    assert_eq!((text(&view, 80), view.json()), (String::new(), String::new()));
    let mut machine = machine(1.0);
    let interval = machine.interval.as_mut().expect("set");
    interval.groups.extend((0..100).map(|index| group(&format!("g{index}"), 0.0, 0.0)));
    view.take(machine, Instant::now());
    let table = text(&view, 80);
    assert!(table.lines().any(|line| line.starts_with("g99 ")), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
}

#[test]
fn json_has_a_line_for_each_interval() {
    let mut view = MachineView::default();
    let now = Instant::now();
    let found = looked_at(&[("web.service", 4321)], now).looks;
    view.take(MachineSnapshot { looks: found, ..machine(50.0) }, now);
    let line = view.json();
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
    let finding = &value["findings"][0];
    assert_eq!((&finding["id"], &finding["pid"]), (&"mmap-churn".into(), &4321.into()));
    assert_eq!((&finding["group"], &finding["age_seconds"]), (&"web.service".into(), &12.0.into()));
    assert_eq!(finding["remedy"][1], "another one");
    assert_eq!((&process["cpu_share"], &process["areas"]), (&().into(), &().into()));
}

fn churn(process: ProcessId, at: Instant) -> Found {
    let finding = Finding {
        id: "mmap-churn".to_owned(),
        severity: Severity::High,
        summary: "48,532 short-lived mappings a second, mostly 2052 KiB, cost 89 % of the target's CPU time"
            .to_owned(),
        evidence: Vec::new(),
        cause: Cause::default(),
        cost: Cost { cpu_seconds_per_second: 0.844, ..Cost::default() },
        remedy: vec![
            "reuse the buffer in mmap_churn::handle_request (mmap_churn+0x88a1d): one of about 2052 KiB \
             for each thread, or a pool of them"
                .to_owned(),
            "another one".to_owned(),
        ],
        predicted_saving: None,
        confidence: 0.95,
    };
    Found { process, comm: "churner".to_owned(), at, findings: vec![finding] }
}

/// A machine on which looks have found this, twelve seconds ago.
fn looked_at(found: &[(&str, u32)], now: Instant) -> MachineSnapshot {
    let mut machine = machine(1.0);
    let at = now.checked_sub(Duration::from_secs(12)).expect("it is up for longer");
    machine.looks.found = found
        .iter()
        .map(|(group, pid)| (Arc::from(*group), churn(ProcessId::new(*pid, 7), at)))
        .collect();
    machine
}

#[test]
fn a_finding_says_what_it_costs_and_what_to_do() {
    let (mut view, now) = (MachineView::default(), Instant::now());
    view.take(looked_at(&[("web.service", 4321)], now), now);
    let lines = drawn(&view);
    let expected = [
        "",
        "mmap-churn (high): 84 % of a CPU; churner (pid 4321) of web.service, 12 s ago",
        "  what  48,532 short-lived mappings a second, mostly 2052 KiB, cost 89 % of the",
        "        target's CPU time",
        "  cure  reuse the buffer in mmap_churn::handle_request (mmap_churn+0x88a1d): one",
        "        of about 2052 KiB for each thread, or a pool of them",
        "  all   alloctrace attach --pid 4321 --duration 30s",
    ];
    assert_eq!(lines[15..22], expected, "{lines:#?}");
    assert!(lines[5].starts_with("web.service "), "the table is there as well: {lines:#?}");
}

#[test]
fn of_more_findings_than_fit_the_worst_are_shown() {
    let (mut view, now) = (MachineView::default(), Instant::now());
    let all = [("a", 1), ("b", 2), ("c", 3), ("d", 4)];
    view.take(looked_at(&all, now), now);
    let lines = drawn(&view);
    let shown = lines.iter().filter(|line| line.starts_with("mmap-churn")).count();
    assert_eq!(shown, 1, "{lines:#?}");
    assert_eq!(lines[21], "and 3 more, which a taller terminal shows", "{lines:#?}");
    assert!(lines[4..8].iter().all(|line| !line.is_empty()), "so is the table: {lines:#?}");
    let whole = text(&view, 80);
    assert_eq!(whole.matches("mmap-churn (high)").count(), 4, "{whole}");
    assert!(!whole.contains("taller"), "{whole}");
    for height in 0..24 {
        screen(&view, 40, height.max(1));
    }
}

#[test]
fn a_look_and_what_it_waits_for_are_said() {
    let now = Instant::now();
    let ago = |seconds| now.checked_sub(Duration::from_secs(seconds)).expect("it is up for longer");
    let load = Load {
        process: ProcessId::new(4321, 7),
        comm: "churner\n".to_owned(),
        group: Arc::from("web.service"),
        cost: 0.84,
        crowding: None,
    };
    let said = |load: &Load, stage| {
        let mut machine = machine(1.0);
        machine.looks.attention = Some(Attention { load: load.clone(), stage });
        let mut view = MachineView::default();
        view.take(machine, now);
        let lines = drawn(&view);
        let from =
            lines.iter().position(|line| line.contains("churner\\n (pid")).expect("it is there");
        lines[from..22].join(" ")
    };
    let waiting = |last| Stage::Waiting { until: now + Duration::from_secs(6), last };
    let failed = LastLook { at: ago(40), failure: Some("its worker was slow".to_owned()) };
    let crowded = Load { crowding: Some(0.9), ..load.clone() };
    for (load, stage, text) in [
        (
            &load,
            Stage::Looking { since: ago(4) },
            "looking closer at churner\\n (pid 4321): 4 s of 10 s",
        ),
        (
            &load,
            Stage::Looking { since: ago(11) },
            "looking closer at churner\\n (pid 4321): finding names for what was seen",
        ),
        (
            &load,
            waiting(None),
            "churner\\n (pid 4321) takes 84 % of a CPU for memory; a closer look begins in about 6 s",
        ),
        (
            &crowded,
            waiting(Some(LastLook { at: ago(40), failure: None })),
            "churner\\n (pid 4321) has 90 % of the areas it may have; the closer look 40 s ago: nothing \
             found; another one in about 6 s",
        ),
        (
            &load,
            waiting(Some(failed)),
            "churner\\n (pid 4321) takes 84 % of a CPU for memory; the closer look 40 s ago: its worker was \
             slow; another one in about 6 s",
        ),
    ] {
        assert_eq!(said(load, stage), text);
    }
}
