use super::page::{Page, Paint, Tone};
use crate::census::address_space::{Cell, Kind, Picture};
use crate::humanize::{bytes, count};

const PAGE: u64 = 4096;

/// Draws an address space, a row for each stretch of addresses.
pub(super) fn write(page: &mut Page, picture: &Picture) {
    if picture.rows.is_empty() {
        return;
    }
    page.heading("picture (each row from low to high; █ mapped, ▓▒░ in part, · free)");
    legend(page);
    let mut above = None;
    for row in &picture.rows {
        if let Some(end) = above.filter(|end| *end != row.start) {
            let hole = bytes(row.start.saturating_sub(end));
            page.line(Tone::Dim, &format!("  {:12} {hole:>9} free", "…"));
        }
        above = Some(row.end);
        let areas = count(row.areas);
        let size = bytes(row.end - row.start);
        // A stretch in equal parts does not begin at pages.
        let label = format!("  {:012x} {size:>9} {areas:>6} ", row.start / PAGE * PAGE);
        page.cells(&label, row.cells.iter().map(|cell| (paint(cell.kind), shade(cell))));
    }
}

/// What the colours mean.
fn legend(page: &mut Page) {
    page.legend(Kind::ALL.into_iter().flat_map(|kind| {
        let word = kind.name().chars().chain(std::iter::once(' '));
        word.map(move |letter| (paint(Some(kind)), letter))
    }));
}

/// The colours of the kinds.
fn paint(kind: Option<Kind>) -> Paint {
    Paint(match kind {
        None => "2",
        Some(Kind::Heap) => "32",
        Some(Kind::Arena) => "33",
        Some(Kind::Stack) => "35",
        Some(Kind::Anonymous) => "36",
        Some(Kind::File) => "34",
        Some(Kind::Special) => "37",
    })
}

/// What is mapped at all shows, and so does what is not mapped whole.
fn shade(cell: &Cell) -> char {
    match cell.mapped {
        share if share >= 1.0 => '█',
        share if share >= 0.75 => '▓',
        share if share >= 0.25 => '▒',
        share if share > 0.0 => '░',
        _ => '·',
    }
}
