use super::page::{Page, Tone};
use crate::aggregate::{
    allocations::{Allocations, FunctionTotals},
    snapshot::Snapshot,
};
use crate::humanize::{bytes, count, number, percent};
use crate::probes::catalog::MALLOC;

/// Functions of a recording that was written by somebody else are no more than this.
const MOST_FUNCTIONS: usize = 20;

/// Calls of the allocator.
pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    let Some(all) = &snapshot.allocations else { return };
    let allocator = snapshot.target.allocator.as_deref().unwrap_or("unknown");
    page.heading(&format!("calls of the allocator: {allocator}"));
    let watched = snapshot.window.seconds * all.duty;
    let rate = if all.sampled { "per s, at least" } else { "per s" };
    page.line(Tone::Dim, &row(["", "calls", rate, "bytes", "mean size"].map(str::to_owned)));
    let mut functions: Vec<_> = all.functions.iter().filter(|(_, one)| one.calls > 0).collect();
    functions.sort_by_key(|(_, totals)| std::cmp::Reverse(totals.calls));
    for (name, totals) in functions.into_iter().take(MOST_FUNCTIONS) {
        page.line(Tone::Plain, &function(name, totals, watched));
    }
    sizes(page, all);
    page.prose(Tone::Dim, "  ", &coverage(all));
    let row = snapshot.tracer.probes.iter().find(|row| row.signal == MALLOC);
    if let Some(left_out) =
        row.filter(|row| row.backend.is_some()).and_then(|row| row.reason.as_ref())
    {
        page.prose(Tone::Warning, "  ", left_out);
    }
}

fn function(name: &str, totals: &FunctionTotals, watched: f64) -> String {
    let mean = |bytes: u64| bytes.checked_div(totals.calls);
    row([
        name.chars().take(16).collect(),
        count(totals.calls),
        number(totals.calls as f64 / watched),
        totals.bytes.map_or(String::new(), bytes),
        totals.bytes.and_then(mean).map_or(String::new(), bytes),
    ])
}

fn row([name, calls, rate, bytes, mean]: [String; 5]) -> String {
    format!("  {name:<16} {calls:>14} {rate:>15} {bytes:>12} {mean:>12}")
}

/// What was asked for, by powers of two; the calls that ask for something are the whole.
fn sizes(page: &mut Page, all: &Allocations) {
    let whole: u64 = all.sizes.iter().map(|size| size.calls).fold(0, u64::saturating_add);
    let share = |calls: u64| percent(calls as f64 / whole as f64);
    let classes =
        all.sizes.iter().map(|size| format!("≤{} {}", bytes(size.bytes), share(size.calls)));
    if whole > 0 {
        page.prose(Tone::Plain, "  sizes: ", &classes.collect::<Vec<_>>().join(", "));
    }
}

fn coverage(all: &Allocations) -> String {
    if !all.sampled {
        return "every call was counted".to_owned();
    }
    format!(
        "counted in {} of the time, to keep within the budget, at random moments; shares hold for all of \
         it, but probes slow the target while they are in: at other times it may call more often",
        percent(all.duty)
    )
}
