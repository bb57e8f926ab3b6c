//! `major-faults`: threads wait for the disk when they touch memory.
//!
//! The faults are counted by the kernel, and the place of each is seen. How long threads wait is known, what
//! for is estimated from looks at their state; a cure ends the waits, but what has to be read has to be read.

mod text;

#[cfg(test)]
mod tests;

use super::{Cause, Cost, Finding, Saving, Severity, caller, hot_spot, worth};
use crate::aggregate::{
    lookup_mappings::NO_AREA,
    snapshot::{LookupMapping, MajorFaults, Snapshot},
    stack_kind::MAJOR_FAULT,
};

/// The name of the finding.
const ID: &str = "major-faults";

/// Fewer in the whole window may be a start-up.
const FAULTS: u64 = 100;

/// Fewer a second are ordinary life.
const FAULTS_PER_SECOND: f64 = 10.0;

/// Fewer looks at which a thread waited may be chance.
const FEW_WAITS: u64 = 30;

/// Names of mappings that are no file's, besides those of their own size and those in brackets.
const MEMORY: [&str; 2] = ["arena of malloc", "stack of a thread"];

/// The faults, and what they cost.
struct Reads<'a> {
    /// The kernel's own count.
    faults: u64,
    window: f64,
    seen: &'a MajorFaults,
    /// Seconds of waiting in each second, and their part of the time that threads run or wait in faults.
    waiting: Option<(f64, f64)>,
    /// Where most of them fell.
    mapping: Option<&'a LookupMapping>,
    /// Who touches, and the share of the faults.
    touch: Option<(String, f64)>,
}

/// Looks for faults that read from disk at a high rate.
#[must_use]
pub fn major_faults(snapshot: &Snapshot) -> Option<Finding> {
    let spot = hot_spot::of(snapshot, |stack| stack.kind == MAJOR_FAULT);
    let mut reads = Reads::measure(snapshot)?;
    reads.touch = spot
        .as_ref()
        .and_then(|spot| Some((caller::site_text(caller::call_site(spot.stack)?), spot.share)));
    let severity = match reads.waiting {
        Some((seconds, share)) => worth::severity(seconds, Some(share)),
        None => Severity::Low,
    };
    let gain = severity != Severity::NoGain;
    let waited_seconds_per_second = reads.waiting.map_or(0.0, |(seconds, _)| seconds);
    let saving = Saving { waited_seconds_per_second, ..Saving::default() };
    Some(Finding {
        id: ID.to_owned(),
        severity,
        summary: text::summary(&reads, gain),
        evidence: text::evidence(&reads, snapshot.window.complete),
        cause: Cause {
            text: text::cause(&reads),
            bytes: None,
            stack: spot.map_or_else(Vec::new, |spot| caller::stack_text(spot.stack)),
        },
        cost: Cost { waited_seconds_per_second, ..Cost::default() },
        remedy: if gain { text::remedies(&reads) } else { Vec::new() },
        predicted_saving: (gain && reads.waiting.is_some()).then_some(saving),
        confidence: confidence(&reads, snapshot.window.complete),
    })
}

impl<'a> Reads<'a> {
    fn measure(snapshot: &'a Snapshot) -> Option<Self> {
        let faults = snapshot.faults.major?;
        let seen = snapshot.major_faults.as_ref()?;
        let window = snapshot.window.seconds;
        let many = faults >= FAULTS && faults as f64 >= FAULTS_PER_SECOND * window && window > 0.0;
        let waiting = seen.waited_seconds.zip(snapshot.cpu.seconds()).map(|(waited, cpu)| {
            (waited / window, if waited > 0.0 { waited / (waited + cpu) } else { 0.0 })
        });
        let mapping = seen.mappings.first();
        many.then_some(Self { faults, window, seen, waiting, mapping, touch: None })
    }

    /// Whether it is a file that is read, and not memory that was swapped out.
    fn is_file(&self) -> Option<bool> {
        let name = self.mapping?.name.as_str();
        let is_memory =
            name.starts_with("anon ") || name.starts_with('[') || MEMORY.contains(&name);
        (name != NO_AREA).then_some(!is_memory)
    }
}

/// Each doubt takes its part away.
fn confidence(reads: &Reads<'_>, complete: bool) -> f64 {
    let doubts = [
        (reads.waiting.is_none(), 0.6),
        (reads.seen.waits_seen.0 < FEW_WAITS, 0.8),
        (reads.mapping.is_none_or(|mapping| mapping.share < 0.5), 0.9),
        (reads.touch.as_ref().is_none_or(|(_, share)| *share < 0.5), 0.9),
        (!complete, 0.9),
    ];
    let applying = doubts.iter().filter(|(applies, _)| *applies);
    applying.fold(0.95, |confidence, (_, part)| confidence * part)
}
