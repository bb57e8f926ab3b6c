use std::collections::BTreeMap;

use super::*;
use crate::aggregate::snapshot::{
    Cpu, Frame, Mappings, SizeCycles, StackTotals, SyscallTotals, Tracer, Window,
};
use crate::census::address_space::{Growth, Kind, KindFigures, SizeAreas, Unmerged};

fn space(areas: u64, before: u64, seconds: f64) -> AddressSpace {
    AddressSpace {
        areas,
        limit: Some(65_530),
        kinds: vec![
            KindFigures { kind: Kind::Anonymous, areas: areas - 30, bytes: 3 << 30 },
            KindFigures { kind: Kind::File, areas: 30, bytes: 3 << 20 },
        ],
        sizes: vec![
            SizeAreas { bytes: 516 << 10, areas: areas / 3 },
            SizeAreas { bytes: 1032 << 10, areas: areas / 12 },
        ],
        unmerged: Unmerged {
            gap: areas / 2,
            protection: areas - 1 - areas / 2,
            ..Unmerged::default()
        },
        growth: Some(Growth { areas_before: before, seconds }),
        ..AddressSpace::default()
    }
}

fn frame(symbol: &str, module: &str) -> Frame {
    let (symbol, module) = (Some(symbol.to_owned()), Some(module.to_owned()));
    Frame { symbol, module, offset: 0x12, ..Frame::default() }
}

fn snapshot(space: AddressSpace) -> Snapshot {
    let mmap = SyscallTotals {
        calls: 1000,
        seconds: 0.5,
        errnos: BTreeMap::from([(12, 3)]),
        ..SyscallTotals::default()
    };
    Snapshot {
        tracer: Tracer { kernel: "6.12.1".to_owned(), ..Tracer::default() },
        window: Window { seconds: 10.0, complete: true, ..Window::default() },
        cpu: Cpu { user_seconds: Some(4.0), system_seconds: Some(1.0), ..Cpu::default() },
        syscalls: BTreeMap::from([("mmap".to_owned(), mmap)]),
        stacks: vec![StackTotals {
            kind: "mmap".to_owned(),
            frames: vec![frame("mmap", "/lib/libc.so.6"), frame("take", "/opt/server")],
            count: 10,
            ..StackTotals::default()
        }],
        address_space: Some(space),
        ..Snapshot::default()
    }
}

fn found(areas: u64, before: u64, seconds: f64) -> Option<Finding> {
    vma_explosion(&snapshot(space(areas, before, seconds)))
}

fn severity(areas: u64, before: u64) -> Option<Severity> {
    found(areas, before, 10.0).map(|finding| finding.severity)
}

#[test]
fn nearness_to_the_limit_decides() {
    for (areas, expected) in [
        (400, None),
        (4_999, None),
        (5_000, Some(Severity::NoGain)),
        (9_053, Some(Severity::NoGain)),
        (16_400, Some(Severity::Low)),
        (32_800, Some(Severity::Medium)),
        (52_500, Some(Severity::High)),
        (64_000, Some(Severity::High)),
        (65_531, Some(Severity::High)),
    ] {
        assert_eq!(severity(areas, areas), expected, "{areas}");
    }
}

#[test]
fn so_does_the_time_that_is_left() {
    // 55,530 areas are left.
    for (before, expected) in [
        (9_999, Severity::NoGain),
        // 100 in ten seconds: nine minutes would take a hundred a second.
        (9_900, Severity::Medium),
        (9_000, Severity::High),
        // It shrinks.
        (11_000, Severity::NoGain),
    ] {
        assert_eq!(severity(10_000, before), Some(expected), "{before}");
    }
    assert_eq!(severity(2_000, 100), None, "every program begins like this");
    let slow = found(10_000, 9_000, 10_000.0).expect("found");
    assert_eq!(slow.severity, Severity::Low);
    assert!(slow.summary.ends_with("and growing: in 6 days mmap fails with ENOMEM"));
    let slower = found(10_000, 9_900, 10_000.0).expect("found");
    assert_eq!(slower.severity, Severity::NoGain, "64 days are far away");
}

#[test]
fn a_process_at_its_limit_is_announced() {
    let finding = found(64_000, 63_000, 10.0).expect("found");
    assert_eq!((finding.id.as_str(), finding.severity), ("vma-explosion", Severity::High));
    let expected = "64,000 of 65,530 areas (98 %), and growing: in 15.3 s mmap fails with ENOMEM";
    assert_eq!(finding.summary, expected);
    let evidence = finding.evidence.join("\n");
    for words in [
        "64,000 areas at the end of the window; vm.max_map_count allows 65,530",
        "63,000 areas 10.0 s earlier: 100 more each second",
        "21,333 × 516 KiB, 5,333 × 1032 KiB",
        "anonymous 63,970, file 30",
        "gap 32,000, protection 31,999",
        "3 memory calls failed with ENOMEM",
        "Linux 6.12.1 keeps areas in a maple tree",
    ] {
        assert!(evidence.contains(words), "{words} in\n{evidence}");
    }
    assert!(finding.remedy[0].starts_with("sysctl -w vm.max_map_count=131072 "));
    let cause = &finding.cause;
    assert_eq!(cause.bytes, Some(516 << 10));
    assert!(cause.text.contains("from take (server+0x12)"), "{}", cause.text);
    assert_eq!(cause.stack.len(), 2);
    assert_eq!(finding.cost.cpu_seconds_per_second, 0.05);
    assert_eq!(finding.cost.share_of_target, Some(0.1));
    assert!((finding.confidence - 0.95).abs() < 1e-9);
}

