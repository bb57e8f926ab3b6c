//! `realloc-copy`: blocks that grow by little at a time are moved and copied again and again.
//!
//! What matters is how often each byte is copied that was added to a block. A block that doubles copies it
//! once at the most, one that grows by a tenth ten times, and one that grows by steps the more often the
//! larger it is.

mod text;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use super::{
    Cause, Cost, Finding, Saving, Severity, caller,
    estimate::{Estimate, share_of_sum},
    hot_spot::function,
    worth,
};
use crate::aggregate::{
    cpu::OTHER_KERNEL,
    snapshot::{Resizes, SiteResizes, Snapshot, StackTotals},
    stack_kind::{CPU, MALLOC},
    user_path::is_resizing_call,
};

/// The name of the finding.
const ID: &str = "realloc-copy";

/// What grows by a quarter at a time copies each byte four times.
const TIMES_COPIED: f64 = 4.0;

/// Fewer moves may be chance, and so may what fewer samples say.
const MOVES: u64 = 100;
const SAMPLES: u64 = 10;

/// Fewer a second are ordinary life.
const MOVES_PER_SECOND: f64 = 10.0;

/// Fewer CPU samples leave the cost uncertain.
const CPU_SAMPLES: u64 = 30;

/// The part of the window in which results have to be seen, so that calls and CPU time are of the same time.
const SAME_PACE: f64 = 0.9;

/// A function that lets blocks grow.
struct Site<'a> {
    /// The stack that copies most.
    stack: &'a StackTotals,
    most: u64,
    sums: SiteResizes,
}

/// What the copies of a site take.
struct Copies<'a> {
    /// Of the whole process.
    all: Resizes,
    site: Site<'a>,
    place: String,
    /// Times that each added byte is copied.
    times: f64,
    /// CPU seconds in `realloc` in the window.
    cpu: Estimate,
    cpu_samples: u64,
    window: f64,
    complete: bool,
}

/// Looks for the call site whose growing blocks are copied most.
#[must_use]
pub fn realloc_copy(snapshot: &Snapshot) -> Option<Finding> {
    let copies = Copies::measure(snapshot)?;
    let target = snapshot.cpu.seconds().filter(|seconds| *seconds > 0.0)?;
    let saving = copies.saving();
    let per_second = saving.cpu_seconds_per_second;
    let severity = worth::severity(per_second, Some(per_second * copies.window / target));
    let gain = severity != Severity::NoGain;
    Some(Finding {
        id: ID.to_owned(),
        severity,
        summary: text::summary(&copies, copies.cpu.value / target, gain),
        evidence: text::evidence(&copies),
        cause: Cause {
            text: text::cause(&copies),
            bytes: Some(copies.site.sums.largest),
            stack: caller::stack_text(copies.site.stack),
        },
        cost: Cost {
            cpu_seconds_per_second: copies.cpu.value / copies.window,
            share_of_target: Some(copies.cpu.value / target),
            ..Cost::default()
        },
        remedy: if gain { text::remedies(&copies) } else { Vec::new() },
        predicted_saving: gain.then_some(saving),
        confidence: copies.confidence(),
    })
}

impl<'a> Copies<'a> {
    fn measure(snapshot: &'a Snapshot) -> Option<Self> {
        let all = snapshot.allocations.as_ref()?.resizes?;
        let window = snapshot.window.seconds;
        let often = all.moved >= MOVES && all.moved as f64 >= MOVES_PER_SECOND * all.seconds;
        if !often || window <= 0.0 {
            return None;
        }
        let bad = sites(snapshot).into_values().filter(Site::is_bad);
        let site = bad.max_by_key(|site| site.sums.copied_bytes)?;
        let frame = caller::call_site(site.stack)?;
        let (cpu, cpu_samples) = cpu_time(snapshot, function(frame))?;
        let (place, times) = (caller::site_text(frame), site.times_copied());
        let complete = snapshot.window.complete;
        Some(Self { all, site, place, times, cpu, cpu_samples, window, complete })
    }

