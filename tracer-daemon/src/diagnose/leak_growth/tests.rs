use super::*;
use crate::aggregate::{
    allocations::Allocations,
    snapshot::{BlockSum, BlockTotals, Growth},
};

/// Four parts of ten seconds each, of so many blocks of a hundred bytes; each sample stands for a hundred blocks.
fn stack(function: &str, blocks: [f64; 4]) -> StackTotals {
    let frame = |name: &str| Frame { symbol: Some(name.to_owned()), ..Frame::default() };
    let part = |blocks: f64| GrowthPart {
        seconds: 10.0,
        bytes: blocks * 100.0,
        error: 100.0 * 100.0 * (blocks.abs() / 100.0).sqrt(),
        blocks,
    };
    let held = BlockSum { blocks: 1000, bytes: 100_000 };
    StackTotals {
        kind: MALLOC.to_owned(),
        frames: vec![frame("malloc"), frame(function), frame("serve"), frame("main")],
        blocks: Some(BlockTotals {
            outstanding: Some(held),
            growth: Some(Growth { parts: blocks.map(part).to_vec() }),
            ..BlockTotals::default()
        }),
        ..StackTotals::default()
    }
}

/// As many blocks were handed out as are there, `older` besides those given back.
fn snapshot(stacks: Vec<StackTotals>, older: u64) -> Snapshot {
    let growth: Vec<GrowthPart> = (0..4)
        .map(|part| {
            let parts = stacks.iter().filter_map(|stack| stack.blocks.as_ref()?.growth.as_ref());
            parts.fold(GrowthPart::default(), |sum, growth| GrowthPart {
                bytes: sum.bytes + growth.parts[part].bytes,
                blocks: sum.blocks + growth.parts[part].blocks,
                ..growth.parts[part]
            })
        })
        .collect();
    let there: f64 = growth.iter().map(|part| part.blocks).sum();
    let totals = BlockTotals { growth: Some(Growth { parts: growth }), ..BlockTotals::default() };
    let blocks = FollowedBlocks {
        seconds: 40.0,
        totals,
        handed_out: 100_000 + there.max(0.0) as u64,
        given_back: 100_000 + older,
        ..FollowedBlocks::default()
    };
    let allocations = Allocations { blocks: Some(blocks), ..Allocations::default() };
    let mut snapshot = Snapshot { allocations: Some(allocations), stacks, ..Snapshot::default() };
    snapshot.window.complete = true;
    snapshot
}

#[test]
fn steady_growth_is_found_with_its_slope() {
    let stacks = vec![stack("cache", [5000.0, 0.0, 0.0, 0.0]), stack("leak", [2000.0; 4])];
    let mut snapshot = snapshot(stacks, 0);
    snapshot.memory_available = Some(20_000 * 3600);
    let finding = leak_growth(&snapshot).expect("it leaks");
    assert!((finding.cost.bytes_per_second - 20_000.0).abs() < 1e-6);
    assert_eq!((finding.severity, finding.cause.bytes), (Severity::Medium, Some(100)));
    assert!(finding.cause.text.starts_with("leak "), "{}", finding.cause.text);
    assert!(finding.evidence.join("\n").contains("1.0 hours"), "{:?}", finding.evidence);
    assert!((0.7..0.9).contains(&finding.confidence), "{}", finding.confidence);
}

#[test]
fn what_levels_off_or_comes_and_goes_is_no_leak() {
    for blocks in [
        [5000.0, 0.0, 0.0, 0.0],
        [5000.0, 2000.0, 1000.0, 300.0],
        [5000.0, 2000.0, -2000.0, 2000.0],
        [500.0, 200.0, 200.0, 200.0],
        [-2000.0; 4],
    ] {
        assert_eq!(leak_growth(&snapshot(vec![stack("cache", blocks)], 0)), None, "{blocks:?}");
    }
}

/// Blocks that live longer than the window: those of before go while new ones come.
#[test]
fn a_queue_with_a_long_memory_is_no_leak() {
    let queue = || vec![stack("queue", [2000.0; 4])];
    assert_eq!(leak_growth(&snapshot(queue(), 8000)), None);
    assert_eq!(leak_growth(&snapshot(queue(), 5000)), None);
    assert!(leak_growth(&snapshot(queue(), 1000)).is_some());
}

#[test]
fn a_moment_or_nothing_tells_nothing() {
    let mut short = snapshot(vec![stack("leak", [2000.0; 4])], 0);
    if let Some(blocks) = short.allocations.as_mut().and_then(|all| all.blocks.as_mut()) {
        blocks.seconds = 1.0;
    }
    assert_eq!(leak_growth(&short), None);
    assert_eq!(leak_growth(&Snapshot::default()), None);
    let mut timeless = snapshot(vec![stack("leak", [2000.0; 4])], 0);
    for part in timeless.stacks[0].blocks.iter_mut().flat_map(|all| &mut all.growth) {
        part.parts.iter_mut().for_each(|part| part.seconds = 0.0);
    }
    let found = leak_growth(&timeless);
    assert!(found.is_none_or(|finding| !finding.cost.bytes_per_second.is_nan()));
}

#[test]
fn stacks_of_a_call_site_count_together() {
    let mut stacks = vec![stack("leak", [1000.0; 4]), stack("leak", [1000.0; 4])];
    stacks[1].frames[3].symbol = Some("other".to_owned());
    let finding = leak_growth(&snapshot(stacks, 0)).expect("it leaks");
    assert!((finding.cost.bytes_per_second - 20_000.0).abs() < 1e-6);
}
