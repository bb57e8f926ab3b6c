use ratatui::{Terminal, backend::TestBackend, buffer::Cell};

use super::{super::text, *};
use crate::{
    aggregate::snapshot::{
        Cpu, FaultTotals, ProbeStatus, Resident, SyscallTotals, TargetInfo, Tracer, Window,
    },
    diagnose::{Cause, Cost, Severity},
};

/// A window in which a process cycles a thousand times a second, with six faults each.
fn at(seconds: f64) -> Snapshot {
    let calls = (1000.0 * seconds) as u64;
    let of = |calls, milliseconds| SyscallTotals {
        calls,
        bytes: calls << 21,
        seconds: calls as f64 * milliseconds / 1e3,
        ..SyscallTotals::default()
    };
    let syscalls = [("mmap", of(calls, 0.1)), ("munmap", of(calls, 0.2)), ("brk", of(0, 0.0))];
    Snapshot {
        target: TargetInfo {
            pid: 4321,
            comm: "churn\ner".to_owned(),
            threads: Some(1),
            ..TargetInfo::default()
        },
        window: Window { seconds, ..Window::default() },
        cpu: Cpu { user_seconds: Some(0.0), system_seconds: Some(seconds), ..Cpu::default() },
        syscalls: syscalls.map(|(name, totals)| (name.to_owned(), totals)).into(),
        faults: FaultTotals {
            minor: Some(6 * calls),
            major: Some(0),
            seconds: Some(0.5 * seconds),
            samples: 9,
        },
        resident: Some(Resident { before: 0, after: 3 << 20 }),
        ..Snapshot::default()
    }
}

fn finding(severity: Severity) -> Finding {
    Finding {
        id: "mmap-churn".to_owned(),
        severity,
        summary: "1,000 short-lived mappings a second".to_owned(),
        evidence: Vec::new(),
        cause: Cause::default(),
        cost: Cost { cpu_seconds_per_second: 0.84, ..Cost::default() },
        remedy: vec!["reuse the buffer".to_owned()],
        predicted_saving: None,
        confidence: 0.95,
    }
}

fn drawn(view: &WindowView) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("a terminal");
    terminal.draw(|frame| view.draw(frame.area(), frame.buffer_mut())).expect("drawn");
    let cells = terminal.backend().buffer().content().chunks(80);
    cells
        .map(|row| row.iter().map(Cell::symbol).collect::<String>().trim_end().to_owned())
        .collect()
}

#[test]
fn the_process_in_eighty_columns() {
    let mut view = WindowView::default();
    assert_eq!(drawn(&view)[0], "measuring …");
    view.take(at(1.0), Vec::new());
    view.take(at(2.0), vec![finding(Severity::High)]);
    let lines = drawn(&view);
    let expected = [
        "churn\\ner (pid 4321), 1 thread, 3 MiB resident; traced for 2 s",
        "calls       2.0k                                                            ██",
        "faults      6.0k                                                            ██",
        "bytes   4000 MiB                                                            ██",
        "CPU         100%                                                            ██",
        "",
        "CALL             EACH S FAILED/S    BYTES/S     TIME   SO FAR",
        "mmap               1.0k        0   2000 MiB      10%     2.0k",
        "munmap             1.0k        0   2000 MiB      20%     2.0k",
        "minor faults       6.0k                          50%    12.0k",
        "",
        "mmap-churn (high): 84 % of a CPU",
        "  what  1,000 short-lived mappings a second",
        "  cure  reuse the buffer",
        "",
    ];
    assert_eq!(lines[..15], expected, "{lines:#?}");
    assert!(lines[23].starts_with("q ends and reports"), "{lines:#?}");
}

#[test]
fn what_is_missing_and_that_nothing_is_found_are_said() {
    let mut window = at(1.0);
    window.lost.insert("stack_queue".to_owned(), 7);
    let row = ProbeStatus {
        signal: "faults".to_owned(),
        status: "failed".to_owned(),
        ..ProbeStatus::default()
    };
    window.tracer = Tracer { probes: vec![row], ..Tracer::default() };
    let mut view = WindowView::default();
    view.take(window, vec![finding(Severity::NoGain)]);
    let lines = drawn(&view);
    assert_eq!(lines[22], "lost: stack_queue 7  not measured: faults");
    assert!(lines.contains(&"nothing found so far".to_owned()), "{lines:#?}");
}

#[test]
fn without_a_terminal_it_is_the_same_in_lines() {
    let mut view = WindowView::default();
    assert_eq!((text(&view, 80), view.json()), (String::new(), String::new()));
    view.take(at(1.0), vec![finding(Severity::High); 9]);
    let all = text(&view, 80);
    assert_eq!(all.matches("mmap-churn (high)").count(), 9, "{all}");
    assert!(all.lines().all(|line| line.chars().count() <= 80), "{all}");
}

#[test]
fn json_has_a_line_for_each_reading() {
    let mut view = WindowView::default();
    view.take(at(1.0), Vec::new());
    view.take(at(1.0), Vec::new());
    view.take(at(3.0), vec![finding(Severity::High)]);
    let line = view.json();
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!((&value["elapsed_seconds"], &value["interval_seconds"]), (&3.0.into(), &2.0.into()));
    assert_eq!(value["syscalls"]["mmap"]["calls_per_second"], 1000.0);
    assert_eq!(value["faults"]["minor_per_second"], 6000.0);
    assert_eq!((&value["cpu_share"], &value["resident_bytes"]), (&1.0.into(), &(3 << 20).into()));
    assert_eq!(value["findings"][0]["id"], "mmap-churn");
}