#[test]
fn many_and_steady_is_no_gain() {
    let finding = found(9_053, 9_053, 10.0).expect("found");
    assert!(finding.summary.starts_with("no gain: 9,053 areas are many, but 14 %"));
    assert!(finding.remedy.is_empty());
}

#[test]
fn the_remedy_follows_kind_and_caller() {
    let remedies = |change: &dyn Fn(&mut Snapshot, &mut AddressSpace)| {
        let mut snapshot = snapshot(space(40_000, 40_000, 10.0));
        let mut space = snapshot.address_space.take().unwrap_or_default();
        change(&mut snapshot, &mut space);
        snapshot.address_space = Some(space);
        vma_explosion(&snapshot).expect("found").remedy.join("\n")
    };
    let direct = remedies(&|_, _| ());
    assert!(direct.starts_with("cut the blocks of 516 KiB from one mapping in take (server"));
    assert!(direct.contains("MADV_GUARD_INSTALL") && direct.contains("MADV_DONTNEED"));
    assert!(direct.contains("\nsysctl -w vm.max_map_count=131072 is a stop-gap"), "{direct}");
    let glibc = remedies(&|snapshot, _| {
        snapshot.stacks[0].frames.insert(1, frame("sysmalloc", "/lib/libc.so.6"));
    });
    let settings = "MALLOC_TRIM_THRESHOLD_=4194304 MALLOC_MMAP_THRESHOLD_=2097152";
    assert!(glibc.contains(settings), "{glibc}");
    for (kind, words) in [
        (Kind::Arena, "MALLOC_ARENA_MAX=2); 19,985 heaps"),
        (Kind::Stack, "fewer threads, in a pool: 19,985 stacks"),
        (Kind::File, "map whole files"),
    ] {
        let text = remedies(&|_, space| space.kinds[0].kind = kind);
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn a_coming_failure_outranks_lost_time() {
    let mut snapshot = snapshot(space(64_000, 63_000, 10.0));
    let searching =
        crate::census::address_space::RequestFigures { bytes: 1, holes_too_small: 9999 };
    if let Some(space) = &mut snapshot.address_space {
        space.requests = vec![searching];
    }
    let sizes = vec![SizeCycles { bytes: searching.bytes, cycles: 1 }];
    snapshot.mappings = Some(Mappings { sizes, ..Mappings::default() });
    snapshot.tracer.kernel = "3.2".to_owned();
    snapshot.cpu = Cpu { user_seconds: Some(0.5), system_seconds: Some(0.5), ..Cpu::default() };
    let found = crate::diagnose::all(&snapshot);
    let order: Vec<_> = found.iter().map(|one| (one.id.as_str(), one.severity)).collect();
    assert_eq!(order, [("vma-explosion", Severity::High), ("hole-search", Severity::High)]);
}

#[test]
fn doubts_lower_the_confidence() {
    let full = found(64_000, 63_000, 1.0).expect("found");
    assert!((full.confidence - 0.95).abs() < 1e-9, "it is near the limit, growth or not");
    let short = found(10_000, 9_000, 1.0).expect("found");
    assert!((short.confidence - 0.95 * 0.7).abs() < 1e-9);
    let mut unknown = snapshot(space(64_000, 64_000, 10.0));
    unknown.stacks.clear();
    let finding = vma_explosion(&unknown).expect("found");
    assert!((finding.confidence - 0.95 * 0.9).abs() < 1e-9);
    assert!(finding.cause.stack.is_empty());
}

#[test]
fn without_a_census_or_a_limit_nothing_is_said() {
    assert_eq!(vma_explosion(&Snapshot::default()), None);
    let unlimited = AddressSpace { limit: None, ..space(64_000, 64_000, 10.0) };
    assert_eq!(vma_explosion(&snapshot(unlimited)), None);
    let low = AddressSpace { limit: Some(1_000), ..space(250, 250, 10.0) };
    assert_eq!(vma_explosion(&snapshot(low)).map(|found| found.severity), Some(Severity::Low));
}

#[test]
fn hostile_numbers_yield_numbers() {
    for value in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MAX, f64::MIN_POSITIVE] {
        for areas in [5_000, u64::MAX / 8] {
            let mut snapshot = snapshot(space(areas, 0, value));
            (snapshot.window.seconds, snapshot.cpu.user_seconds) = (value, Some(value));
            if let Some(mmap) = snapshot.syscalls.get_mut("mmap") {
                (mmap.seconds, mmap.errnos) = (value, BTreeMap::from([(12, u64::MAX)]));
            }
            let text = format!(
                "{:?}",
                vma_explosion(&snapshot).map(|one| (
                    one.summary,
                    one.evidence,
                    one.remedy,
                    one.cost,
                    one.confidence
                ))
            );
            assert!(!text.contains("NaN") && !text.contains("inf"), "{value}: {text}");
        }
    }
}
