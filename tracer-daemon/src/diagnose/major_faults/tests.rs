use super::*;
use crate::aggregate::snapshot::{Cpu, FaultTotals, Frame, StackTotals, Window};

/// 2,000 a second for ten seconds, four of which are waited for.
fn reading() -> Snapshot {
    let frame = |symbol: &str| Frame {
        symbol: Some(symbol.to_owned()),
        module: Some("/opt/db".to_owned()),
        ..Frame::default()
    };
    let row = |name: &str, share| LookupMapping { name: name.to_owned(), areas: 1, share };
    Snapshot {
        window: Window { seconds: 10.0, complete: true, ..Window::default() },
        cpu: Cpu { user_seconds: Some(0.5), system_seconds: Some(0.5), ..Cpu::default() },
        faults: FaultTotals { major: Some(20_000), ..FaultTotals::default() },
        major_faults: Some(MajorFaults {
            samples: 20_000,
            mappings: vec![row("index.db", 0.9), row("libc.so.6", 0.1)],
            waited_seconds: Some(4.0),
            waits_seen: (200, 400),
        }),
        stacks: vec![StackTotals {
            kind: MAJOR_FAULT.to_owned(),
            frames: vec![frame("find_key"), frame("serve")],
            count: 20_000,
            ..StackTotals::default()
        }],
        ..Snapshot::default()
    }
}

fn changed(change: impl FnOnce(&mut Snapshot, &mut MajorFaults)) -> Option<Finding> {
    let mut snapshot = reading();
    let mut faults = snapshot.major_faults.take().expect("there are some");
    change(&mut snapshot, &mut faults);
    major_faults(&Snapshot { major_faults: Some(faults), ..snapshot })
}

#[test]
fn a_mapped_file_keeps_threads_waiting() {
    let finding = major_faults(&reading()).expect("found");
    assert_eq!(finding.severity, Severity::High);
    assert!(finding.summary.contains("2,000 major faults a second, mostly in index.db"));
    assert!(finding.summary.contains("80 %"), "{}", finding.summary);
    assert!(finding.cause.text.contains("100 % of the faults come from find_key (db"));
    assert!(finding.remedy[0].contains("MADV_WILLNEED") && finding.confidence > 0.9);
    assert!(finding.evidence.iter().any(|line| line.contains("200 µs for each fault")));
    let saving = finding.predicted_saving.expect("predicted");
    assert!((saving.waited_seconds_per_second - 0.4).abs() < 1e-9, "{saving:?}");
    assert_eq!(finding.cost.waited_seconds_per_second, saving.waited_seconds_per_second);
}

#[test]
fn memory_that_was_swapped_out_has_another_cure() {
    for name in ["[heap]", "anon 2 MiB", "arena of malloc"] {
        let finding = changed(|_, faults| faults.mappings[0].name = name.to_owned());
        let finding = finding.expect("found");
        assert!(finding.cause.text.contains("swapped out"), "{}", finding.cause.text);
        assert!(finding.remedy.iter().any(|line| line.contains("vm.swappiness")));
    }
}

#[test]
fn a_start_is_no_finding() {
    assert_eq!(changed(|snapshot, _| snapshot.faults.major = Some(99)), None);
    assert_eq!(changed(|snapshot, _| snapshot.window.seconds = 3000.0), None);
    assert_eq!(changed(|snapshot, _| snapshot.faults.major = None), None);
    assert_eq!(major_faults(&Snapshot::default()), None);
}

#[test]
fn waits_that_are_short_are_no_gain() {
    let finding = changed(|_, faults| faults.waited_seconds = Some(0.01)).expect("found");
    assert_eq!(finding.severity, Severity::NoGain);
    assert!(finding.remedy.is_empty() && finding.predicted_saving.is_none());
}

#[test]
fn unknown_waiting_is_not_predicted() {
    let finding = changed(|_, faults| faults.waited_seconds = None).expect("found");
    assert!(finding.predicted_saving.is_none() && finding.confidence < 0.6);
    assert!(finding.evidence.iter().any(|line| line.contains("unknown")));
}
