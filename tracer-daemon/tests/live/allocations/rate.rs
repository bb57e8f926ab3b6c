//! The rate of calls above the budget, against a program that counts them itself.

use libtest_mimic::Failed;

use super::{allocations, program};
use crate::support::{Target, Tracer, ensure, one_of};

/// Enough for some moments in which the probes are in.
const DURATION: &str = "30s";

/// What the program counts to between two pairs.
const WORK: &str = "20000";

/// One interval of twenty may miss, and hardly two.
pub(super) fn holds_the_truth() -> Result<(), Failed> {
    one_of(2, one_interval)
}

fn one_interval() -> Result<(), Failed> {
    let mut target = Target::start(program().args(["steady", WORK]));
    target.hear("ready");
    let tracer = Tracer::attach(target.pid(), &["--malloc", "--duration", DURATION]);
    let before = pairs(&mut target)?;
    let recording = tracer.finish()?;
    let after = pairs(&mut target)?;
    // A pair is two calls.
    let truth = 2.0 * (after.0 - before.0) / (after.1 - before.1);
    let got = allocations(&recording)?;
    let rate = got.calls_per_second.ok_or_else(|| format!("no rate: {got:?}"))?;
    let said = format!("true is {truth}: {got:?}");
    ensure(got.sampled && rate.estimate.is_some(), &*said)?;
    ensure(rate.low <= truth && rate.high.is_some_and(|high| high >= truth), said)
}

/// Pairs of calls so far, and the seconds on the program's clock.
fn pairs(target: &mut Target) -> Result<(f64, f64), Failed> {
    target.nudge();
    let said = target.hear("pairs");
    let numbers: Result<Vec<f64>, _> = said.split(' ').skip(1).map(str::parse).collect();
    match numbers?[..] {
        [pairs, nanoseconds] => Ok((pairs, nanoseconds / 1e9)),
        _ => Err(format!("the program said {said}").into()),
    }
}
