//! What people read of it.

use super::Copies;
use crate::humanize::{bytes, count, number, percent, seconds};

pub(super) fn summary(copies: &Copies<'_>, share: f64, gain: bool) -> String {
    let text = format!(
        "{} copies each byte about {} times while its blocks grow",
        copies.place,
        number(copies.times)
    );
    if gain { format!("{text}: {} of the CPU time", percent(share)) } else { text }
}

pub(super) fn evidence(copies: &Copies<'_>) -> Vec<String> {
    let (all, sums) = (&copies.all, &copies.site.sums);
    let per_second = |calls: u64| number(calls as f64 / all.seconds);
    let mut lines = vec![format!(
        "{} calls a second gave a block another size: {} moved and copied it, {} did not move it, {} moved it \
         by mremap, without a copy (counted for {})",
        per_second(all.resized()),
        percent(all.moved as f64 / all.resized() as f64),
        percent(all.in_place as f64 / all.resized() as f64),
        percent(all.remapped as f64 / all.resized() as f64),
        seconds(all.seconds)
    )];
    if let (Some(copied), Some(grown)) = (all.copied_bytes, all.grown_bytes) {
        lines.push(format!(
            "in the whole process {} were copied ({}/s), while blocks became larger by {}",
            bytes(copied),
            bytes((copied as f64 / all.seconds) as u64),
            bytes(grown)
        ));
    }
    lines.push(format!(
        "there about {} calls copied {}, for blocks that became larger by {} (estimated from {} sampled calls)",
        count(sums.moved),
        bytes(sums.copied_bytes),
        bytes(sums.grown_bytes),
        count(sums.samples)
    ));
    lines.push(format!(
        "about {} of CPU time in realloc there, give or take {} (from {} samples of the CPU clock)",
        seconds(copies.cpu.value),
        seconds(copies.cpu.error),
        count(copies.cpu_samples)
    ));
    if sums.unsized_moves > 0 {
        let text = "of about {} moved blocks the size was unknown, and what was copied of them does not count";
        lines.push(text.replace("{}", &count(sums.unsized_moves)));
    }
    if !copies.complete {
        lines.push("something was lost, so these are lower bounds".to_owned());
    }
    lines
}

pub(super) fn cause(copies: &Copies<'_>) -> String {
    format!(
        "{} lets blocks grow by {} at a time, up to {}, and they have to move",
        copies.place,
        step(copies),
        bytes(copies.site.sums.largest)
    )
}

fn step(copies: &Copies<'_>) -> String {
    let sums = &copies.site.sums;
    let calls = [sums.in_place, sums.moved, sums.remapped].into_iter().fold(0, u64::saturating_add);
    sums.grown_bytes
        .checked_div(calls)
        .map_or("little".to_owned(), |step| format!("about {}", bytes(step)))
}

pub(super) fn remedies(copies: &Copies<'_>) -> Vec<String> {
    let (place, largest) = (&copies.place, bytes(copies.site.sums.largest));
    vec![
        format!(
            "in {place}, double the capacity when it is used up, instead of adding {}: each byte is copied \
             once at the most, instead of {} times",
            step(copies),
            number(copies.times)
        ),
        format!("or reserve {largest} at first, the largest size seen there: nothing is copied"),
        "or chain blocks of a fixed size, which never move".to_owned(),
    ]
}
