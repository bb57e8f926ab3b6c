use super::page::{Page, Tone};
use super::sites;
use crate::aggregate::snapshot::{LookupTotals, Snapshot, StackTotals};
use crate::humanize::{count, number, percent};

/// Shares below are left out of a line.
const WORTH_NAMING: f64 = 0.01;
/// User code that is named for each function.
const SITES_SHOWN: usize = 3;
/// Mappings that are named for each function.
const MAPPINGS_SHOWN: usize = 4;

/// Look-ups of areas, and searches for room.
pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    if snapshot.lookups.values().all(|totals| totals.calls == 0) {
        return;
    }
    page.heading("look-ups of areas");
    let window = snapshot.window.seconds;
    page.line(Tone::Dim, "  function                     calls   per second   of its CPU");
    for (function, totals) in &snapshot.lookups {
        let name = function.chars().take(22).collect::<String>();
        let share = totals.share.map_or("unknown".to_owned(), percent);
        let rate = number(totals.calls as f64 / window);
        let line = format!("  {name:<22} {:>11} {rate:>12} {share:>12}", count(totals.calls));
        page.line(Tone::Plain, &line);
        ways(page, totals);
        callers(page, snapshot, function, totals);
        mappings(page, totals);
    }
}

fn ways(page: &mut Page, totals: &LookupTotals) {
    let mut why: Vec<_> = totals.why.iter().filter(|(_, share)| **share >= WORTH_NAMING).collect();
    why.sort_by(|a, b| b.1.total_cmp(a.1));
    if why.is_empty() {
        return;
    }
    let words: Vec<_> =
        why.iter().map(|(why, share)| format!("{why} {}", percent(**share))).collect();
    let path = totals.paths.first().map(|path| path.frames.join(" ← "));
    let path = path.filter(|path| !path.is_empty()).map(|path| format!("; mostly from {path}"));
    let text = format!("{}{}", words.join(", "), path.unwrap_or_default());
    page.prose(Tone::Dim, "    for ", &text);
}

/// The user code that made most of a function's look-ups.
fn callers(page: &mut Page, snapshot: &Snapshot, function: &str, totals: &LookupTotals) {
    let is_its =
        |stack: &&StackTotals| stack.kind == "lookup" && stack.place.as_deref() == Some(function);
    let its = snapshot.stacks.iter().filter(is_its);
    let sites = sites::heaviest(its.map(|stack| (&*stack.frames, stack.count as f64)));
    // What the samples stand for may be more than there were.
    let share = |count: f64| (count / totals.calls.max(1) as f64).min(1.0);
    for (site, count) in sites.into_iter().take(SITES_SHOWN) {
        let share = percent(share(count));
        page.line(Tone::Dim, &format!("    by {share:>7}  {site}"));
    }
}

/// The mappings that were looked up most.
fn mappings(page: &mut Page, totals: &LookupTotals) {
    let worth = totals.mappings.iter().filter(|row| row.share >= WORTH_NAMING);
    for row in worth.take(MAPPINGS_SHOWN) {
        let times = if row.areas > 1 { format!(" × {}", count(row.areas)) } else { String::new() };
        page.line(Tone::Dim, &format!("    in {:>7}  {}{times}", percent(row.share), row.name));
    }
}
