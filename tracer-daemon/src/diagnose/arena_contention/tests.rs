use super::*;
use crate::aggregate::snapshot::{Cpu, Frame, TargetInfo, Window};

const LIBC: &str = "/l/libc.so.6";

fn stack(frames: &[(Option<&str>, &str)], count: u64, seconds: f64) -> StackTotals {
    let frame = |&(symbol, module): &(Option<&str>, &str)| Frame {
        symbol: symbol.map(str::to_owned),
        module: Some(module.to_owned()),
        ..Frame::default()
    };
    StackTotals {
        kind: FUTEX.to_owned(),
        frames: frames.iter().map(frame).collect(),
        count,
        seconds: Some(seconds),
        ..StackTotals::default()
    }
}

/// Two seconds of ten are waited for in the allocator, and a hundred for work.
fn contended() -> Snapshot {
    let work = [(Some("pthread_cond_wait"), LIBC), (Some("next_job"), "/bin/app")];
    let free = [(None, LIBC), (Some("free"), LIBC), (Some("drop_job"), "/bin/app")];
    Snapshot {
        window: Window { seconds: 10.0, complete: true, ..Window::default() },
        target: TargetInfo {
            allocator: Some("glibc 2.36".to_owned()),
            threads: Some(8),
            ..TargetInfo::default()
        },
        cpu: Cpu {
            user_seconds: Some(6.0),
            system_seconds: Some(2.0),
            voluntary_switches: Some(60_000),
            ..Cpu::default()
        },
        futex_waits: Some(FutexTotals { waits: 60_000, seconds: 102.0 }),
        stacks: vec![stack(&work, 10_000, 100.0), stack(&free, 50_000, 2.0)],
        ..Snapshot::default()
    }
}

fn changed(change: impl FnOnce(&mut Snapshot)) -> Option<Finding> {
    let mut snapshot = contended();
    change(&mut snapshot);
    arena_contention(&snapshot)
}

#[test]
fn waits_below_free_are_the_allocators() {
    let finding = arena_contention(&contended()).expect("found");
    assert_eq!(finding.severity, Severity::High);
    assert_eq!(
        finding.summary,
        "5,000 waits a second for locks of glibc 2.36 take 20 % of the target's time"
    );
    assert!(finding.cause.text.contains("100 % of the waits come from drop_job"));
    assert!(finding.remedy[0].contains("glibc.malloc.arena_max=8"), "{:?}", finding.remedy);
    let saving = finding.predicted_saving.expect("predicted").waited_seconds_per_second;
    assert!((saving - 0.2).abs() < 1e-9);
}

#[test]
fn waits_for_work_are_none_of_its_business() {
    assert_eq!(changed(|snapshot| snapshot.stacks.truncate(1)), None);
    assert_eq!(changed(|snapshot| snapshot.futex_waits = None), None);
    assert_eq!(changed(|snapshot| snapshot.stacks[1].count = 99), None);
    assert_eq!(changed(|snapshot| snapshot.window.seconds = 10_000.0), None);
}

#[test]
fn short_waits_are_no_gain() {
    let finding = changed(|snapshot| snapshot.stacks[1].seconds = Some(0.01)).expect("found");
    assert_eq!(finding.severity, Severity::NoGain);
    assert!(finding.remedy.is_empty() && finding.predicted_saving.is_none());
}
