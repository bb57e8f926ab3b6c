//! `mmap-churn`: the same mappings are made, touched and unmade over and over.
//!
//! What it costs is measured in three parts: the calls that make the short-lived mappings, those
//! that unmake them, and the faults that fall inside. A buffer that is kept needs none of them.

mod measure;
mod remedy;
mod text;

#[cfg(test)]
mod tests;

use super::{Cause, Finding, Severity, caller, worth};
use crate::aggregate::Snapshot;
use crate::aggregate::snapshot::StackTotals;
use measure::Churn;

/// The name of the finding.
const ID: &str = "mmap-churn";

/// Looks for mappings that come and go at a high rate.
#[must_use]
pub fn mmap_churn(snapshot: &Snapshot) -> Option<Finding> {
    let churn = Churn::measure(snapshot)?;
    let severity = worth::severity(churn.cost.per_second(), churn.cost.share_of_target());
    let (stack, stack_share) = heaviest_mmap_stack(snapshot).unzip();
    let caller = stack.map_or(caller::Caller::Unknown, caller::of_call);
    let gain = severity != Severity::NoGain;
    let site = stack.and_then(caller::call_site).map(caller::site_text);
    Some(Finding {
        id: ID.to_owned(),
        severity,
        summary: text::summary(&churn, gain),
        evidence: text::evidence(&churn, snapshot, stack_share),
        cause: Cause {
            text: text::cause(&churn, caller, site.as_deref()),
            bytes: churn.dominant_size,
            stack: stack.map_or_else(Vec::new, caller::stack_text),
        },
        cost: churn.cost.cost(),
        remedy: if gain { remedy::remedies(&churn, caller, site.as_deref()) } else { Vec::new() },
        // A kept buffer makes neither calls nor faults, so the saving is the cost of every cycle
        // that one could have served.
        predicted_saving: gain.then(|| churn.cost.saving(churn.repeated_share, churn.cycles)),
        confidence: confidence(&churn, caller, stack_share, snapshot.window.complete),
    })
}

/// Each doubt takes its part away.
fn confidence(
    churn: &Churn,
    caller: caller::Caller,
    stack_share: Option<f64>,
    complete: bool,
) -> f64 {
    let doubts = [
        (caller == caller::Caller::Unknown, 0.7),
        // The cure at one call site reaches only its own cycles.
        (stack_share.is_some_and(|share| share < 0.5), 0.8),
        (!complete, 0.9),
    ];
    let applying = doubts.iter().filter(|(applies, _)| *applies);
    applying.fold(0.95 * churn.cost.confidence(), |confidence, (_, part)| confidence * part)
}

/// The stack that most mappings come from, and its share of all that have one.
fn heaviest_mmap_stack(snapshot: &Snapshot) -> Option<(&StackTotals, f64)> {
    let heaviest = caller::heaviest_stack(snapshot, "mmap")?;
    let stacks =
        snapshot.stacks.iter().filter(|stack| stack.kind == "mmap" && !stack.frames.is_empty());
    let all: f64 = stacks.map(|stack| stack.count as f64).sum();
    Some((heaviest, heaviest.count as f64 / all.max(1.0)))
}
