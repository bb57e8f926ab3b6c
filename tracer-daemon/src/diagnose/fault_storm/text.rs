use super::Storm;
use crate::aggregate::faults::FaultCause;
use crate::diagnose::allocator_settings::{glibc_keeps, keep_pages};
use crate::diagnose::caller::Caller;
use crate::humanize::{bytes, count, number, percent, seconds};

/// Mappings that the evidence lists.
const MAPPINGS_SHOWN: usize = 3;

/// The finding in one line.
pub(super) fn summary(storm: &Storm<'_>, gain: bool) -> String {
    let rate = number(storm.faults / storm.cost.window_seconds);
    let what = format!("{rate} faults a second on memory that had been there before");
    let cost = storm.cost.text();
    if gain {
        format!("{what}, cost {cost}")
    } else {
        format!("no gain: {what}, but they cost only {cost}")
    }
}

/// The measured numbers.
pub(super) fn evidence(storm: &Storm<'_>, complete: bool) -> Vec<String> {
    let (refaults, cost) = (storm.refaults, &storm.cost);
    let share = percent(refaults.faults.share.unwrap_or(0.0));
    let mut lines = vec![format!(
        "{} faults, {share} of all, on memory that {}: {}/s over {}",
        count(storm.faults as u64),
        why(refaults.cause),
        number(storm.faults / cost.window_seconds),
        seconds(cost.window_seconds)
    )];
    let shown = refaults.mappings.iter().take(MAPPINGS_SHOWN);
    let places: Vec<_> =
        shown.map(|row| format!("{} ({})", row.name, percent(row.share))).collect();
    if !places.is_empty() {
        lines.push(format!("where: {}", places.join(", ")));
    }
    if let Some(advice) = &storm.advice {
        lines.push(format!(
            "{} madvise calls, of {} on average, with {} faults after each",
            count(advice.calls),
            bytes(advice.bytes / advice.calls),
            number(storm.faults / advice.calls as f64)
        ));
    }
    lines.extend(cost.evidence(storm.cycles()));
    if let Some((site, share)) = &storm.touch {
        lines.push(format!("{} of them are touched by {site}", percent(*share)));
    }
    if !complete {
        lines.push("something was lost: the counts are lower bounds".to_owned());
    }
    lines
}

fn why(cause: FaultCause) -> &'static str {
    match cause {
        FaultCause::Advised => "madvise had given back",
        FaultCause::Forked => "a fork had made shared",
        FaultCause::New | FaultCause::Trimmed | FaultCause::Repeated => {
            "no call of the program had given back"
        }
    }
}

/// What takes the pages away, and who touches them.
pub(super) fn cause(storm: &Storm<'_>) -> String {
    let mapping = storm.refaults.mappings.first().map_or("memory", |row| row.name.as_str());
    let touch = storm.touch.as_ref();
    let touch = touch.map_or(String::new(), |(site, _)| format!("; touched again by {site}"));
    let reason = match (storm.refaults.cause, &storm.advice) {
        (FaultCause::Advised, Some(advice)) => {
            let who = match advice.caller {
                Caller::Glibc => "glibc's free, at the top of an arena",
                Caller::Allocator(name) => name,
                _ => "the program",
            };
            let site = advice.site.as_ref().map_or(String::new(), |site| format!(", called by {site}"));
            format!("madvise gives pages back ({who}{site})")
        }
        (FaultCause::Advised, None) => "madvise gave pages back".to_owned(),
        (FaultCause::Forked, _) => {
            "after a fork parent and child share their pages, and each one that is written to faults \
             and is copied"
                .to_owned()
        }
        _ => "the kernel takes pages away by itself: it is short of memory (or a limit of the control \
              group is), or moves pages between NUMA nodes"
            .to_owned(),
    };
    format!("{mapping}: {reason}{touch}")
}

/// What to do, best first.
pub(super) fn remedies(storm: &Storm<'_>) -> Vec<String> {
    let huge = "or let a fault bring in more: madvise(MADV_HUGEPAGE) for memory of 2 MiB and more"
        .to_owned();
    match (storm.refaults.cause, &storm.advice) {
        (FaultCause::Advised, Some(advice)) => {
            let bytes_each = advice.bytes / advice.calls;
            let place = advice.site.as_ref().map_or(String::new(), |site| format!(" in {site}"));
            let mine = match advice.caller {
                Caller::Glibc => glibc_keeps(bytes_each),
                Caller::Allocator(name) => vec![keep_pages(name).to_owned()],
                _ => vec![
                    format!(
                        "do not give the memory back{place}: keep the {} and use them again",
                        bytes(bytes_each)
                    ),
                    "or madvise(MADV_FREE) instead of MADV_DONTNEED (private anonymous memory only): \
                     the kernel takes the pages when it needs them"
                        .to_owned(),
                ],
            };
            [mine, vec![huge]].concat()
        }
        (FaultCause::Forked, _) => {
            let mapping = storm.refaults.mappings.first().map_or("the memory", |row| &row.name);
            vec![
                "start programs with posix_spawn or vfork instead of fork: they copy nothing"
                    .to_owned(),
                format!("where the child does not need {mapping}: madvise(MADV_DONTFORK) on it"),
                "or fork from a small helper process, before the memory is there".to_owned(),
                huge,
            ]
        }
        _ => vec![
            "see what takes the pages: /proc/pressure/memory, memory.high and memory.max of the \
             control group, sysctl kernel.numa_balancing"
                .to_owned(),
            "where memory is short: more of it, or mlock for what must stay".to_owned(),
        ],
    }
}
