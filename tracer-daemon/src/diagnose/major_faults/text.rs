//! What people read of it.

use super::Reads;
use crate::diagnose::estimate::share_of_sum;
use crate::humanize::{count, number, percent, seconds};

/// Mappings that are named.
const MAPPINGS: usize = 3;

pub(super) fn summary(reads: &Reads<'_>, gain: bool) -> String {
    let place = reads.mapping.map_or("memory", |mapping| &mapping.name);
    let text = format!(
        "{} major faults a second, mostly in {place}",
        number(reads.faults as f64 / reads.window)
    );
    match reads.waiting {
        Some((_, share)) if gain => {
            format!("{text}, wait for the disk {} of the target's time", percent(share))
        }
        Some(_) => format!("{text}, of little cost"),
        None => text,
    }
}

pub(super) fn evidence(reads: &Reads<'_>, complete: bool) -> Vec<String> {
    let seen = reads.seen;
    let mut lines = vec![format!(
        "{} major faults by the kernel's count; the places of {} were seen",
        count(reads.faults),
        count(seen.samples)
    )];
    let mappings = seen.mappings.iter().take(MAPPINGS);
    lines.extend(mappings.map(|mapping| format!("{} in {}", percent(mapping.share), mapping.name)));
    lines.push(match seen.waited_seconds {
        Some(waited) => {
            let (waiting, idle) = seen.waits_seen;
            let share = waiting as f64 / idle.max(1) as f64;
            let error = share_of_sum(waited / share.max(f64::MIN_POSITIVE), share, (waiting, idle)).error;
            format!(
                "threads waited for {} (± {}, 95 %): at {} of {} looks at a thread that neither ran nor \
                 queued; about {} for each fault",
                seconds(waited),
                seconds(error),
                count(waiting),
                count(idle),
                seconds(waited / reads.faults as f64)
            )
        }
        None => "how long threads wait is unknown: there are too many to look at".to_owned(),
    });
    if !complete {
        lines.push("something was lost, so the places rest on fewer faults".to_owned());
    }
    lines
}

pub(super) fn cause(reads: &Reads<'_>) -> String {
    let what = match (reads.is_file(), reads.mapping) {
        (Some(true), Some(mapping)) => {
            format!(
                "{} is mapped, and its pages are not in memory when they are touched",
                mapping.name
            )
        }
        (Some(false), Some(mapping)) => format!("{} was swapped out", mapping.name),
        _ => "pages are not in memory when they are touched".to_owned(),
    };
    match &reads.touch {
        Some((site, share)) => {
            format!("{what}; {} of the faults come from {site}", percent(*share))
        }
        None => format!("{what}; no stack tells who touches them"),
    }
}

pub(super) fn remedies(reads: &Reads<'_>) -> Vec<String> {
    if reads.is_file() == Some(false) {
        return vec![
            "mlock(address, length) on what has to be quick, within RLIMIT_MEMLOCK".to_owned(),
            "more memory for it: memory.high and memory.max of its control group, or fewer neighbours"
                .to_owned(),
            "a lower vm.swappiness, so that the kernel drops files' pages first".to_owned(),
        ];
    }
    let name = reads.mapping.map_or("the file", |mapping| &mapping.name);
    vec![
        format!(
            "madvise(address, 131072, MADV_WILLNEED) on each 128 KiB of the mapping of {name} before they are \
             touched (a call for more reads no more than the device's read_ahead_kb), and no MADV_RANDOM"
        ),
        format!(
            "MAP_POPULATE in the mmap of {name}, or mlock(address, length) to keep it, if it fits into memory"
        ),
        format!(
            "read {name} with pread into buffers of 1 MiB and more instead of mapping it, from threads that \
             may wait"
        ),
    ]
}
