use super::*;
use crate::aggregate::{
    allocations::Allocations,
    snapshot::{Cpu, Frame, Window},
};

const LIBC: &str = "/l/libc.so.6";
const APP: &str = "/bin/app";

fn stack(kind: &str, place: &str, frames: &[(Option<&str>, &str)]) -> StackTotals {
    let frame = |&(symbol, module): &(Option<&str>, &str)| Frame {
        symbol: symbol.map(str::to_owned),
        module: Some(module.to_owned()),
        ..Frame::default()
    };
    StackTotals {
        kind: kind.to_owned(),
        place: Some(place.to_owned()),
        frames: frames.iter().map(frame).collect(),
        ..StackTotals::default()
    }
}

fn cpu(place: &str, function: Option<&str>, site: &str, samples: u64) -> StackTotals {
    let frames = [(None, LIBC), (function, LIBC), (Some(site), APP), (Some("main"), APP)];
    let frames = if function.is_some() { &frames[..] } else { &frames[2..] };
    let seconds = Some(samples as f64 / 100.0);
    StackTotals { count: samples, seconds, ..stack(CPU, place, frames) }
}

/// A buffer grows to 1 MiB by 4 KiB at a time, ten times a second, and takes 2 of 8 seconds of CPU time.
fn growing() -> Snapshot {
    let sums = SiteResizes {
        samples: 500,
        in_place: 600,
        moved: 25_000,
        copied_bytes: 12_800 << 20,
        grown_bytes: 100 << 20,
        largest: 1 << 20,
        ..SiteResizes::default()
    };
    let frames = [(Some("realloc"), LIBC), (Some("append"), APP), (Some("main"), APP)];
    let all = Resizes {
        seconds: 10.0,
        fresh: 100,
        in_place: 600,
        moved: 25_000,
        copied_bytes: Some(12_800 << 20),
        grown_bytes: Some(100 << 20),
        ..Resizes::default()
    };
    Snapshot {
        window: Window { seconds: 10.0, complete: true, ..Window::default() },
        cpu: Cpu { user_seconds: Some(7.0), system_seconds: Some(1.0), ..Cpu::default() },
        allocations: Some(Allocations { resizes: Some(all), ..Allocations::default() }),
        stacks: vec![
            StackTotals { resizes: Some(sums), ..stack(MALLOC, "realloc", &frames) },
            cpu("allocator", Some("realloc"), "append", 200),
            cpu("user", None, "append", 100),
            cpu(OTHER_KERNEL, Some("realloc"), "append", 100),
            cpu("allocator", Some("realloc"), "elsewhere", 100),
            cpu("allocator", Some("malloc"), "append", 100),
        ],
        ..Snapshot::default()
    }
}

fn changed(change: impl FnOnce(&mut Snapshot, &mut SiteResizes, &mut Resizes)) -> Option<Finding> {
    let mut snapshot = growing();
    let mut sums = snapshot.stacks[0].resizes.expect("it has them");
    let mut all = snapshot.allocations.as_ref().and_then(|all| all.resizes).expect("it has them");
    change(&mut snapshot, &mut sums, &mut all);
    snapshot.stacks[0].resizes = Some(sums);
    snapshot.allocations = Some(Allocations { resizes: Some(all), ..Allocations::default() });
    realloc_copy(&snapshot)
}

#[test]
fn growth_by_steps_is_found_where_it_is() {
    let finding = realloc_copy(&growing()).expect("found");
    assert_eq!(finding.severity, Severity::High);
    assert_eq!(
        finding.summary,
        "append (app+0x0) copies each byte about 128 times while its blocks grow: 25 % of the CPU time"
    );
    assert!(finding.cause.text.contains("by about 4 KiB at a time, up to 1 MiB"), "{finding:?}");
    assert!(finding.remedy[1].contains("reserve 1 MiB"), "{finding:?}");
    assert!((finding.cost.cpu_seconds_per_second - 0.2).abs() < 1e-9);
    let saving = finding.predicted_saving.expect("predicted");
    assert!((saving.cpu_seconds_per_second - 0.2 * 127.0 / 128.0).abs() < 1e-9);
    assert!((saving.cpu_seconds_per_cycle * 2570.0 / saving.cpu_seconds_per_second - 1.0) < 1e-9);
    assert!(saving.low < 0.2 && saving.high > 0.2, "{saving:?}");
}

#[test]
fn blocks_that_double_or_hardly_move_are_healthy() {
    assert_eq!(changed(|_, sums, _| sums.grown_bytes = sums.copied_bytes), None);
    assert_eq!(changed(|_, sums, _| sums.samples = 9), None);
    assert_eq!(changed(|_, _, all| all.moved = 99), None);
    assert_eq!(changed(|_, _, all| all.seconds = 10_000.0), None);
}

#[test]
fn without_results_or_cpu_samples_nothing_is_claimed() {
    assert_eq!(changed(|snapshot, _, _| snapshot.stacks.truncate(1)), None);
    let mut unseen = growing();
    unseen.allocations = Some(Allocations::default());
    assert_eq!(realloc_copy(&unseen), None);
    // Another allocator's sizes are not known.
    assert_eq!(changed(|_, sums, _| (sums.copied_bytes, sums.grown_bytes) = (0, 0)), None);
}

#[test]
fn little_time_is_no_gain() {
    let finding = changed(|snapshot, _, _| snapshot.stacks[1].seconds = Some(0.03));
    let finding = finding.expect("found");
    assert_eq!(finding.severity, Severity::NoGain);
    assert!(finding.remedy.is_empty() && finding.predicted_saving.is_none());
}

#[test]
fn a_hostile_recording_is_no_panic() {
    let found = changed(|_, sums, all| {
        sums.copied_bytes = u64::MAX;
        (sums.in_place, sums.moved) = (u64::MAX, u64::MAX);
        (all.moved, all.in_place, all.seconds) = (u64::MAX, u64::MAX, 0.0);
    });
    assert!(found.is_some());
}
