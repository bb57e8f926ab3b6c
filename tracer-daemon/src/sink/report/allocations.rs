use tracer_common::LARGEST_EXACT_SIZE;

use super::page::{Page, Tone};
use crate::aggregate::{
    allocation_rate::CallRate,
    allocations::{Allocations, FunctionTotals},
    exact_sizes::{ExactSize, Taken},
    snapshot::Snapshot,
};
use crate::humanize::{bytes, count, number, percent};
use crate::probes::catalog::MALLOC;

/// Functions of a recording that was written by somebody else are no more than this.
const MOST_FUNCTIONS: usize = 20;

const SIZES_SHOWN: usize = 8;

/// Calls of the allocator.
pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    let Some(all) = &snapshot.allocations else { return };
    let allocator = snapshot.target.allocator.as_deref().unwrap_or("unknown");
    page.heading(&format!("calls of the allocator: {allocator}"));
    let rate = Rate::of(all, snapshot.window.seconds);
    page.line(Tone::Dim, &row(["", "calls", rate.name, "bytes", "mean size"].map(str::to_owned)));
    let mut functions: Vec<_> = all.functions.iter().filter(|(_, one)| one.calls > 0).collect();
    functions.sort_by_key(|(_, totals)| std::cmp::Reverse(totals.calls));
    for (name, totals) in functions.into_iter().take(MOST_FUNCTIONS) {
        page.line(Tone::Plain, &function(name, totals, &rate));
    }
    failures(page, all);
    sizes(page, all);
    exact_sizes(page, all);
    taken(page, all);
    page.prose(Tone::Dim, "  ", &coverage(all));
    let row = snapshot.tracer.probes.iter().find(|row| row.signal == MALLOC);
    if let Some(left_out) =
        row.filter(|row| row.backend.is_some()).and_then(|row| row.reason.as_ref())
    {
        page.prose(Tone::Warning, "  ", left_out);
    }
}

/// What the column of rates says.
struct Rate {
    name: &'static str,
    /// Per second, of a call that was counted.
    of_a_call: f64,
}

impl Rate {
    fn of(all: &Allocations, seconds: f64) -> Self {
        let calls: u64 = all.functions.values().map(|one| one.calls).fold(0, u64::saturating_add);
        let (name, rate) = match all.calls_per_second {
            Some(CallRate { estimate: Some(rate), .. }) if all.sampled => ("per s, about", rate),
            Some(CallRate { estimate: Some(rate), .. }) => ("per s", rate),
            Some(CallRate { low, .. }) => ("per s, at least", low),
            // What was counted happened.
            None => ("per s, at least", calls as f64 / seconds),
        };
        Self { name, of_a_call: if calls > 0 { rate / calls as f64 } else { 0.0 } }
    }
}

fn function(name: &str, totals: &FunctionTotals, rate: &Rate) -> String {
    let mean = |bytes: u64| bytes.checked_div(totals.calls);
    row([
        name.chars().take(16).collect(),
        count(totals.calls),
        number(totals.calls as f64 * rate.of_a_call),
        totals.bytes.map_or(String::new(), bytes),
        totals.bytes.and_then(mean).map_or(String::new(), bytes),
    ])
}

fn row([name, calls, rate, bytes, mean]: [String; 5]) -> String {
    format!("  {name:<16} {calls:>14} {rate:>15} {bytes:>12} {mean:>12}")
}

/// Calls that got nothing: rare, and worth a word.
fn failures(page: &mut Page, all: &Allocations) {
    let failed = all.functions.iter().filter_map(|(name, one)| Some((name, one.failures?)));
    let failed = failed.filter(|(_, calls)| *calls > 0).take(MOST_FUNCTIONS);
    let texts: Vec<_> = failed.map(|(name, calls)| format!("{name} {}", count(calls))).collect();
    if !texts.is_empty() {
        page.prose(Tone::Warning, "  calls that got no memory: ", &texts.join(", "));
    }
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

/// The most frequent ones.
fn exact_sizes(page: &mut Page, all: &Allocations) {
    let size = |size: &ExactSize| format!("{} ×{}", bytes(size.bytes), count(size.calls));
    let sizes: Vec<_> = all.exact_sizes.iter().take(SIZES_SHOWN).map(size).collect();
    if !sizes.is_empty() {
        page.prose(Tone::Plain, "  most often: ", &sizes.join(", "));
    }
}

/// What the allocator takes for small blocks, by the classes of `sizes`.
fn taken(page: &mut Page, all: &Allocations) {
    if all.exact_sizes.is_empty() {
        return;
    }
    let limit = bytes(LARGEST_EXACT_SIZE);
    let Some(rule) = &all.size_rule else {
        let text =
            format!("what it takes for blocks of up to {limit} is unknown for this allocator");
        return page.prose(Tone::Dim, "  ", &text);
    };
    let row = |class: &str, sum: Taken| {
        let waste = percent(sum.waste() as f64 / sum.taken as f64);
        let cells = [count(sum.calls), bytes(sum.asked), bytes(sum.taken), waste];
        let [calls, asked, taken, waste] = cells;
        format!("  {class:<16} {calls:>14} {asked:>15} {taken:>12} {waste:>12}")
    };
    let head = format!(
        "  {:<16} {:>14} {:>15} {:>12} {:>12}",
        "small blocks", "calls", "asked for", "taken", "waste"
    );
    page.line(Tone::Dim, &head);
    for (class, sum) in Taken::by_class(&all.exact_sizes) {
        page.line(Tone::Plain, &row(&format!("≤{}", bytes(class)), sum));
    }
    page.line(Tone::Plain, &row("all of them", Taken::sum(&all.exact_sizes)));
    page.prose(Tone::Dim, "  ", &format!("taken for a block: {rule}"));
}

fn coverage(all: &Allocations) -> String {
    if !all.sampled {
        return "every call was counted".to_owned();
    }
    let counted = format!(
        "counted in {} of the time, to keep within the budget, at random moments; shares hold for all of it",
        percent(all.duty)
    );
    match all.calls_per_second {
        Some(CallRate { estimate: Some(rate), low, high: Some(high) }) => format!(
            "{counted}; {} calls per second altogether, {} to {} with 95 %",
            number(rate),
            number(low),
            number(high)
        ),
        _ => format!(
            "{counted}, but how much the probes slow the target while they are in is too uncertain for a rate"
        ),
    }
}
