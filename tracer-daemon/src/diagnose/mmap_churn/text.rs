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
    let at_least = if churn.faults.is_none() { "at least " } else { "" };
    let cost = match churn.share_of_target() {
        Some(share) => format!("{at_least}{} of the target's CPU time", percent(share)),
        None => format!("{at_least}{} of one CPU", percent(churn.cost_per_second())),
    };
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
        seconds(churn.window_seconds)
    )];
    lines.extend(mappings.and_then(sizes));
    if let Some(lifetime) = mappings.and_then(|mappings| mappings.lifetime_seconds) {
        lines.push(format!("half of them lived for less than {}", seconds(lifetime.p50)));
    }
    if let Some(faults) = churn.fault_count {
        let per_cycle = number(faults / churn.cycles as f64);
        lines.push(format!("{per_cycle} minor faults in each of them"));
    }
    lines.push(time_per_cycle(churn));
    if let Some(share) = stack_share {
        let share = percent(share);
        lines.push(format!("{share} of the sampled mmap calls have the stack of the cause"));
    }
    if churn.exceeds_target() {
        lines.push(
            "the calls took longer than the target's CPU time: some of it they waited".to_owned(),
        );
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

fn time_per_cycle(churn: &Churn) -> String {
    let each = |total: f64| seconds(total / churn.cycles as f64);
    let total = churn.cost_per_second() * churn.window_seconds;
    let calls = format!(
        "kernel time of each: {} (mmap {}, munmap {}",
        each(total),
        each(churn.mmap_seconds),
        each(churn.munmap_seconds)
    );
    match churn.faults {
        Some(faults) => format!("{calls}, faults {})", each(faults.value)),
        None => format!("{calls}); the time of faults is unknown and not in it: a lower bound"),
    }
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
