use super::*;
use crate::aggregate::snapshot::{Cpu, FaultShare, FaultTotals, TargetInfo, Window};

const LIBC: &str = "/usr/lib/libc.so.6";

/// From the innermost outwards: symbol and module.
fn stack(frames: &[(Option<&str>, &str)]) -> StackTotals {
    let frame = |(symbol, module): &(Option<&str>, &str)| Frame {
        symbol: symbol.map(str::to_owned),
        module: Some((*module).to_owned()),
        offset: 0x1234,
        ..Frame::default()
    };
    let frames = frames.iter().map(frame).collect();
    StackTotals { kind: "brk".to_owned(), frames, count: 100, ..StackTotals::default() }
}

fn through_malloc() -> StackTotals {
    let wrappers = [(Some("brk"), LIBC), (Some("sbrk"), LIBC), (None, LIBC)];
    stack(&[&wrappers[..], &[(Some("handle_request"), "/opt/server")]].concat())
}

/// 1,000 cycles a second for ten seconds: 0.5 s down, 0.3 s up, 1.2 s in faults.
fn trimming() -> Snapshot {
    Snapshot {
        target: TargetInfo { allocator: Some("glibc 2.36".to_owned()), ..TargetInfo::default() },
        window: Window { seconds: 10.0, complete: true, ..Window::default() },
        cpu: Cpu { user_seconds: Some(2.0), system_seconds: Some(3.0), ..Cpu::default() },
        faults: FaultTotals {
            minor: Some(200_000),
            major: Some(0),
            seconds: Some(1.5),
            samples: 1000,
        },
        heap_trims: Some(HeapTrims {
            cycles: 10_000,
            bytes: 10_000 << 20,
            deepest_bytes: 1 << 20,
            calls: 120_000,
            fall_seconds: 0.5,
            rise_seconds: 0.3,
            faults: FaultShare { share: Some(0.8), samples: (800, 1000) },
        }),
        stacks: vec![through_malloc()],
        ..Snapshot::default()
    }
}

fn changed(change: impl FnOnce(&mut Snapshot, &mut HeapTrims)) -> Option<Finding> {
    let mut snapshot = trimming();
    let mut trims = snapshot.heap_trims.take().unwrap_or_default();
    change(&mut snapshot, &mut trims);
    snapshot.heap_trims = Some(trims);
    heap_trim_churn(&snapshot)
}

