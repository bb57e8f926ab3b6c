//! `fault-storm`: memory that was there has to be faulted in again, over and over.
//!
//! A page that is touched for the first time is no storm, however many of them there are. Faults inside
//! short-lived mappings are `mmap-churn`'s, those below a break that fell are `heap-trim-churn`'s.

mod text;

#[cfg(test)]
mod tests;

use super::{
    Cause, Finding, Severity,
    caller::{self, Caller},
    hot_spot::{self, HotSpot},
    kernel_cost::KernelCost,
    worth,
};
use crate::aggregate::{
    faults::FaultCause,
    snapshot::{Refaults, Snapshot, StackTotals},
};

/// The name of the finding.
const ID: &str = "fault-storm";

/// Fewer a second are ordinary life.
const FAULTS_PER_SECOND: f64 = 1_000.0;

/// Fewer in the whole window may be a start-up.
const FAULTS: f64 = 2_000.0;

/// Fewer samples may be chance.
const SAMPLES: u64 = 30;

/// The faults, and what leads to them.
struct Storm<'a> {
    refaults: &'a Refaults,
    cost: KernelCost,
    /// How many faults they are.
    faults: f64,
    /// Calls that give memory back, where those are the reason.
    advice: Option<Advice>,
    /// Who touches, and the share of the faults.
    touch: Option<(String, f64)>,
}

/// `madvise` calls.
struct Advice {
    calls: u64,
    bytes: u64,
    caller: Caller,
    site: Option<String>,
}

/// Looks for pages that fault again at a high rate.
#[must_use]
pub fn fault_storm(snapshot: &Snapshot) -> Option<Finding> {
    let others = [FaultCause::New, FaultCause::Trimmed];
    let refaults = snapshot.refaults.iter().find(|refaults| !others.contains(&refaults.cause))?;
    let touches = hot_spot::at(snapshot, "fault", |cause| cause == refaults.cause.name());
    let storm = Storm::measure(snapshot, refaults, touches.as_ref())?;
    let severity = worth::severity(storm.cost.per_second(), storm.cost.share_of_target());
    let gain = severity != Severity::NoGain;
    let is_explained = refaults.cause != FaultCause::Repeated;
    Some(Finding {
        id: ID.to_owned(),
        severity,
        summary: text::summary(&storm, gain),
        evidence: text::evidence(&storm, snapshot.window.complete),
        cause: Cause {
            text: text::cause(&storm),
            bytes: storm.bytes_each_time(),
            stack: touches.map_or_else(Vec::new, |spot| caller::stack_text(spot.stack)),
        },
        cost: storm.cost.cost(),
        remedy: if gain { text::remedies(&storm) } else { Vec::new() },
        predicted_saving: (gain && is_explained).then(|| storm.cost.saving(1.0, storm.cycles())),
        confidence: confidence(&storm, snapshot.window.complete),
    })
}

impl<'a> Storm<'a> {
    fn measure(
        snapshot: &Snapshot,
        refaults: &'a Refaults,
        touches: Option<&HotSpot<'_>>,
    ) -> Option<Self> {
        let advice = (refaults.cause == FaultCause::Advised).then(|| Advice::of(snapshot));
        let advice = advice.flatten();
        let seconds = |_: &Advice| snapshot.syscalls.get("madvise").map(|calls| calls.seconds);
        let calls: Vec<_> = advice
            .as_ref()
            .and_then(seconds)
            .map(|seconds| ("madvise", seconds))
            .into_iter()
            .collect();
        let cost = KernelCost::measure(snapshot, &calls, &refaults.faults)?;
        let faults = cost.fault_count?;
        let many = faults >= FAULTS && faults / cost.window_seconds >= FAULTS_PER_SECOND;
        let touch = touches
            .and_then(|spot| Some((caller::site_text(caller::call_site(spot.stack)?), spot.share)));
        (many && refaults.faults.samples.0 >= SAMPLES).then_some(Self {
            refaults,
            cost,
            faults,
            advice,
            touch,
        })
    }

    /// What the cost is told for: each time that memory is given back, else each fault.
    fn cycles(&self) -> u64 {
        self.advice.as_ref().map_or(self.faults as u64, |advice| advice.calls)
    }

    fn bytes_each_time(&self) -> Option<u64> {
        self.advice.as_ref().map(|advice| advice.bytes / advice.calls)
    }
}

impl Advice {
    /// The calls of the window; `None`: there are none.
    fn of(snapshot: &Snapshot) -> Option<Self> {
        let totals = snapshot.syscalls.get("madvise")?;
        let calls = totals.calls.saturating_sub(totals.failures);
        let spot = hot_spot::of(snapshot, |stack| stack.kind == "madvise");
        let stack = spot.map(|spot| spot.stack);
        let stack = stack.or_else(|| caller::heaviest_stack(snapshot, "madvise"));
        (calls > 0).then(|| Self {
            calls,
            bytes: totals.bytes,
            caller: stack.map_or(Caller::Unknown, caller::of_call),
            site: stack
                .and_then(|stack: &StackTotals| caller::call_site(stack))
                .map(caller::site_text),
        })
    }
}

/// Each doubt takes its part away.
fn confidence(storm: &Storm<'_>, complete: bool) -> f64 {
    let doubts = [
        (storm.refaults.cause == FaultCause::Repeated, 0.6),
        (storm.touch.as_ref().is_none_or(|(_, share)| *share < 0.5), 0.9),
        (!complete, 0.9),
    ];
    let applying = doubts.iter().filter(|(applies, _)| *applies);
    applying.fold(0.95 * storm.cost.confidence(), |confidence, (_, part)| confidence * part)
}
