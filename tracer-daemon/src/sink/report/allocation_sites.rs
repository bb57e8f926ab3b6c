use std::collections::HashMap;

use super::{
    page::{Page, Tone},
    sites,
};
use crate::{
    aggregate::{
        snapshot::{Frame, Snapshot, StackTotals},
        stack_kind::MALLOC,
    },
    diagnose::from_call_site,
    humanize::{bytes, count, percent},
};

const SITES_SHOWN: usize = 10;

/// The code that asks the allocator for memory.
pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    let stacks: Vec<_> = snapshot.stacks.iter().filter(|stack| stack.kind == MALLOC).collect();
    let (all_bytes, all_calls) = (sum(&stacks, |stack| stack.bytes), sum(&stacks, |one| one.count));
    if stacks.is_empty() {
        return;
    }
    let samples = snapshot.allocations.as_ref().map_or(0, |all| all.stack_samples);
    page.heading(&format!("which code asks for it (estimated from {} samples)", count(samples)));
    page.line(Tone::Dim, &row("bytes", "", "calls", "function ← its caller ← …"));
    let calls: HashMap<_, _> = heaviest(&stacks, |stack| stack.count).into_iter().collect();
    let sites = heaviest(&stacks, |stack| stack.bytes);
    for (site, weight) in sites.iter().take(SITES_SHOWN) {
        let share = percent(weight / all_bytes);
        let of_calls = calls.get(site).map_or(0.0, |calls| calls / all_calls);
        page.line(Tone::Plain, &row(&bytes(*weight as u64), &share, &percent(of_calls), site));
    }
    let more = sites.len().saturating_sub(SITES_SHOWN);
    if more > 0 {
        page.line(Tone::Dim, &format!("  and {more} more"));
    }
}

fn row(bytes: &str, share: &str, calls: &str, site: &str) -> String {
    format!("  {bytes:>10} {share:>7} {calls:>7}  {site}")
}

fn sum(stacks: &[&StackTotals], weight: impl Fn(&StackTotals) -> u64) -> f64 {
    stacks.iter().map(|stack| weight(stack) as f64).sum()
}

fn heaviest(stacks: &[&StackTotals], weight: impl Fn(&StackTotals) -> u64) -> Vec<(String, f64)> {
    sites::heaviest(stacks.iter().map(|stack| (asking(&stack.frames), weight(stack) as f64)))
}

/// The innermost function that is not the allocator's or a library's, and its callers; where there is none,
/// whatever is known.
pub(super) fn asking(frames: &[Frame]) -> &[Frame] {
    match from_call_site(frames) {
        [] => frames,
        site => site,
    }
}
