//! Which code asks for memory, against a program that knows.

use alloctrace::{
    aggregate::snapshot::StackTotals,
    session::SAMPLING_GAP,
    sink::{Recording, profile},
};
use libtest_mimic::Failed;

use super::{allocations, every_block_ended, program};
use crate::{
    losses::recorded_whole,
    support::{Target, ensure, same},
};

/// A function of the program, what it calls, how often and for how many bytes.
const SITES: [(&str, &str, u64, u64); 3] = [
    ("take_small", "malloc", 700_000, 1000),
    ("take_medium", "calloc", 4000, 50_000),
    ("take_large", "malloc", 50, 2_000_000),
];

/// With a library preloaded, or none.
pub(super) fn shares(library: &str) -> Result<(), Failed> {
    let mut command = program();
    if !library.is_empty() {
        command.env("LD_PRELOAD", library);
    }
    let target = Target::start(command.arg("sites"));
    let recording = recorded_whole(target, &["--malloc", "--budget", "100%"])?;
    for site in SITES {
        is_near(&recording, site)?;
    }
    let followed = every_block_ended(&recording)?;
    ensure(followed.samples > 100, format!("{followed:?}"))?;
    shown(&recording)
}

/// A call for `size` bytes is sampled with a probability `p`, so that the estimate of `calls` of them
/// has a relative standard deviation of `sqrt((1 - p) / (p * calls))`. Five of those are exceeded once
/// in a million times. Whole calls are up to one off for each sample.
pub(super) fn tolerance(calls: u64, size: u64) -> f64 {
    let met = 1.0 - (-(size as f64) / f64::from(SAMPLING_GAP)).exp();
    5.0 * ((1.0 - met) / (met * calls as f64)).sqrt() + 0.01
}

fn is_near(
    recording: &Recording,
    (function, call, calls, size): (&str, &str, u64, u64),
) -> Result<(), Failed> {
    let its: Vec<_> =
        recording.snapshot.stacks.iter().filter(|stack| is_in(stack, function)).collect();
    let tolerance = tolerance(calls, size);
    for (what, got, truth) in [
        ("calls", its.iter().map(|stack| stack.count).sum::<u64>(), calls),
        ("bytes", its.iter().map(|stack| stack.bytes).sum(), calls * size),
    ] {
        let error = got as f64 / truth as f64 - 1.0;
        let line = format!("{what} of {function}: {got}, true is {truth} ± {tolerance}");
        ensure(error.abs() <= tolerance, line)?;
    }
    same("function", its[0].place.as_deref(), Some(call))
}

fn is_in(stack: &StackTotals, function: &str) -> bool {
    let names: Vec<_> = stack.frames.iter().filter_map(|frame| frame.symbol.as_deref()).collect();
    stack.kind == "malloc" && names.windows(2).any(|two| two == [function, "run_sites"])
}

/// The report and the profile name them.
fn shown(recording: &Recording) -> Result<(), Failed> {
    let samples = allocations(recording)?.stack_samples;
    ensure((1000..4000).contains(&samples), format!("{samples} samples"))?;
    let text = alloctrace::sink::report::text(recording, Default::default());
    let heaviest = text.lines().skip_while(|line| !line.starts_with("which code asks")).nth(2);
    ensure(heaviest.is_some_and(|line| line.contains("take_small ← run_sites")), &*text)?;
    let stacks: Vec<_> = recording.snapshot.stacks.iter().collect();
    let folded = profile::folded(&stacks, None);
    let is_whole =
        |line: &str| line.starts_with("malloc;") && line.contains(";run_sites;take_large;");
    ensure(folded.lines().any(is_whole), folded)
}
