//! What people read of it.

use tracer_common::LARGEST_EXACT_SIZE;

use super::Waste;
use crate::{
    aggregate::exact_sizes::Taken,
    diagnose::MemorySaving,
    humanize::{bytes, count, percent},
};

/// Sizes that are named.
const SIZES: usize = 4;

pub(super) fn summary(waste: &Waste<'_>, gain: bool) -> String {
    let worst = waste.worst().first().map_or(String::new(), |(size, _)| bytes(*size));
    let text = format!(
        "{} of what {} takes for blocks is nobody's, most of it for blocks of {worst}",
        percent(waste.share),
        waste.allocator
    );
    if gain { format!("{text}: about {} that stay", bytes(waste.saving.bytes)) } else { text }
}

pub(super) fn evidence(waste: &Waste<'_>, complete: bool) -> Vec<String> {
    let Taken { calls, asked, taken } = waste.small;
    let limit = bytes(LARGEST_EXACT_SIZE);
    let mut lines = vec![format!(
        "{} calls for up to {limit} asked for {}; {} takes {} for them, {} of it waste ({})",
        count(calls),
        bytes(asked),
        waste.allocator,
        bytes(taken),
        bytes(waste.small.waste()),
        waste.rule
    )];
    lines.extend(waste.worst().iter().take(SIZES).map(size));
    lines.push(kept(waste));
    lines.push(format!(
        "the process had {} in memory when the window began and {} when it ended",
        bytes(waste.resident.before),
        bytes(waste.resident.after)
    ));
    if !complete {
        lines.push("something was lost, so these are lower bounds".to_owned());
    }
    lines
}

fn size((size, sum): &(u64, Taken)) -> String {
    format!(
        "{} calls for {}: each takes {}, {} of it waste",
        count(sum.calls),
        bytes(*size),
        sum.taken.checked_div(sum.calls).map_or("unknown".to_owned(), bytes),
        percent(sum.waste() as f64 / sum.taken as f64)
    )
}

fn kept(waste: &Waste<'_>) -> String {
    let (taken, left) = (waste.kept.taken, waste.kept.left);
    let text = format!(
        "{} blocks were taken and {} given back while they were counted: {} stay",
        count(taken),
        count(taken - left),
        count(left)
    );
    let which = if waste.kept.is_estimated() {
        "; the process's growth is taken for that of such blocks"
    } else if left < taken {
        "; which of them is not seen"
    } else {
        ""
    };
    text + which
}

pub(super) fn cause(waste: &Waste<'_>) -> String {
    let worst: Vec<_> = waste.worst().iter().take(SIZES).map(|(size, _)| bytes(*size)).collect();
    let sizes = format!("blocks of {} that stay", worst.join(", "));
    match &waste.site {
        Some((site, share)) => {
            format!("{sizes}; {} of small blocks are taken by {site}", percent(*share))
        }
        None => format!("{sizes}; no stack tells who takes them"),
    }
}

pub(super) fn remedies(waste: &Waste<'_>) -> Vec<String> {
    let sizes: Vec<_> = waste.worst().iter().take(SIZES).map(|(size, _)| *size).collect();
    let listed: Vec<_> = sizes.iter().map(|size| bytes(*size)).collect();
    let mut lines = vec![format!(
        "keep blocks of {} in pools of their own size, an array for each: {}",
        listed.join(", "),
        saves(waste.saving)
    )];
    lines.extend(waste.others.iter().map(|(name, saving)| {
        let own = waste.allocator;
        format!("{name} in place of {own} (LD_PRELOAD): {}, less its tables", saves(*saving))
    }));
    lines
}

fn saves(saving: MemorySaving) -> String {
    let MemorySaving { bytes: best, low, high } = saving;
    format!("saves {} ({} to {})", bytes(best), bytes(low), bytes(high))
}
