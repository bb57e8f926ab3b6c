use std::collections::BTreeMap;

use super::*;
use crate::aggregate::snapshot::{
    Cpu, FaultShare, FaultTotals, Frame, LookupMapping, SyscallTotals, Window,
};

fn stack(kind: &str, place: Option<&str>, frames: &[(&str, &str)]) -> StackTotals {
    let frame = |(symbol, module): &(&str, &str)| Frame {
        symbol: Some((*symbol).to_owned()),
        module: Some((*module).to_owned()),
        ..Frame::default()
    };
    StackTotals {
        kind: kind.to_owned(),
        place: place.map(str::to_owned),
        frames: frames.iter().map(frame).collect(),
        count: 100,
        ..StackTotals::default()
    }
}

/// 10,000 faults a second for ten seconds, nine of ten after 5,000 calls of madvise.
fn storming(cause: FaultCause) -> Snapshot {
    let madvise = SyscallTotals {
        calls: 5_000,
        bytes: 5_000 << 20,
        seconds: 0.2,
        ..SyscallTotals::default()
    };
    Snapshot {
        window: Window { seconds: 10.0, complete: true, ..Window::default() },
        cpu: Cpu { user_seconds: Some(2.0), system_seconds: Some(2.0), ..Cpu::default() },
        faults: FaultTotals {
            minor: Some(100_000),
            major: Some(0),
            seconds: Some(1.0),
            samples: 1000,
        },
        syscalls: BTreeMap::from([("madvise".to_owned(), madvise)]),
        refaults: vec![Refaults {
            cause,
            faults: FaultShare { share: Some(0.9), samples: (900, 1000) },
            mappings: vec![LookupMapping { name: "anon 2 MiB".to_owned(), areas: 1, share: 1.0 }],
        }],
        stacks: vec![
            stack("fault", Some(cause.name()), &[("render", "/opt/server")]),
            stack("fault", Some("new"), &[("start", "/opt/server")]),
            stack("madvise", None, &[("madvise", "/l/libc.so.6"), ("release", "/opt/server")]),
        ],
        ..Snapshot::default()
    }
}

fn changed(change: impl FnOnce(&mut Snapshot)) -> Option<Finding> {
    let mut snapshot = storming(FaultCause::Advised);
    change(&mut snapshot);
    fault_storm(&snapshot)
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[test]
fn memory_given_back_and_touched_again_is_found_with_its_cost() {
    let found = changed(|_| ()).expect("the pattern is there");
    assert_eq!((found.id.as_str(), found.severity), (ID, Severity::High));
    assert!(near(found.cost.cpu_seconds_per_second, 0.11), "{:?}", found.cost);
    let saving = found.predicted_saving.expect("gain");
    assert!(near(saving.cpu_seconds_per_cycle, 1.1 / 5_000.0));
    let text = format!("{} {}", found.cause.text, found.evidence.join("\n"));
    for phrase in [
        "anon 2 MiB: madvise gives pages back (the program, called by release (server+0x0))",
        "touched again by render (server+0x0)",
        "90,000 faults, 90 % of all",
        "5,000 madvise calls, of 1 MiB on average, with 18.0 faults after each",
        "100 % of them are touched by render",
    ] {
        assert!(text.contains(phrase), "{phrase} in\n{text}");
    }
    assert!(found.remedy[0].contains("keep the 1 MiB") && found.remedy[0].contains("release"));
    assert_eq!(found.cause.bytes, Some(1 << 20));
}

#[test]
fn first_touches_and_what_others_explain_are_no_storm() {
    for cause in [FaultCause::New, FaultCause::Trimmed] {
        assert_eq!(fault_storm(&storming(cause)), None);
    }
    assert_eq!(changed(|snapshot| snapshot.refaults.clear()), None);
    assert_eq!(changed(|snapshot| snapshot.faults.minor = Some(11_000)), None);
    assert_eq!(changed(|snapshot| snapshot.refaults[0].faults.samples.0 = 29), None);
    assert_eq!(fault_storm(&Snapshot::default()), None);
}

#[test]
fn the_reason_decides_the_remedy() {
    let forked = fault_storm(&storming(FaultCause::Forked)).expect("a storm");
    assert!(forked.remedy[0].contains("posix_spawn"), "{:?}", forked.remedy);
    assert!(forked.remedy[1].contains("anon 2 MiB: madvise(MADV_DONTFORK)"), "{:?}", forked.remedy);
    assert!(near(forked.cost.cpu_seconds_per_second, 0.09), "madvise has no part in it");
    let repeated = fault_storm(&storming(FaultCause::Repeated)).expect("a storm");
    assert!(repeated.predicted_saving.is_none() && repeated.confidence < 0.6);
    let by = |frames: &[(&str, &str)]| {
        changed(|snapshot| snapshot.stacks = vec![stack("madvise", None, frames)])
            .map_or(String::new(), |found| found.remedy.join("\n"))
    };
    let glibc = by(&[("madvise", "/l/libc.so.6"), ("cfree", "/l/libc.so.6"), ("f", "/a")]);
    assert!(glibc.contains("MALLOC_TRIM_THRESHOLD_=2097152"), "{glibc}");
    let jemalloc = by(&[("madvise", "/l/libc.so.6"), ("pages_purge", "/l/libjemalloc.so.2")]);
    assert!(jemalloc.contains("dirty_decay_ms"), "{jemalloc}");
}

#[test]
fn a_cheap_storm_is_no_gain() {
    let found = changed(|snapshot| snapshot.cpu.user_seconds = Some(100.0)).expect("a storm");
    assert_eq!((found.severity, found.predicted_saving), (Severity::NoGain, None));
    assert!(found.summary.starts_with("no gain: "), "{}", found.summary);
}

#[test]
fn hostile_numbers_yield_numbers() {
    for value in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MAX, f64::MIN_POSITIVE] {
        let found = changed(|snapshot| {
            snapshot.cpu.system_seconds = Some(value);
            snapshot.faults.seconds = Some(value);
            snapshot.faults.minor = Some(u64::MAX);
            snapshot.window.seconds = value;
        });
        let text = format!("{found:?}");
        assert!(!text.contains("NaN") && !text.contains("inf"), "{value}: {text}");
    }
}
