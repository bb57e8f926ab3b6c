use super::measure::Churn;
use crate::aggregate::Snapshot;
use crate::aggregate::snapshot::Mappings;
use crate::diagnose::caller::Caller;
use crate::humanize::{bytes, count, number, percent, seconds};

/// Sizes that the evidence lists.
const SIZES_SHOWN: usize = 3;

/// The finding in one line.
pub(super) fn summary(churn: &Churn, gain: bool) -> String {
    let rate = number(churn.cycles_per_second);
    let what = match churn.dominant_size {
        Some(size) => format!("{rate} short-lived mappings a second, mostly {}", bytes(size)),
        None => format!("{rate} short-lived mappings a second"),
    };
    let cost = churn.cost.text();
    if gain {
        format!("{what}, cost {cost}")
    } else {
        format!("no gain: {what}, but they cost only {cost}")
    }
}

/// The measured numbers.
pub(super) fn evidence(
    churn: &Churn,
    snapshot: &Snapshot,
    stack_share: Option<f64>,
) -> Vec<String> {
    let mappings = snapshot.mappings.as_ref();
    let mut lines = vec![format!(
        "{} mappings lived for less than a second: {}/s over {}",
        count(churn.cycles),
        number(churn.cycles_per_second),
        seconds(churn.cost.window_seconds)
    )];
    lines.extend(mappings.and_then(sizes));
    if let Some(lifetime) = mappings.and_then(|mappings| mappings.lifetime_seconds) {
        lines.push(format!("half of them lived for less than {}", seconds(lifetime.p50)));
    }
    if let Some(faults) = churn.cost.fault_count {
        let per_cycle = number(faults / churn.cycles as f64);
        lines.push(format!("{per_cycle} minor faults in each of them"));
    }
    lines.extend(churn.cost.evidence(churn.cycles));
    if let Some(share) = stack_share {
        let share = percent(share);
        lines.push(format!("{share} of the sampled mmap calls have the stack of the cause"));
    }
    if !snapshot.window.complete {
        lines.push("something was lost: the counts are lower bounds".to_owned());
    }
    lines
}

fn sizes(mappings: &Mappings) -> Option<String> {
    let all = mappings.cycles.max(1) as f64;
    let shares: Vec<_> = mappings
        .sizes
        .iter()
        .take(SIZES_SHOWN)
        .map(|size| format!("{} ({})", bytes(size.bytes), percent(size.cycles as f64 / all)))
        .collect();
    (!shares.is_empty()).then(|| format!("sizes: {}", shares.join(", ")))
}

/// Where the mappings come from.
pub(super) fn cause(churn: &Churn, caller: Caller, site: Option<&str>) -> String {
    let size = churn.dominant_size.map_or("some size".to_owned(), bytes);
    let from = site.map_or(String::new(), |site| format!(", asked for by {site}"));
    match caller {
        Caller::Glibc => format!(
            "glibc's malloc serves blocks of about {size} with a mapping each and unmaps it at free{from}"
        ),
        Caller::Musl => format!(
            "musl's malloc serves blocks of about {size} with a mapping each and unmaps it at free{from}"
        ),
        Caller::Allocator(name) => {
            format!("{name} maps {size} and gives it back at once{from}")
        }
        Caller::ThreadStack => format!("threads start and end: each takes a stack of {size}{from}"),
        Caller::Direct => format!("the program itself maps and unmaps {size}{from}"),
        Caller::Unknown => {
            format!(
                "mappings of {size}; no stack tells who makes them: an allocator or the program"
            )
        }
    }
}
