//! `heap-trim-churn`: memory at the top of the heap is given back and taken again over and over.
//!
//! What it costs is measured in three parts: the `brk` calls that lower the break, those that raise it
//! again, and the faults inside what they had given back. A heap that keeps its top needs none of them.

mod text;

#[cfg(test)]
mod tests;

use super::{
    Cause, Finding, Severity,
    caller::{self, Caller},
    hot_spot,
    kernel_cost::KernelCost,
    worth,
};
use crate::aggregate::snapshot::{Frame, HeapTrims, Snapshot, StackTotals};

/// The name of the finding.
const ID: &str = "heap-trim-churn";

/// Fewer cycles a second than this are ordinary life.
const CYCLES_PER_SECOND: f64 = 20.0;

/// Fewer than this in the whole window may be a start-up.
const CYCLES: u64 = 50;

/// Half of the calls or fewer lower the break; where the program asks for that, most of those have
/// this on their stack.
const BY_HAND: &str = "malloc_trim";
const BY_HAND_SHARE: f64 = 0.25;

/// The churn, and who makes it.
struct Churn<'a> {
    trims: &'a HeapTrims,
    cost: KernelCost,
    caller: Caller,
    /// As the target's files tell.
    allocator: Option<&'a str>,
    /// Where most of the calls come from, and their share.
    site: Option<(String, f64)>,
}

/// Looks for a heap that is trimmed and grown at a high rate.
#[must_use]
pub fn heap_trim_churn(snapshot: &Snapshot) -> Option<Finding> {
    let trims = snapshot.heap_trims.as_ref().filter(|trims| trims.cycles >= CYCLES)?;
    let calls = [("brk down", trims.fall_seconds), ("brk up", trims.rise_seconds)];
    let cost = KernelCost::measure(snapshot, &calls, &trims.faults)?;
    if (trims.cycles as f64 / cost.window_seconds) < CYCLES_PER_SECOND {
        return None;
    }
    let spot = hot_spot::of(snapshot, |stack| stack.kind == "brk");
    let stack = spot.as_ref().map(|spot| spot.stack);
    let stack = stack.or_else(|| caller::heaviest_stack(snapshot, "brk"));
    let allocator = snapshot.target.allocator.as_deref();
    let site = stack.and_then(caller::call_site).map(caller::site_text);
    let churn = Churn {
        trims,
        caller: if trims_by_hand(snapshot) { Caller::Direct } else { caller(stack, allocator) },
        allocator,
        site: site.zip(spot.as_ref().map(|spot| spot.share)),
        cost,
    };
    let severity = worth::severity(churn.cost.per_second(), churn.cost.share_of_target());
    let gain = severity != Severity::NoGain;
    Some(Finding {
        id: ID.to_owned(),
        severity,
        summary: text::summary(&churn, gain),
        evidence: text::evidence(&churn, snapshot.window.complete),
        cause: Cause {
            text: text::cause(&churn),
            bytes: Some(trims.deepest_bytes),
            stack: stack.map_or_else(Vec::new, caller::stack_text),
        },
        cost: churn.cost.cost(),
        remedy: if gain { text::remedies(&churn) } else { Vec::new() },
        predicted_saving: gain.then(|| churn.cost.saving(1.0, trims.cycles)),
        confidence: confidence(&churn, snapshot.window.complete),
    })
}

/// Of the allocators that alloctrace knows only glibc's lowers the break, so that where there is
/// another one the program does it.
fn caller(stack: Option<&StackTotals>, allocator: Option<&str>) -> Caller {
    let is_glibc = allocator.map(|name| name.starts_with("glibc"));
    match (stack.map_or(Caller::Unknown, caller::of_call), is_glibc) {
        (Caller::Glibc, None | Some(true)) | (Caller::Unknown, Some(true)) => Caller::Glibc,
        (Caller::Unknown, None) => Caller::Unknown,
        _ => Caller::Direct,
    }
}

fn trims_by_hand(snapshot: &Snapshot) -> bool {
    let stacks = || snapshot.stacks.iter().filter(|stack| stack.kind == "brk");
    let is_it = |frame: &Frame| frame.symbol.as_deref().is_some_and(|name| name.contains(BY_HAND));
    let by_hand = stacks().filter(|stack| stack.frames.iter().any(is_it));
    let count = |sum: f64, stack: &StackTotals| sum + stack.count as f64;
    by_hand.fold(0.0, count) > BY_HAND_SHARE * stacks().fold(0.0, count)
}

/// Each doubt takes its part away.
fn confidence(churn: &Churn<'_>, complete: bool) -> f64 {
    let doubts = [
        (churn.caller == Caller::Unknown, 0.7),
        // The cure at one call site reaches only its own cycles; that of the allocator all.
        (churn.site.as_ref().is_none_or(|(_, share)| *share < 0.5), 0.9),
        (!complete, 0.9),
    ];
    let applying = doubts.iter().filter(|(applies, _)| *applies);
    applying.fold(0.95 * churn.cost.confidence(), |confidence, (_, part)| confidence * part)
}
