//! `vma-explosion`: an address space in so many areas that the limit comes near.
//!
//! At the limit `mmap` fails with `ENOMEM`, however much memory there is, and few programs survive
//! that. What many areas cost before is little on kernels that keep them in a tree, so the number
//! itself, its growth and the time that is left are what matters.

mod remedy;
mod text;

#[cfg(test)]
mod tests;

use super::{Cause, Cost, Finding, Severity, caller};
use crate::aggregate::Snapshot;
use crate::census::address_space::AddressSpace;

/// The name of the finding.
const ID: &str = "vma-explosion";

/// Fewer areas are ordinary life, however fast they come: every program begins with a few hundred
/// in its first second. Of a lower limit than the usual one, a quarter.
const MANY_AREAS: u64 = 5_000;

/// Shares of the limit that are worth knowing of, a warning and an alarm.
const SHARES: [(f64, Severity); 3] =
    [(0.8, Severity::High), (0.5, Severity::Medium), (0.25, Severity::Low)];

/// Seconds that are left, and what they are worth.
const SECONDS_LEFT: [(f64, Severity); 3] =
    [(600.0, Severity::High), (86_400.0, Severity::Medium), (604_800.0, Severity::Low)];

/// Growth that was seen for a shorter time is a poor promise.
const LONG_ENOUGH_SECONDS: f64 = 10.0;

/// Looks for an address space that has, or will soon have, too many areas.
#[must_use]
pub fn vma_explosion(snapshot: &Snapshot) -> Option<Finding> {
    let space = snapshot.address_space.as_ref()?;
    let limit = space.limit.filter(|limit| *limit > 0)?;
    if space.areas < MANY_AREAS.min(limit / 4) {
        return None;
    }
    let seconds_left = space.seconds_to_limit();
    let severity = severity(space, seconds_left);
    let stack = caller::heaviest_stack(snapshot, "mmap");
    let caller = stack.map_or(caller::Caller::Unknown, caller::of_call);
    let site = stack.and_then(caller::call_site).map(caller::site_text);
    let gain = severity != Severity::NoGain;
    let situation = Situation { space, limit, seconds_left, caller, site: site.as_deref() };
    Some(Finding {
        id: ID.to_owned(),
        severity,
        summary: text::summary(&situation, gain),
        evidence: text::evidence(&situation, snapshot),
        cause: Cause {
            text: text::cause(&situation),
            bytes: dominant_size(space),
            stack: stack.map_or_else(Vec::new, caller::stack_text),
        },
        cost: cost(snapshot),
        remedy: if gain { remedy::remedies(&situation, severity) } else { Vec::new() },
        predicted_saving: None,
        confidence: confidence(&situation, snapshot, severity),
    })
}

/// Whether a finding is of this pathology: the only one at whose end calls fail.
pub(super) fn is_it(finding: &Finding) -> bool {
    finding.id == ID
}

/// What the finding is about.
struct Situation<'a> {
    space: &'a AddressSpace,
    limit: u64,
    /// Until the limit, where growth was seen that is more than coming and going.
    seconds_left: Option<f64>,
    caller: caller::Caller,
    site: Option<&'a str>,
}

fn severity(space: &AddressSpace, seconds_left: Option<f64>) -> Severity {
    let soon = |until: f64| seconds_left.is_some_and(|left| left <= until);
    let by_time = SECONDS_LEFT.iter().find(|(until, _)| soon(*until));
    by_time.map_or(Severity::NoGain, |row| row.1).max(severity_of_share(space))
}

fn severity_of_share(space: &AddressSpace) -> Severity {
    let share = space.share_of_limit().unwrap_or(0.0);
    let row = SHARES.iter().find(|(from, _)| share >= *from);
    row.map_or(Severity::NoGain, |row| row.1)
}

/// A size that many areas have.
fn dominant_size(space: &AddressSpace) -> Option<u64> {
    let first = space.sizes.first()?;
    (first.areas as f64 >= 0.1 * space.areas as f64).then_some(first.bytes)
}

/// The memory calls of the window: only a part of their time is due to the number of areas, so
/// this is the most that it can be.
fn cost(snapshot: &Snapshot) -> Cost {
    let plausible = |seconds: &f64| (0.0..1e12).contains(seconds);
    let calls: f64 = snapshot.syscalls.values().map(|call| call.seconds).filter(plausible).sum();
    let cpu = snapshot.cpu.seconds().filter(|cpu| *cpu > 0.0 && plausible(cpu));
    let per_second = Some(calls / snapshot.window.seconds).filter(|cost| cost.is_finite());
    Cost {
        cpu_seconds_per_second: per_second.unwrap_or(0.0).max(0.0),
        share_of_target: cpu.map(|cpu| (calls / cpu).min(1.0)),
        ..Cost::default()
    }
}

/// Each doubt takes its part away. The number itself is exact.
fn confidence(situation: &Situation<'_>, snapshot: &Snapshot, severity: Severity) -> f64 {
    let watched = situation.space.growth.map(|growth| growth.seconds);
    let by_growth = severity > severity_of_share(situation.space);
    let doubts = [
        (situation.space.torn + situation.space.unreadable > 0, 0.9),
        (by_growth && watched.is_some_and(|seconds| seconds < LONG_ENOUGH_SECONDS), 0.7),
        (situation.caller == caller::Caller::Unknown, 0.9),
        (!snapshot.window.complete, 0.95),
    ];
    let applying = doubts.iter().filter(|(applies, _)| *applies);
    applying.fold(0.95, |confidence, (_, part)| confidence * part)
}
