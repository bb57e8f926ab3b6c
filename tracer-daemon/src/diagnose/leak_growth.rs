//! `leak-growth`: what a call site takes and does not give back grows all the time.
//!
//! A program that has just been attached to seems to take without end: its older blocks were never seen. So what
//! grows has to grow in every part of the window but the first, undiminished, and by more blocks than
//! were given back from before.

mod text;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use super::{
    Cause, Cost, Finding, Severity,
    caller::{self, from_call_site},
    hot_spot::function,
};
use crate::aggregate::{
    snapshot::{FollowedBlocks, Frame, GrowthPart, Snapshot, StackTotals},
    stack_kind::MALLOC,
};

/// The name of the finding.
pub(super) const ID: &str = "leak-growth";

/// Whoever is followed for less has shown nothing.
const SHORTEST_SECONDS: f64 = 2.0;

/// A site that grows by less takes a day for a hundred megabytes.
const BYTES_PER_SECOND: f64 = 1024.0;

/// Standard errors that the growth of each part has to exceed: by chance, three of three do so once in
/// a hundred thousand times.
const STANDARD_ERRORS: f64 = 2.0;

/// Standard errors on either side that hold 95 % of a normal distribution.
const STANDARD_ERRORS_95: f64 = 1.96;

/// What slows down to less than this part of its mean rate is filling up.
const STEADY: f64 = 0.5;

/// Time in which a growth becomes as likely to be one without end as not.
const HALF_SURE_SECONDS: f64 = 10.0;

/// Functions that tell call sites apart: many programs call `malloc` in one place only.
const FUNCTIONS: usize = 2;

/// Seconds until the machine's memory is taken, and what they are worth.
const SECONDS_LEFT: [(f64, Severity); 2] = [(600.0, Severity::High), (86_400.0, Severity::Medium)];

/// A call site, and how what it took has grown.
struct Site<'a> {
    /// The stack that grows most.
    stack: &'a StackTotals,
    most: f64,
    /// In the order of time.
    parts: Vec<GrowthPart>,
    freed_bytes: u64,
    /// Not given back, as far as is known.
    held_bytes: u64,
}

/// The growth after the first part, in which what lives for long comes to its usual number.
struct Slope {
    seconds: f64,
    bytes: f64,
    error: f64,
    blocks: f64,
}

/// Looks for a call site whose outstanding bytes grow throughout the window.
#[must_use]
pub fn leak_growth(snapshot: &Snapshot) -> Option<Finding> {
    let followed = snapshot.allocations.as_ref()?.blocks.as_ref()?;
    if !is_possible(snapshot) {
        return None;
    }
    let older = followed.freed_from_before() as f64;
    let growing = sites(snapshot).into_iter().filter(|site| site.grows(older));
    let site = growing.max_by(|a, b| a.slope().per_second().total_cmp(&b.slope().per_second()))?;
    let slope = site.slope();
    let seconds_left = snapshot.memory_available.map(|bytes| bytes as f64 / slope.per_second());
    let place = caller::call_site(site.stack).map(caller::site_text);
    let leak = text::Leak { site: &site, slope: &slope, place, followed, seconds_left };
    Some(Finding {
        id: ID.to_owned(),
        severity: severity(seconds_left),
        summary: text::summary(&leak),
        evidence: text::evidence(&leak, snapshot),
        cause: Cause {
            text: text::cause(&leak),
            bytes: (slope.blocks >= 1.0).then(|| (slope.bytes / slope.blocks) as u64),
            stack: caller::stack_text(site.stack),
        },
        cost: Cost { bytes_per_second: slope.per_second(), ..Cost::default() },
        remedy: text::remedies(&leak),
        predicted_saving: None,
        confidence: confidence(followed, &slope, older, snapshot.window.complete),
    })
}

/// Whether blocks were followed for long enough.
pub(super) fn is_possible(snapshot: &Snapshot) -> bool {
    let followed = snapshot.allocations.as_ref().and_then(|all| all.blocks.as_ref());
    followed.is_some_and(|followed| followed.seconds >= SHORTEST_SECONDS)
}

