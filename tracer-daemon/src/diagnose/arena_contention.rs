//! `arena-contention`: threads wait for each other inside the allocator.
//!
//! Every wait for a futex is timed; those whose stack is below `malloc`, `free` or the like, and leaves the
//! allocator nowhere, are for its locks.

#[cfg(test)]
mod tests;

use super::{Cause, Cost, Finding, Saving, Severity, caller, hot_spot, worth};
use crate::{
    aggregate::{
        snapshot::{FutexTotals, Snapshot, StackTotals},
        stack_kind::FUTEX,
        user_path::in_allocator,
    },
    census::address_space::Kind,
    humanize::{count, number, percent, seconds},
};

/// The name of the finding.
const ID: &str = "arena-contention";

/// Fewer in the whole window may be chance.
const WAITS: u64 = 100;

/// Fewer a second are ordinary life.
const WAITS_PER_SECOND: f64 = 10.0;

/// The waits for locks of the allocator.
struct Waits<'a> {
    window: f64,
    number: u64,
    seconds: f64,
    /// Their part of the time that threads run or wait in them.
    share: f64,
    all: FutexTotals,
    allocator: &'a str,
    threads: Option<u64>,
    /// Heaps of glibc's arenas other than the main one; unknown without a census.
    heaps: Option<u64>,
    voluntary_switches: Option<u64>,
    /// Where most of the waiting comes from, and its share.
    site: Option<(String, f64)>,
}

/// Looks for threads that wait for the allocator's locks.
#[must_use]
pub fn arena_contention(snapshot: &Snapshot) -> Option<Finding> {
    let waits = Waits::measure(snapshot)?;
    let waited_seconds_per_second = waits.seconds / waits.window;
    let severity = worth::severity(waited_seconds_per_second, Some(waits.share));
    let gain = severity != Severity::NoGain;
    let stack = hot_spot::of(snapshot, is_in_allocator).map(|spot| spot.stack);
    Some(Finding {
        id: ID.to_owned(),
        severity,
        summary: summary(&waits, gain),
        evidence: evidence(&waits, snapshot.window.complete),
        cause: Cause {
            text: cause(&waits),
            bytes: None,
            stack: stack.map_or_else(Vec::new, caller::stack_text),
        },
        cost: Cost { waited_seconds_per_second, ..Cost::default() },
        remedy: if gain { remedies(&waits) } else { Vec::new() },
        predicted_saving: gain.then_some(Saving { waited_seconds_per_second, ..Saving::default() }),
        confidence: confidence(&waits, snapshot.window.complete),
    })
}

fn is_in_allocator(stack: &StackTotals) -> bool {
    stack.kind == FUTEX && in_allocator(&stack.frames)
}

impl<'a> Waits<'a> {
    fn measure(snapshot: &'a Snapshot) -> Option<Self> {
        let all = snapshot.futex_waits?;
        let (window, cpu) = (snapshot.window.seconds, snapshot.cpu.seconds()?);
        let inside = || snapshot.stacks.iter().filter(|stack| is_in_allocator(stack));
        let number = inside().map(|stack| stack.count).fold(0, u64::saturating_add).min(all.waits);
        // Waits are counted exactly, stacks stand for some of them.
        let seconds = inside().filter_map(|stack| stack.seconds).sum::<f64>().min(all.seconds);
        let many = number >= WAITS && number as f64 >= WAITS_PER_SECOND * window;
        let heaps = snapshot.address_space.as_ref().map(|space| {
            let arenas = space.kinds.iter().filter(|row| row.kind == Kind::Arena);
            // Each is an area in use and one in reserve.
            arenas.map(|row| row.areas / 2).sum()
        });
        let spot = hot_spot::of(snapshot, is_in_allocator);
        let site = spot
            .and_then(|spot| Some((caller::site_text(caller::call_site(spot.stack)?), spot.share)));
        (many && window > 0.0 && seconds > 0.0).then(|| Self {
            window,
            number,
            seconds,
            share: seconds / (seconds + cpu),
            all,
            allocator: snapshot.target.allocator.as_deref().unwrap_or("the allocator"),
            threads: snapshot.target.threads,
            heaps,
            voluntary_switches: snapshot.cpu.voluntary_switches,
            site,
        })
    }
}

fn summary(waits: &Waits<'_>, gain: bool) -> String {
    let rate = number(waits.number as f64 / waits.window);
    let text = format!("{rate} waits a second for locks of {}", waits.allocator);
    if gain {
        format!("{text} take {} of the target's time", percent(waits.share))
    } else {
        format!("{text}, of little cost")
    }
}

fn evidence(waits: &Waits<'_>, complete: bool) -> Vec<String> {
    let mut lines = vec![
        format!(
            "about {} waits for futexes below malloc and free, {} of waiting over all threads (estimated \
             from sampled stacks)",
            count(waits.number),
            seconds(waits.seconds)
        ),
        format!(
            "{} waits for futexes in all, {} of waiting (counted)",
            count(waits.all.waits),
            seconds(waits.all.seconds)
        ),
    ];
    if let (Some(threads), Some(heaps)) = (waits.threads, waits.heaps) {
        lines.push(format!(
            "threads at the end: {threads}; heaps besides glibc's main one: {heaps}"
        ));
    }
    if let Some(switches) = waits.voluntary_switches {
        lines.push(format!("{} voluntary context switches", count(switches)));
    }
    if !complete {
        lines.push("something was lost, so these are lower bounds".to_owned());
    }
    lines
}

fn cause(waits: &Waits<'_>) -> String {
    let text = format!("threads wait for each other in {}", waits.allocator);
    match &waits.site {
        Some((site, share)) => format!("{text}; {} of the waits come from {site}", percent(*share)),
        None => text,
    }
}

fn remedies(waits: &Waits<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    if waits.allocator.starts_with("glibc") {
        // Threads may have ended since; so many are the default for each CPU.
        let arenas = waits.threads.unwrap_or(0).max(8);
        lines.push(format!(
            "an arena for each thread: no M_ARENA_MAX, or GLIBC_TUNABLES=glibc.malloc.arena_max={arenas} \
             (each may keep memory of its own)"
        ));
        lines.push(
            "for blocks up to 1032 bytes: GLIBC_TUNABLES=glibc.malloc.tcache_count=127 (more of them stay \
             with their thread)"
                .to_owned(),
        );
    }
    let others = ["jemalloc", "tcmalloc", "mimalloc"];
    let others = others.into_iter().filter(|name| !waits.allocator.starts_with(name));
    let others = others.collect::<Vec<_>>().join(" or ");
    lines.push(format!("{others} in place of {} (LD_PRELOAD)", waits.allocator));
    lines.push("free blocks in the thread that took them, or hand back many at once".to_owned());
    lines
}

/// Each doubt takes its part away.
fn confidence(waits: &Waits<'_>, complete: bool) -> f64 {
    let doubts =
        [(waits.site.as_ref().is_none_or(|(_, share)| *share < 0.5), 0.9), (!complete, 0.9)];
    let applying = doubts.iter().filter(|(applies, _)| *applies);
    applying.fold(0.9, |confidence, (_, part)| confidence * part)
}