fn finding(change: impl FnOnce(&mut Snapshot, &mut HeapTrims)) -> Finding {
    changed(change).expect("the pattern is there")
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[test]
fn a_trimming_server_is_found_with_its_cost() {
    let found = finding(|_, _| ());
    assert_eq!((found.id.as_str(), found.severity), (ID, Severity::High));
    assert!(near(found.cost.cpu_seconds_per_second, 0.2), "{:?}", found.cost);
    assert!(near(found.cost.share_of_target.expect("known"), 0.4));
    let saving = found.predicted_saving.expect("gain");
    assert!(near(saving.cpu_seconds_per_second, 0.2));
    assert!(near(saving.cpu_seconds_per_cycle, 2e-4));
    assert!(saving.low > 0.16 && saving.low < 0.19 && saving.high > 0.21 && saving.high < 0.24);
    let evidence = found.evidence.join("\n");
    for phrase in [
        "10,000 times: 1,000/s",
        "1 MiB taken again each time, with 12.0 brk calls",
        "16.0 minor faults",
        "200 µs (brk down 50.0 µs, brk up 30.0 µs, faults 120 µs)",
        "100 % of the sampled brk calls",
        "allocator: glibc 2.36",
    ] {
        assert!(evidence.contains(phrase), "{phrase} in\n{evidence}");
    }
    assert!(found.cause.text.contains("called by handle_request (server+0x1234)"));
    assert_eq!(found.cause.bytes, Some(1 << 20));
    assert!(near(found.confidence, 0.95));
}

#[test]
fn the_pattern_needs_rate_number_and_cycles() {
    assert_eq!(changed(|_, trims| trims.cycles = 199), None);
    assert_eq!(changed(|s, trims| (s.window.seconds, trims.cycles) = (0.1, 49)), None);
    assert!(changed(|s, trims| (s.window.seconds, trims.cycles) = (0.1, 50)).is_some());
    assert_eq!(heap_trim_churn(&Snapshot { heap_trims: None, ..trimming() }), None);
    assert_eq!(heap_trim_churn(&Snapshot::default()), None);
}

#[test]
fn a_cheap_churn_is_no_gain() {
    let found = finding(|snapshot, _| snapshot.cpu.user_seconds = Some(100.0));
    assert_eq!((found.severity, found.predicted_saving), (Severity::NoGain, None));
    assert!(found.summary.starts_with("no gain: the heap is trimmed"), "{}", found.summary);
    assert!(found.remedy.is_empty());
}

#[test]
fn who_moves_the_break_decides_the_remedy() {
    let remedies = |stacks: Vec<StackTotals>, allocator: Option<&str>| {
        let found = finding(|snapshot, _| {
            snapshot.stacks = stacks;
            snapshot.target.allocator = allocator.map(str::to_owned);
        });
        (found.remedy.join("\n"), found.confidence)
    };
    let by_malloc = || vec![through_malloc()];
    let settings = "MALLOC_TRIM_THRESHOLD_=2097152 MALLOC_MMAP_THRESHOLD_=1048576 ";
    for (stacks, allocator) in
        [(by_malloc(), Some("glibc 2.36")), (by_malloc(), None), (Vec::new(), Some("glibc"))]
    {
        let (text, _) = remedies(stacks, allocator);
        assert!(text.contains(settings), "{text}");
        assert!(text.starts_with("mallopt(M_TRIM_THRESHOLD, 2097152) together"), "{text}");
        assert!(text.contains("M_TOP_PAD"));
    }
    let by_hand = stack(&[(Some("brk"), LIBC), (Some("malloc_trim"), LIBC), (Some("f"), "/a")]);
    let program = stack(&[(Some("sbrk"), LIBC), (Some("render"), "/opt/server")]);
    for (stacks, allocator) in [
        (by_malloc(), Some("jemalloc 5.3.0")),
        (Vec::new(), Some("musl")),
        (vec![program], Some("glibc 2.36")),
        (vec![through_malloc(), by_hand], Some("glibc 2.36")),
    ] {
        let (text, _) = remedies(stacks, allocator);
        assert!(text.contains("sbrk") && !text.contains("glibc"), "{text}");
    }
    let (text, confidence) = remedies(Vec::new(), None);
    assert!(text.contains("if glibc's malloc moves the break:") && confidence < 0.7);
}

#[test]
fn the_values_hold_what_was_seen_and_are_ones_that_glibc_takes() {
    for (deepest, values) in [
        (4096, "TRIM_THRESHOLD_=1048576 MALLOC_MMAP_THRESHOLD_=524288 "),
        (100 << 20, "TRIM_THRESHOLD_=209715200 MALLOC_MMAP_THRESHOLD_=33554432 "),
        (u64::MAX, "TRIM_THRESHOLD_=2146435072 MALLOC_MMAP_THRESHOLD_=33554432 "),
    ] {
        let found = finding(|_, trims| trims.deepest_bytes = deepest);
        assert!(found.remedy.join("\n").contains(values), "{:?}", found.remedy);
    }
}

#[test]
fn hostile_numbers_yield_numbers() {
    for value in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MAX, f64::MIN_POSITIVE] {
        let found = changed(|snapshot, trims| {
            snapshot.cpu.system_seconds = Some(value);
            snapshot.faults.seconds = Some(value);
            (trims.fall_seconds, trims.faults.share) = (value, Some(value));
            (trims.bytes, trims.calls) = (u64::MAX, u64::MAX);
        });
        let text = format!("{found:?}");
        assert!(!text.contains("NaN") && !text.contains("inf"), "{value}: {text}");
    }
}
