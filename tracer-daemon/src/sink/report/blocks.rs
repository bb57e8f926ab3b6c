use super::{
    allocation_sites::asking,
    page::{Page, Tone},
    sites,
};
use crate::{
    aggregate::{
        snapshot::{BlockSum, BlockTotals, FollowedBlocks, Snapshot, StackTotals},
        stack_kind::MALLOC,
    },
    humanize::{bytes, count, percent, seconds},
};

const SITES_SHOWN: usize = 10;

/// What became of the blocks that the allocator handed out.
pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    let Some(followed) = snapshot.allocations.as_ref().and_then(|all| all.blocks.as_ref()) else {
        return;
    };
    let samples = count(followed.samples);
    page.heading(&format!("what became of the blocks (estimated from {samples} of them)"));
    page.prose(Tone::Plain, "  ", &fate(&followed.totals));
    lifetimes(page, &followed.totals);
    outstanding(page, snapshot);
    page.prose(Tone::Dim, "  ", &coverage(followed, snapshot.window.seconds));
    if !followed.untold.is_empty() {
        let text = format!(
            "not followed, for not every return of theirs can be seen: {}",
            followed.untold.join(", ")
        );
        page.prose(Tone::Warning, "  ", &text);
    }
}

fn fate(totals: &BlockTotals) -> String {
    let some = |sum: &BlockSum| format!("{} in {} blocks", bytes(sum.bytes), count(sum.blocks));
    let mut parts = vec![format!("freed {}", some(&totals.freed))];
    match &totals.outstanding {
        Some(outstanding) => parts.push(format!("outstanding {}", some(outstanding))),
        None => parts.push("what is outstanding is unknown".to_owned()),
    }
    if totals.unknown.blocks > 0 {
        parts.push(format!("freed or not, nobody knows: {}", some(&totals.unknown)));
    }
    parts.join("; ")
}

/// By powers of ten: those of two are many.
fn lifetimes(page: &mut Page, totals: &BlockTotals) {
    const LIMITS: [f64; 7] = [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0];
    let all: f64 = totals.lifetimes.iter().map(|class| class.blocks as f64).sum();
    if all <= 0.0 {
        return;
    }
    let below = |limit: f64| {
        let classes = totals.lifetimes.iter().filter(|class| class.seconds <= limit);
        classes.map(|class| class.blocks as f64).sum::<f64>() / all
    };
    let shares = LIMITS.map(|limit| (limit, below(limit)));
    let new = |at: &usize| *at == 0 || shares[*at].1 > shares[at - 1].1;
    let told = (0..shares.len()).filter(|at| shares[*at].1 > 0.0).filter(new);
    let told = told.map(|at| format!("<{} {}", seconds(shares[at].0), percent(shares[at].1)));
    let told: Vec<_> = told.collect();
    let text = if told.is_empty() { "all longer than 10 s".to_owned() } else { told.join(", ") };
    page.prose(Tone::Plain, "  lifetimes of those freed: ", &text);
}

/// The code that holds most.
fn outstanding(page: &mut Page, snapshot: &Snapshot) {
    let stacks: Vec<_> = snapshot.stacks.iter().filter(|stack| stack.kind == MALLOC).collect();
    let held = heaviest(&stacks, |totals| totals.outstanding.map_or(0, |sum| sum.bytes) as f64);
    let all: f64 = held.iter().map(|(_, bytes)| bytes).sum();
    if all <= 0.0 {
        return;
    }
    let freed = heaviest(&stacks, |totals| totals.freed.bytes as f64);
    page.line(Tone::Dim, &row("held", "", "freed", "function ← its caller ← …"));
    for (site, weight) in held.iter().filter(|(_, bytes)| *bytes > 0.0).take(SITES_SHOWN) {
        let freed = freed.iter().find(|(name, _)| name == site).map_or(0.0, |(_, bytes)| *bytes);
        let row = row(&bytes(*weight as u64), &percent(weight / all), &bytes(freed as u64), site);
        page.line(Tone::Plain, &row);
    }
}

fn heaviest(stacks: &[&StackTotals], weight: impl Fn(&BlockTotals) -> f64) -> Vec<(String, f64)> {
    let known = stacks.iter().filter_map(|stack| Some((stack, stack.blocks.as_ref()?)));
    sites::heaviest(known.map(|(stack, totals)| (asking(&stack.frames), weight(totals))))
}

fn row(held: &str, share: &str, freed: &str, site: &str) -> String {
    format!("  {held:>10} {share:>7} {freed:>10}  {site}")
}

fn coverage(followed: &FollowedBlocks, window: f64) -> String {
    let (out, back) = (count(followed.handed_out), count(followed.given_back));
    let mut text =
        format!("{out} blocks were handed out and {back} given back while they were followed");
    let older = followed.freed_from_before();
    if older > 0 {
        text.push_str(&format!(", of which {} or more are from before", count(older)));
    }
    if followed.totals.outstanding.is_none() {
        text.push_str(&format!(
            "; that was for {} of {}, for results cost more than the budget allows: allow for more with \
             --budget",
            seconds(followed.seconds),
            seconds(window)
        ));
    }
    text
}
