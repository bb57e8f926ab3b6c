//! `hole-search`: thousands of holes are too small for what is asked for.
//!
//! Kernels before 3.10 passed them one by one for every `mmap`. Since then the search goes down a
//! tree, so that the holes are a sign of fragmentation and no cost: the finding says so, with the
//! measured time of the calls that searched.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use super::{Cause, Cost, Finding, Severity, area_index::AreaIndex, caller, hot_spot, worth};
use crate::aggregate::Snapshot;
use crate::aggregate::snapshot::{StackTotals, SyscallTotals};
use crate::census::address_space::{AddressSpace, RequestFigures};
use crate::humanize::{bytes, count, percent, seconds, shortened};

/// The name of the finding.
const ID: &str = "hole-search";

/// Fewer holes that are too small are ordinary life.
const MANY_HOLES: u64 = 1_000;

/// The kernel's function that searches.
const SEARCH: &str = "vm_unmapped_area";

/// Characters of a kernel's release in a sentence.
const RELEASE: usize = 40;

/// Looks for sizes that are asked for and that thousands of holes are too small for.
#[must_use]
pub fn hole_search(snapshot: &Snapshot) -> Option<Finding> {
    let space = snapshot.address_space.as_ref()?;
    let mapped = snapshot.mappings.as_ref()?.sizes.iter().map(|size| size.bytes);
    let mapped: HashSet<_> = mapped.collect();
    // Others were asked for on the command line.
    let asked_for = space.requests.iter().filter(|request| mapped.contains(&request.bytes));
    let worst = asked_for.max_by_key(|request| request.holes_too_small)?;
    if worst.holes_too_small < MANY_HOLES {
        return None;
    }
    let release = shortened(&snapshot.tracer.kernel, RELEASE);
    let index = AreaIndex::of(&release);
    let cost = cost(snapshot);
    let severity = severity(index, &cost);
    let gain = severity != Severity::NoGain;
    let (holes, size) = (count(worst.holes_too_small), bytes(worst.bytes));
    let stack = asking(snapshot);
    let site = stack.and_then(caller::call_site).map(caller::site_text);
    let place = site.map_or(String::new(), |site| format!(", mostly in {site},"));
    let summary = if gain {
        format!("each mmap of {size} passes {holes} holes that are too small")
    } else {
        format!(
            "no gain: {holes} holes are too small for {size}, but Linux {release} {}",
            index.search()
        )
    };
    Some(Finding {
        id: ID.to_owned(),
        severity,
        summary,
        evidence: evidence(snapshot, space, worst, (&release, index)),
        cause: Cause {
            text: format!(
                "{size} is asked for{place} among smaller leftovers: {}",
                leftovers(space)
            ),
            bytes: Some(worst.bytes),
            stack: stack.map_or_else(Vec::new, caller::stack_text),
        },
        cost,
        remedy: if gain {
            vec![
                format!("reuse the mappings of {size}: a pool of them"),
                "Linux 3.10 or newer, which finds room in a tree".to_owned(),
            ]
        } else {
            Vec::new()
        },
        predicted_saving: None,
        confidence: if index == AreaIndex::Unknown { 0.6 } else { 0.9 },
    })
}

fn evidence(
    snapshot: &Snapshot,
    space: &AddressSpace,
    worst: &RequestFigures,
    (release, index): (&str, AreaIndex),
) -> Vec<String> {
    let size = bytes(worst.bytes);
    let mut lines = vec![format!(
        "from the top down, {} of {} holes are too small for {size}",
        count(worst.holes_too_small),
        count(space.holes.count)
    )];
    let asked = snapshot.mappings.as_ref().and_then(|mappings| {
        let row = mappings.sizes.iter().find(|row| row.bytes == worst.bytes)?;
        let share = row.cycles as f64 / mappings.cycles.max(1) as f64;
        Some(format!(
            "{size} was mapped and unmapped {} times in the window ({} of all such mappings)",
            count(row.cycles),
            percent(share)
        ))
    });
    lines.extend(asked);
    if let Some(mmap) = called(snapshot) {
        lines.push(format!(
            "an mmap took {} on average (of {}): the search is a part of it",
            seconds(mmap.seconds / mmap.calls as f64),
            count(mmap.calls)
        ));
    }
    lines.push(match searches(snapshot) {
        Some((calls, time)) => {
            format!(
                "the search itself (vm_unmapped_area): {} calls, {}",
                count(calls),
                seconds(time)
            )
        }
        None => "the cost is that of all mmap calls: an upper bound".to_owned(),
    });
    lines.push(format!("the search of Linux {release} {}", index.search()));
    lines
}

/// The heaviest stack of the searches, else of the calls that search.
fn asking(snapshot: &Snapshot) -> Option<&StackTotals> {
    hot_spot::at(snapshot, "lookup", |function| function == SEARCH)
        .map(|spot| spot.stack)
        .or_else(|| caller::heaviest_stack(snapshot, "mmap"))
}

fn leftovers(space: &AddressSpace) -> String {
    let rows = space.holes.sizes.iter().take(3);
    let rows: Vec<_> =
        rows.map(|row| format!("{} holes of {}", count(row.holes), bytes(row.bytes))).collect();
    rows.join(", ")
}

fn called(snapshot: &Snapshot) -> Option<&SyscallTotals> {
    let mmap = snapshot.syscalls.get("mmap")?;
    (mmap.calls > 0 && (0.0..1e12).contains(&mmap.seconds)).then_some(mmap)
}

/// How often the kernel searched for room, and the time that it took by the samples of the clock.
fn searches(snapshot: &Snapshot) -> Option<(u64, f64)> {
    let totals = snapshot.lookups.get(SEARCH)?;
    let time = totals.seconds.filter(|time| (0.0..1e12).contains(time))?;
    Some((totals.calls, time))
}

/// The search where it was measured, else all of `mmap`: the most that its search can take.
fn cost(snapshot: &Snapshot) -> Cost {
    let whole_call = called(snapshot).map_or(0.0, |mmap| mmap.seconds);
    let time = searches(snapshot).map_or(whole_call, |(_, time)| time);
    let cpu = snapshot.cpu.seconds().filter(|cpu| (1e-6..1e12).contains(cpu));
    let per_second = Some(time / snapshot.window.seconds).filter(|cost| cost.is_finite());
    Cost {
        cpu_seconds_per_second: per_second.unwrap_or(0.0).max(0.0),
        share_of_target: cpu.map(|cpu| (time / cpu).min(1.0)),
        ..Cost::default()
    }
}

fn severity(index: AreaIndex, cost: &Cost) -> Severity {
    if !index.walks_holes() {
        return Severity::NoGain;
    }
    worth::severity(cost.cpu_seconds_per_second, cost.share_of_target)
}
