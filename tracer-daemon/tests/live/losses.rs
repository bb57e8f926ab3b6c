//! What a recording may miss, and says so.

use std::collections::BTreeMap;

use alloctrace::sink::Recording;
use libtest_mimic::Failed;

use crate::support::{Target, Tracer, same};

/// A short test makes too few calls for one in a hundred to be any.
const ALWAYS_FEW: u64 = 2;

/// One call in so many. A program is skipped where it interrupts itself on its CPU, and an emulated one takes microseconds:
/// 15 were seen among some thousands.
const SELDOM: u64 = 100;

/// Kernels that preempt programs (7.0 and later) skip them now and then.
pub(crate) fn may_skip_programs(recording: &Recording) -> bool {
    let kernel = &recording.snapshot.tracer.kernel;
    let major = kernel.split('.').next().and_then(|number| number.parse::<u32>().ok());
    major.is_some_and(|major| major >= 7)
}

/// Calls of which a program saw one end only, as the recording must say; any other kernel than
/// those may have none.
pub(crate) fn missed_returns(recording: &Recording) -> u64 {
    let lost = recording.snapshot.lost.get("missed_return").copied().unwrap_or(0);
    if may_skip_programs(recording) { lost } else { 0 }
}

/// Whether a number that comes from the returns misses no more than is said to be missing.
pub(crate) fn is_all_but(missing: u64, got: u64, truth: u64) -> bool {
    (truth.saturating_sub(missing)..=truth).contains(&got)
}

/// Nothing is missing, but for what kernels that preempt programs do, which few enough must be.
pub(crate) fn no_loss(recording: &Recording) -> Result<(), Failed> {
    let mut lost = recording.snapshot.lost.clone();
    let calls = recording.snapshot.syscalls.values().map(|totals| totals.calls).sum::<u64>();
    if (1..=ALWAYS_FEW + calls / SELDOM).contains(&missed_returns(recording)) {
        lost.remove("missed_return");
    }
    same("losses", lost, BTreeMap::new())
}

/// One window over what a target does between a nudge and "done"; nothing of it is missing.
pub(crate) fn recorded_whole(mut target: Target, options: &[&str]) -> Result<Recording, Failed> {
    target.hear("ready");
    let tracer = Tracer::attach(target.pid(), options);
    target.nudge();
    target.hear("done");
    let recording = tracer.interrupt()?;
    no_loss(&recording)?;
    Ok(recording)
}
