use std::collections::BTreeMap;

use super::*;
use crate::aggregate::snapshot::{Cpu, Mappings, SizeCycles, Tracer, Window};
use crate::census::address_space::{HoleFigures, SizeHoles};

const SIZE: u64 = 512 << 10;

fn searching(kernel: &str, holes_too_small: u64) -> Snapshot {
    let mmap = SyscallTotals { calls: 10_000, seconds: 2.5, ..SyscallTotals::default() };
    Snapshot {
        tracer: Tracer { kernel: kernel.to_owned(), ..Tracer::default() },
        window: Window { seconds: 10.0, complete: true, ..Window::default() },
        cpu: Cpu { user_seconds: Some(2.0), system_seconds: Some(8.0), ..Cpu::default() },
        syscalls: BTreeMap::from([("mmap".to_owned(), mmap)]),
        mappings: Some(Mappings {
            cycles: 10_000,
            sizes: vec![SizeCycles { bytes: SIZE, cycles: 9_000 }],
            ..Mappings::default()
        }),
        address_space: Some(AddressSpace {
            areas: 9053,
            holes: HoleFigures {
                count: holes_too_small + 1,
                sizes: vec![SizeHoles { bytes: 132 << 10, holes: holes_too_small }],
                ..HoleFigures::default()
            },
            requests: vec![
                RequestFigures { bytes: 4096, holes_too_small: 0 },
                RequestFigures { bytes: SIZE, holes_too_small },
                // The program never asks for so much.
                RequestFigures { bytes: 1 << 40, holes_too_small: holes_too_small + 1 },
            ],
            ..AddressSpace::default()
        }),
        ..Snapshot::default()
    }
}

#[test]
fn it_takes_many_holes_and_a_census() {
    assert_eq!(hole_search(&searching("6.12", 999)), None);
    assert!(hole_search(&searching("6.12", 1000)).is_some());
    assert_eq!(hole_search(&Snapshot::default()), None);
    let none = Snapshot { address_space: Some(AddressSpace::default()), ..Snapshot::default() };
    assert_eq!(hole_search(&none), None);
}

#[test]
fn on_kernels_with_a_tree_there_is_no_gain() {
    for (kernel, words) in [
        (
            "6.12.1-cloud-amd64",
            "Linux 6.12.1-cloud-amd64 walks no holes: it goes down a maple tree",
        ),
        ("5.10.0-28-amd64", "Linux 5.10.0-28-amd64 walks no holes: it goes down a tree"),
        ("", "is not known"),
    ] {
        let found = hole_search(&searching(kernel, 4200)).expect("found");
        assert_eq!(found.severity, Severity::NoGain, "{kernel}");
        assert!(found.summary.starts_with("no gain: 4,200 holes are too small for 512 KiB"));
        assert!(found.summary.contains(words), "{}", found.summary);
        assert!(found.remedy.is_empty() && found.predicted_saving.is_none());
    }
}

#[test]
fn the_evidence_is_what_was_measured() {
    let found = hole_search(&searching("6.12", 4200)).expect("found");
    let evidence = found.evidence.join("\n");
    for words in [
        "from the top down, 4,200 of 4,201 holes are too small for 512 KiB",
        "mapped and unmapped 9,000 times in the window (90 %",
        "an mmap took 250 µs on average (of 10,000)",
        "an upper bound",
    ] {
        assert!(evidence.contains(words), "{words} in\n{evidence}");
    }
    assert_eq!(found.cause.bytes, Some(SIZE));
    assert!(found.cause.text.contains("4,200 holes of 132 KiB"), "{}", found.cause.text);
}

#[test]
fn where_holes_are_walked_the_time_counts() {
    let found = hole_search(&searching("3.2.0-4-amd64", 4200)).expect("found");
    assert_eq!(found.severity, Severity::High);
    assert_eq!(found.cost.share_of_target, Some(0.25));
    assert!(found.evidence.iter().any(|line| line.ends_with("walks from hole to hole")));
    let mut idle = searching("3.2.0-4-amd64", 4200);
    idle.syscalls.clear();
    assert_eq!(hole_search(&idle).expect("found").severity, Severity::NoGain);
}

#[test]
fn hostile_numbers_yield_numbers() {
    for value in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MAX, f64::MIN_POSITIVE] {
        let mut snapshot = searching("6.12", u64::MAX - 1);
        (snapshot.window.seconds, snapshot.cpu.user_seconds) = (value, Some(value));
        if let Some(mmap) = snapshot.syscalls.get_mut("mmap") {
            mmap.seconds = value;
        }
        let text = format!("{:?}", hole_search(&snapshot));
        assert!(!text.contains("NaN") && !text.contains("inf"), "{value}: {text}");
    }
}
