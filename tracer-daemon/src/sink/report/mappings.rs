use super::page::{Page, Tone, bar};
use crate::aggregate::snapshot::{Mappings, SHORT_LIVED_SECONDS, Snapshot};
use crate::humanize::{bytes, count, number, percent, seconds};

const SIZES_SHOWN: usize = 8;
const BAR: usize = 30;

/// Mappings that were made and unmade.
pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    page.heading("mappings made and unmade");
    match &snapshot.mappings {
        None => page.prose(Tone::Plain, "  ", "unknown: no probe could see them"),
        Some(mappings) if mappings.cycles == 0 => page.prose(Tone::Plain, "  ", "none"),
        Some(mappings) => details(page, mappings, snapshot.window.seconds),
    }
}

fn details(page: &mut Page, mappings: &Mappings, window: f64) {
    let totals = format!(
        "{} ({}/s), {} of them within {}",
        count(mappings.cycles),
        number(mappings.cycles as f64 / window),
        count(mappings.short_lived),
        seconds(SHORT_LIVED_SECONDS)
    );
    page.prose(Tone::Plain, "  ", &totals);
    if let Some(lifetime) = &mappings.lifetime_seconds {
        let [p50, p90, p99] = [lifetime.p50, lifetime.p90, lifetime.p99].map(seconds);
        let line = format!("lifetime: p50 {p50}, p90 {p90}, p99 {p99}");
        page.prose(Tone::Plain, "  ", &line);
    }
    for size in mappings.sizes.iter().take(SIZES_SHOWN) {
        let share = size.cycles as f64 / mappings.cycles as f64;
        let line = format!(
            "  {:>11} × {:<9} {:>7}  {}",
            count(size.cycles),
            bytes(size.bytes),
            percent(share),
            bar(share, BAR)
        );
        page.line(Tone::Plain, &line);
    }
    let more = mappings.sizes.len().saturating_sub(SIZES_SHOWN);
    if more > 0 {
        page.line(Tone::Dim, &format!("  and {more} more sizes"));
    }
}
