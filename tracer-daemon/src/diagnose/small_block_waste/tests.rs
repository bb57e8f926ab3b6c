use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tracer_common::{AllocationCall, AllocationCounter};

use super::*;
use crate::{
    aggregate::{
        allocations::{Counted, allocations},
        exact_sizes::SizedCalls,
        snapshot::{Frame, StackTotals, TargetInfo, Window},
    },
    allocator::Family,
};

const MIB: u64 = 1 << 20;

/// A million blocks of each of these sizes, of which `given` were given back.
fn snapshot(sizes: &[u64], given: u64, duty: f64) -> Snapshot {
    const CALLS: u64 = 1_000_000;
    let asked = CALLS * sizes.iter().sum::<u64>();
    let taken = CALLS * sizes.len() as u64;
    let malloc = AllocationCounter { calls: taken, bytes: asked, ..AllocationCounter::NONE };
    let free = AllocationCounter { calls: given, ..AllocationCounter::NONE };
    let counters = HashMap::from([(AllocationCall::Malloc, malloc), (AllocationCall::Free, free)]);
    let sized: Vec<_> = sizes
        .iter()
        .map(|&bytes| SizedCalls { call: AllocationCall::Malloc, bytes, calls: CALLS })
        .filter(|size| size.bytes <= tracer_common::LARGEST_EXACT_SIZE)
        .collect();
    let rule = SizeRule::all().find(|rule| rule.family == Family::Glibc);
    let window = Duration::from_secs(10);
    let counted = Counted { window, duty, moments: 1, rate: None, stack_samples: 100 };
    Snapshot {
        window: Window { seconds: 10.0, complete: true, ..Window::default() },
        target: TargetInfo { allocator: Some("glibc 2.36".to_owned()), ..TargetInfo::default() },
        allocations: Some(allocations(&counters, counted).with_sizes(&sized, rule)),
        resident: Some(Resident { before: 10 * MIB, after: 110 * MIB }),
        stacks: vec![stack("load_records", 10), stack("load_file", 1 << 20)],
        ..Snapshot::default()
    }
}

fn stack(function: &str, size: u64) -> StackTotals {
    let frame = |symbol: &str, module: &str| Frame {
        symbol: Some(symbol.to_owned()),
        module: Some(module.to_owned()),
        ..Frame::default()
    };
    StackTotals {
        kind: MALLOC.to_owned(),
        frames: vec![frame("malloc", "/l/libc.so.6"), frame(function, "/bin/app")],
        count: 100,
        bytes: 100 * size,
        ..StackTotals::default()
    }
}

fn memory(finding: &Finding) -> MemorySaving {
    finding.predicted_saving.expect("predicted").memory.expect("memory")
}

#[test]
fn blocks_that_stay_waste_what_they_do_not_use() {
    let finding = small_block_waste(&snapshot(&[10, 26], 0, 1.0)).expect("found");
    // 32 and 48 are taken.
    let saving = memory(&finding);
    assert_eq!(saving, MemorySaving { bytes: 44_000_000, low: 44_000_000, high: 44_000_000 });
    assert_eq!((finding.severity, finding.cost.bytes), (Severity::High, 44_000_000));
    assert!(finding.cause.text.contains("load_records") && finding.confidence > 0.9);
    assert!(finding.evidence[1].contains("each takes 32 B"), "{:?}", finding.evidence);
    // 16 and 32 are taken by all others.
    assert_eq!(finding.remedy.len(), 4);
    assert!(finding.remedy[1].contains("saves 30.5 MiB (30.5 MiB to 30.5 MiB)"));
}

#[test]
fn bounds_hold_whichever_blocks_stay() {
    let finding = small_block_waste(&snapshot(&[10, 26, 100], 2_000_000, 1.0)).expect("found");
    let saving = memory(&finding);
    // One million of three: those of 100 waste 12, those of 26 and 10 waste 22.
    assert_eq!((saving.low, saving.high), (12_000_000, 22_000_000));
    assert!((18_600_000..18_700_000).contains(&saving.bytes), "{saving:?}");
    assert!(finding.confidence < 0.95);
}

#[test]
fn where_calls_were_sampled_the_process_tells_how_many_stayed() {
    let finding = small_block_waste(&snapshot(&[10, 26], 0, 0.1)).expect("found");
    let saving = memory(&finding);
    let truth = 100 * MIB * 44 / 80;
    assert!(saving.bytes.abs_diff(truth) < 10, "{saving:?}, not {truth}");
    assert!(finding.evidence.iter().any(|line| line.contains("growth")));
    // Most were given back, and which part of the growth is theirs is unknown.
    assert_eq!(small_block_waste(&snapshot(&[10, 26], 1_500_000, 0.1)), None);
}

#[test]
fn large_blocks_among_them_make_it_a_small_part() {
    assert_eq!(small_block_waste(&snapshot(&[10, 5000], 0, 1.0)), None);
    assert_eq!(small_block_waste(&snapshot(&[56, 104], 0, 1.0)), None);
}

#[test]
fn nothing_stays_nothing_is_known_nothing_is_said() {
    assert_eq!(small_block_waste(&snapshot(&[10], 1_000_000, 1.0)), None);
    assert_eq!(small_block_waste(&snapshot(&[10], 2_000_000, 1.0)), None);
    assert_eq!(small_block_waste(&Snapshot::default()), None);
    let mut unknown = snapshot(&[10], 0, 1.0);
    unknown.allocations = unknown.allocations.map(|all| Allocations { size_rule: None, ..all });
    assert_eq!(small_block_waste(&unknown), None);
}

#[test]
fn a_little_is_no_gain() {
    let finding = small_block_waste(&snapshot(&[10], 900_000, 1.0)).expect("found");
    assert_eq!(finding.severity, Severity::NoGain);
    assert!(finding.remedy.is_empty() && finding.predicted_saving.is_none());
}

#[test]
fn a_hostile_recording_does_no_harm() {
    let mut hostile = snapshot(&[10], 0, 1.0);
    if let Some(all) = &mut hostile.allocations {
        for size in &mut all.exact_sizes {
            (size.calls, size.taken) = (u64::MAX, Some(u64::MAX));
        }
        all.functions = BTreeMap::from([("malloc".to_owned(), Default::default())]);
    }
    let _ = small_block_waste(&hostile);
}