fn sites(snapshot: &Snapshot) -> Vec<Site<'_>> {
    let mut sites: HashMap<_, Site<'_>> = HashMap::new();
    for stack in snapshot.stacks.iter().filter(|stack| stack.kind == MALLOC) {
        let Some(blocks) = &stack.blocks else { continue };
        let Some(growth) = &blocks.growth else { continue };
        let bytes = growth.parts.iter().map(|part| part.bytes).sum();
        let new = Site { stack, most: bytes, parts: Vec::new(), freed_bytes: 0, held_bytes: 0 };
        let site = sites.entry(key(&stack.frames)).or_insert(new);
        if bytes > site.most {
            (site.stack, site.most) = (stack, bytes);
        }
        let held = blocks.outstanding.unwrap_or(blocks.unknown).bytes;
        site.held_bytes = site.held_bytes.saturating_add(held);
        site.freed_bytes = site.freed_bytes.saturating_add(blocks.freed.bytes);
        site.parts.resize(growth.parts.len(), GrowthPart::default());
        for (sum, part) in site.parts.iter_mut().zip(&growth.parts) {
            *sum = GrowthPart {
                seconds: part.seconds,
                bytes: sum.bytes + part.bytes,
                error: sum.error.hypot(part.error),
                blocks: sum.blocks + part.blocks,
            };
        }
    }
    sites.into_values().collect()
}

/// What a call site is known by.
fn key(frames: &[Frame]) -> Vec<(Option<&str>, Option<&str>, u64)> {
    let own = match from_call_site(frames) {
        [] => frames,
        own => own,
    };
    own.iter().take(FUNCTIONS).map(function).collect()
}

impl Site<'_> {
    fn later(&self) -> &[GrowthPart] {
        self.parts.get(1..).unwrap_or_default()
    }

    fn slope(&self) -> Slope {
        let sum = |of: fn(&GrowthPart) -> f64| self.later().iter().map(of).sum();
        let variance: f64 = sum(|part| part.error * part.error);
        Slope {
            seconds: sum(|part| part.seconds),
            bytes: sum(|part| part.bytes),
            error: variance.sqrt(),
            blocks: sum(|part| part.blocks),
        }
    }

    /// Whether it grows, however the `older` blocks that were given back are spread over the sites.
    fn grows(&self, older: f64) -> bool {
        let slope = self.slope();
        let is_certain = |part: &GrowthPart| part.bytes > STANDARD_ERRORS * part.error;
        let last = self.later().last().map_or(0.0, |part| part.bytes / part.seconds);
        slope.per_second() >= BYTES_PER_SECOND
            && self.later().iter().all(is_certain)
            && last >= STEADY * slope.per_second()
            && older <= slope.blocks / 2.0
    }
}

impl Slope {
    /// Bytes a second; not a number where there is no time.
    fn per_second(&self) -> f64 {
        self.bytes / self.seconds
    }

    /// The half-width of its 95 % interval.
    fn error_per_second(&self) -> f64 {
        STANDARD_ERRORS_95 * self.error / self.seconds
    }
}

fn severity(seconds_left: Option<f64>) -> Severity {
    let soon = |until: f64| seconds_left.is_some_and(|left| left <= until);
    SECONDS_LEFT.iter().find(|(until, _)| soon(*until)).map_or(Severity::Low, |row| row.1)
}

/// Time makes sure that it is no cache which is filling up; older blocks that were given back may have been
/// from the same place.
fn confidence(followed: &FollowedBlocks, slope: &Slope, older: f64, complete: bool) -> f64 {
    let by_time = followed.seconds / (followed.seconds + HALF_SURE_SECONDS);
    let by_age = 1.0 - older / slope.blocks.max(1.0);
    let by_loss = if complete { 1.0 } else { 0.7 };
    (0.98 * by_time * by_age * by_loss).clamp(0.0, 1.0)
}