    /// What is copied once at the most is left; nothing is where the largest size is reserved. At least: it
    /// is copied twice, for a block's first bytes may not have been seen to be added.
    fn saving(&self) -> Saving {
        let Estimate { value, error } = self.cpu;
        let without = |times: f64| (1.0 - times / self.times).max(0.0);
        let per_second = value * without(1.0) / self.window;
        let calls = self.all.resized().saturating_add(self.all.fresh) as f64 / self.all.seconds;
        // While results are seen the process is slower: its calls are not as many as in the rest.
        let is_one_pace = self.all.seconds >= SAME_PACE * self.window;
        Saving {
            cpu_seconds_per_second: per_second,
            low: (value - error).max(0.0) * without(2.0) / self.window,
            high: (value + error) / self.window,
            cpu_seconds_per_cycle: if is_one_pace { per_second / calls } else { 0.0 },
            ..Saving::default()
        }
    }

    /// Each doubt takes its part away.
    fn confidence(&self) -> f64 {
        let doubts = [
            (self.cpu_samples < CPU_SAMPLES, 0.8),
            // Results were seen in the beginning only.
            (self.all.seconds < 0.5 * self.window, 0.8),
            (self.site.sums.unsized_moves > 0, 0.9),
            (!self.complete, 0.9),
        ];
        let applying = doubts.iter().filter(|(applies, _)| *applies);
        applying.fold(0.95, |confidence, (_, part)| confidence * part)
    }
}

impl Site<'_> {
    fn is_bad(&self) -> bool {
        self.sums.samples >= SAMPLES && self.times_copied() >= TIMES_COPIED
    }

    /// As if a byte had been added where none was.
    fn times_copied(&self) -> f64 {
        self.sums.copied_bytes as f64 / self.sums.grown_bytes.max(1) as f64
    }
}

/// What a function is known by.
type Key<'a> = (Option<&'a str>, Option<&'a str>, u64);

fn sites(snapshot: &Snapshot) -> HashMap<Key<'_>, Site<'_>> {
    let mut sites = HashMap::new();
    for stack in snapshot.stacks.iter().filter(|stack| stack.kind == MALLOC) {
        let (Some(frame), Some(new)) = (caller::call_site(stack), stack.resizes) else { continue };
        let empty = Site { stack, most: 0, sums: SiteResizes::default() };
        let site = sites.entry(function(frame)).or_insert(empty);
        if new.copied_bytes > site.most {
            (site.stack, site.most) = (stack, new.copied_bytes);
        }
        site.sums = site.sums.plus(new);
    }
    sites
}

/// CPU time in `realloc` that a function asked for, and samples of it; `None`: there are none. What the
/// kernel does there for none of the calls that are measured is mostly the probe itself.
fn cpu_time(snapshot: &Snapshot, site: Key<'_>) -> Option<(Estimate, u64)> {
    let is_it = |stack: &&StackTotals| {
        let own = caller::from_call_site(&stack.frames);
        let inner = &stack.frames[..stack.frames.len() - own.len()];
        let mut symbols = inner.iter().filter_map(|frame| frame.symbol.as_deref());
        stack.kind == CPU
            && stack.place.as_deref() != Some(OTHER_KERNEL)
            && own.first().map(function) == Some(site)
            && symbols.any(is_resizing_call)
    };
    let (seconds, samples) = snapshot.stacks.iter().filter(is_it).fold((0.0, 0), |sum, stack| {
        (sum.0 + stack.seconds.unwrap_or(0.0), u64::saturating_add(sum.1, stack.count))
    });
    let total = snapshot.cpu.seconds()?;
    let all = samples as f64 * total / seconds;
    (seconds > 0.0 && total > 0.0)
        .then(|| (share_of_sum(total, (seconds / total).min(1.0), (samples, all as u64)), samples))
}
