use super::*;
use crate::aggregate::{
    allocation_rate::CallRate,
    allocations::{FunctionTotals, SizeCalls},
    snapshot::{BlockTotals, FollowedBlocks, Overhead, TargetInfo, Window},
};

const ONE: ProcessId = ProcessId::new(1, 10);
const TWO: ProcessId = ProcessId::new(2, 20);

fn outstanding(blocks: u64, bytes: u64) -> Option<FollowedBlocks> {
    let totals =
        BlockTotals { outstanding: Some(BlockSum { blocks, bytes }), ..Default::default() };
    Some(FollowedBlocks { totals, ..FollowedBlocks::default() })
}

fn exact() -> Allocations {
    let malloc = FunctionTotals { calls: 30, failures: Some(2), bytes: Some(3000) };
    let free = FunctionTotals { calls: 10, failures: None, bytes: None };
    Allocations {
        functions: BTreeMap::from([("malloc".to_owned(), malloc), ("free".to_owned(), free)]),
        sizes: vec![SizeCalls { bytes: 128, calls: 30 }],
        duty: 1.0,
        blocks: outstanding(3, 300),
        ..Allocations::default()
    }
}

fn sampled(rate: Option<CallRate>) -> Allocations {
    Allocations { sampled: true, duty: 0.1, calls_per_second: rate, blocks: None, ..exact() }
}

fn window(allocations: Allocations) -> Snapshot {
    Snapshot {
        target: TargetInfo {
            allocator: Some("glibc 2.36 (libc.so.6)".to_owned()),
            ..TargetInfo::default()
        },
        window: Window { seconds: 10.0, complete: true, ..Window::default() },
        overhead: Some(Overhead { seconds: 0.25, share_of_target: None }),
        allocations: Some(allocations),
        ..Snapshot::default()
    }
}

#[test]
fn exact_windows_add_up() {
    let mut windows = AllocatorWindows::default();
    windows.add(ONE, "web", &window(exact()));
    windows.add(ONE, "web", &window(exact()));
    let groups = windows.groups();
    let web = &groups["web"];
    let malloc = FunctionSums { calls: 60, bytes: Some(6000), failures: Some(4) };
    assert_eq!(web.functions["malloc"], malloc);
    assert_eq!(web.functions["free"], FunctionSums { calls: 20, bytes: None, failures: None });
    assert_eq!(web.sizes, BTreeMap::from([(7, 60)]));
    assert_eq!((web.windows, web.failed, web.seconds), (2, 0, 20.0));
    assert_eq!((web.counted_seconds, web.tracing_seconds), (20.0, 0.5));
    assert_eq!(web.outstanding, Some(BlockSum { blocks: 3, bytes: 300 }), "of the last window");
    let glibc = ("glibc".to_owned(), "2.36".to_owned());
    assert_eq!(web.allocators, BTreeMap::from([(glibc, 1)]));
}

#[test]
fn where_calls_were_sampled_the_estimate_grows() {
    let rate = CallRate { estimate: Some(40.0), low: 20.0, high: Some(80.0) };
    let only_low = CallRate { estimate: None, low: 8.0, high: None };
    let less = CallRate { estimate: Some(1.0), low: 1.0, high: None };
    // 40 calls were counted in 10 s.
    for (rate, malloc, bytes) in [
        (Some(rate), 300, 30_000),
        (Some(only_low), 60, 6000),
        (Some(less), 30, 3000),
        (None, 30, 3000),
    ] {
        let mut windows = AllocatorWindows::default();
        windows.add(ONE, "web", &window(sampled(rate)));
        let web = &windows.groups()["web"];
        let sums = web.functions["malloc"];
        assert_eq!((sums.calls, sums.bytes), (malloc, Some(bytes)), "{rate:?}");
        assert_eq!(web.sizes[&7], malloc);
        assert_eq!((web.seconds, web.counted_seconds, web.outstanding), (10.0, 1.0, None));
    }
}

#[test]
fn a_window_without_calls_has_nothing_to_scale() {
    let mut windows = AllocatorWindows::default();
    let rate = CallRate { estimate: Some(f64::NAN), low: 0.0, high: None };
    let none = Allocations { functions: BTreeMap::new(), ..sampled(Some(rate)) };
    windows.add(ONE, "web", &window(none));
    assert!(windows.groups()["web"].functions.is_empty());
}

#[test]
fn what_belongs_to_living_processes_goes_with_them() {
    let mut windows = AllocatorWindows::default();
    windows.add(ONE, "web", &window(exact()));
    windows.add(TWO, "web", &window(Allocations { blocks: outstanding(1, 50), ..exact() }));
    windows.living([(ONE, "web"), (TWO, "web"), (ProcessId::new(3, 30), "db")].into_iter());
    let groups = windows.groups();
    assert_eq!(groups["web"].outstanding, Some(BlockSum { blocks: 4, bytes: 350 }));
    assert_eq!((groups["web"].targets, groups["db"].targets), (2, 1));
    windows.living([(TWO, "web")].into_iter());
    let groups = windows.groups();
    assert_eq!(groups["web"].outstanding, Some(BlockSum { blocks: 1, bytes: 50 }));
    assert_eq!(groups["web"].functions["malloc"].calls, 60, "counters stay");
    windows.living(std::iter::empty());
    let groups = windows.groups();
    assert!(groups["web"].outstanding.is_none() && groups["web"].allocators.is_empty());
    assert_eq!((groups["web"].targets, groups["web"].windows), (0, 2));
}

#[test]
fn failures_count_and_groups_have_an_end() {
    let mut windows = AllocatorWindows::default();
    for number in 0..MOST_GROUPS + 5 {
        windows.failed(&number.to_string());
    }
    let groups = windows.groups();
    assert_eq!(groups.len(), MOST_GROUPS + 1);
    assert_eq!((groups["7"].failed, groups[OTHER].failed), (1, 5));
}

#[test]
fn anything_can_be_in_a_window() {
    let functions = BTreeMap::from([
        ("of\ntomorrow".to_owned(), FunctionTotals { calls: u64::MAX, ..Default::default() }),
        ("malloc".to_owned(), FunctionTotals { calls: u64::MAX, failures: None, bytes: Some(1) }),
    ]);
    let sizes = vec![SizeCalls { bytes: 3, calls: 1 }, SizeCalls { bytes: 0, calls: 1 }];
    let mut windows = AllocatorWindows::default();
    for _ in 0..2 {
        let odd = Allocations { functions: functions.clone(), sizes: sizes.clone(), ..exact() };
        windows.add(ONE, "web", &window(odd));
    }
    windows.add(ONE, "web", &Snapshot::default());
    let web = &windows.groups()["web"];
    assert_eq!((web.functions.len(), web.functions["malloc"].calls), (1, u64::MAX));
    assert!(web.sizes.is_empty());
}
