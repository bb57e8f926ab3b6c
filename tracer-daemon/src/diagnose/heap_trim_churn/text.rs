use super::Churn;
use crate::diagnose::allocator_settings::glibc_keeps;
use crate::diagnose::caller::Caller;
use crate::humanize::{bytes, count, number, percent, seconds};

/// The finding in one line.
pub(super) fn summary(churn: &Churn<'_>, gain: bool) -> String {
    let rate = number(churn.trims.cycles as f64 / churn.cost.window_seconds);
    let what = format!("the heap is trimmed and grown again {rate} times a second");
    let cost = churn.cost.text();
    if gain {
        format!("{what}, cost {cost}")
    } else {
        format!("no gain: {what}, but it costs only {cost}")
    }
}

/// The measured numbers.
pub(super) fn evidence(churn: &Churn<'_>, complete: bool) -> Vec<String> {
    let (trims, cost) = (churn.trims, &churn.cost);
    let each = |total: f64| total / trims.cycles as f64;
    let mut lines = vec![
        format!(
            "the break fell and rose again {} times: {}/s over {}",
            count(trims.cycles),
            number(trims.cycles as f64 / cost.window_seconds),
            seconds(cost.window_seconds)
        ),
        format!(
            "{} taken again each time, with {} brk calls; the deepest fall was {}",
            bytes(trims.bytes / trims.cycles),
            number(each(trims.calls as f64)),
            bytes(trims.deepest_bytes)
        ),
    ];
    if let Some(faults) = cost.fault_count {
        lines.push(format!("{} minor faults each time inside that memory", number(each(faults))));
    }
    lines.extend(cost.evidence(trims.cycles));
    if let Some((_, share)) = &churn.site {
        let share = percent(*share);
        lines.push(format!("{share} of the sampled brk calls have the call site of the cause"));
    }
    if let Some(allocator) = churn.allocator {
        lines.push(format!("allocator: {allocator}"));
    }
    if !complete {
        lines.push("something was lost: the counts are lower bounds".to_owned());
    }
    lines
}

/// Who lowers the break.
pub(super) fn cause(churn: &Churn<'_>) -> String {
    let size = bytes(churn.trims.deepest_bytes);
    let from = churn.site.as_ref().map_or(String::new(), |(site, _)| format!(", called by {site}"));
    match churn.caller {
        Caller::Glibc => format!(
            "free leaves more than M_TRIM_THRESHOLD at the top of glibc's heap, which gives up to \
             {size} back with brk, and malloc takes it again{from}"
        ),
        Caller::Unknown => format!(
            "the break falls by up to {size} and rises again; no stack tells who moves it: glibc's \
             malloc or the program"
        ),
        _ => format!("the program itself lowers the break by up to {size} and raises it{from}"),
    }
}

/// What to do, best first.
pub(super) fn remedies(churn: &Churn<'_>) -> Vec<String> {
    let place = churn.site.as_ref().map_or(String::new(), |(site, _)| format!(" in {site}"));
    let reuse = format!(
        "reuse the memory{place}: {} that stay from one time to the next",
        bytes(churn.trims.deepest_bytes)
    );
    match churn.caller {
        Caller::Glibc => [glibc_keeps(churn.trims.deepest_bytes), vec![reuse]].concat(),
        Caller::Unknown => {
            let condition = vec!["if glibc's malloc moves the break:".to_owned()];
            [vec![reuse], condition, glibc_keeps(churn.trims.deepest_bytes)].concat()
        }
        _ => vec![
            reuse,
            "or leave the break where it is: sbrk with a negative number and malloc_trim give \
             pages back that the next rise has to fault in again"
                .to_owned(),
        ],
    }
}
