use super::page::{Page, Tone, bar};
use super::picture;
use crate::census::address_space::{AddressSpace, HoleFigures, Unmerged};
use crate::humanize::{bytes, count, number, percent, rough_time, seconds};

const BAR: usize = 24;

/// With fewer areas than this the number says all that somebody wants to know next to much else.
const WORTH_A_PICTURE: u64 = 1000;

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// Next to much else.
    Compact,
    /// Alone.
    Full,
}

impl Detail {
    const fn sizes(self) -> usize {
        match self {
            Self::Compact => 5,
            Self::Full => 12,
        }
    }
}

/// The areas and holes of an address space.
pub(super) fn write(page: &mut Page, space: &AddressSpace, detail: Detail) {
    if detail == Detail::Compact {
        page.heading("address space");
        page.prose(Tone::Plain, "  ", &totals(space));
    } else {
        page.heading("areas by kind");
    }
    if let Some(text) = growth(space) {
        page.prose(Tone::Plain, "  ", &text);
    }
    if detail == Detail::Compact && space.areas < WORTH_A_PICTURE {
        doubts(page, space);
        return;
    }
    kinds(page, space);
    sizes(page, space, detail);
    unmerged(page, &space.unmerged);
    holes(page, space, detail);
    picture::write(page, &space.picture);
    doubts(page, space);
}

/// `9,053 areas of 65,530 (14 %)`.
pub(super) fn totals(space: &AddressSpace) -> String {
    let areas = count(space.areas);
    let of = match (space.limit, space.share_of_limit()) {
        (Some(limit), Some(share)) => format!(" of {} ({})", count(limit), percent(share)),
        _ => ", the limit is unknown".to_owned(),
    };
    format!("{areas} areas{of}; read in {}", seconds(space.read_seconds))
}

fn growth(space: &AddressSpace) -> Option<String> {
    let growth = space.growth?;
    let rate = space.areas_per_second()?;
    let before = count(growth.areas_before);
    Some(match space.seconds_to_limit() {
        Some(left) => format!(
            "{before} at the beginning, {} more each second: at the limit in {} if that goes on",
            number(rate),
            rough_time(left)
        ),
        None if rate == 0.0 => format!("{before} at the beginning: no growth"),
        None => format!("{before} at the beginning: no growth to speak of"),
    })
}

fn kinds(page: &mut Page, space: &AddressSpace) {
    for row in space.kinds_by_areas() {
        let share = row.areas as f64 / space.areas.max(1) as f64;
        let line = format!(
            "  {:>11} × {:<9} {:>7}  {:<BAR$} {:>9}",
            count(row.areas),
            row.kind.name(),
            percent(share),
            bar(share, BAR),
            bytes(row.bytes)
        );
        page.line(Tone::Plain, &line);
    }
}

fn sizes(page: &mut Page, space: &AddressSpace, detail: Detail) {
    page.heading("areas by size");
    for row in space.sizes.iter().take(detail.sizes()) {
        let share = row.areas as f64 / space.areas.max(1) as f64;
        let line = format!(
            "  {:>11} × {:<9} {:>7}  {}",
            count(row.areas),
            bytes(row.bytes),
            percent(share),
            bar(share, BAR)
        );
        page.line(Tone::Plain, &line);
    }
    more(page, space.sizes.len().saturating_sub(detail.sizes()), "sizes");
}

fn more(page: &mut Page, more: usize, what: &str) {
    if more > 0 {
        page.line(Tone::Dim, &format!("  and {} more {what}", count(more as u64)));
    }
}

fn unmerged(page: &mut Page, unmerged: &Unmerged) {
    page.heading("why neighbours did not merge");
    for (reason, pairs) in unmerged.by_frequency().into_iter().filter(|(_, pairs)| *pairs > 0) {
        let words = match reason {
            "gap" => "there are addresses between them",
            "protection" => "one may be read, written or executed, the other not",
            "flags" => "one is shared, the other private",
            "file" => "other files, or places that do not follow each other",
            _ => "written to apart, or marked (madvise, mlock, a name)",
        };
        let name = if reason == "anon_vma_or_other" { "anon_vma" } else { reason };
        page.line(Tone::Plain, &format!("  {:>11} × {name:<11} {words}", count(pairs)));
    }
}

fn holes(page: &mut Page, space: &AddressSpace, detail: Detail) {
    let holes = &space.holes;
    page.heading("holes between them");
    let text = format!(
        "{}, {} together; the largest has {}",
        count(holes.count),
        bytes(holes.bytes),
        bytes(holes.largest)
    );
    page.prose(Tone::Plain, "  ", &text);
    if detail == Detail::Full {
        histogram(page, holes);
    }
    for request in &space.requests {
        let size = bytes(request.bytes);
        let text = if request.holes_too_small == holes.count {
            format!("{size}: no hole is large enough")
        } else {
            let passed = count(request.holes_too_small);
            format!("{size}: {passed} too small, from the top down, before the first that fits")
        };
        page.prose(Tone::Plain, "  ", &text);
    }
}

/// Holes by powers of 16: what is below a page does not exist, and above 1 TiB size says little.
fn histogram(page: &mut Page, holes: &HoleFigures) {
    const ENDS: [u64; 6] = [64 << 10, 1 << 20, 16 << 20, 256 << 20, 4 << 30, u64::MAX];
    let mut floor = 0;
    for end in ENDS {
        let inside = holes.sizes.iter().filter(|row| (floor..end).contains(&row.bytes));
        let number = inside.map(|row| row.holes).fold(0, u64::saturating_add);
        let range = match end {
            u64::MAX => format!("from {}", bytes(floor)),
            _ => format!("below {}", bytes(end)),
        };
        floor = end;
        if number > 0 {
            let share = number as f64 / holes.count.max(1) as f64;
            let line = format!("  {:>11} {range:<13} {}", count(number), bar(share, BAR));
            page.line(Tone::Plain, &line);
        }
    }
}

fn doubts(page: &mut Page, space: &AddressSpace) {
    if space.torn > 0 {
        let text = format!(
            "{} areas were left out: the process changed them while they were read",
            count(space.torn)
        );
        page.prose(Tone::Warning, "  ", &text);
    }
    if space.unreadable > 0 {
        let text = format!("{} lines could not be understood", count(space.unreadable));
        page.prose(Tone::Warning, "  ", &text);
    }
}
