//! Numbers in the columns of a table.

use ratatui::{
    text::{Line, Text},
    widgets::Row,
};

use crate::humanize;

/// The name to the left, numbers to the right.
pub(super) fn cells<'a, const COLUMNS: usize>(texts: [String; COLUMNS]) -> Row<'a> {
    let cells = texts.into_iter().enumerate().map(|(index, text)| {
        let line = Line::from(text);
        if index == 0 { line } else { line.right_aligned() }
    });
    Row::new(cells.map(Text::from))
}

/// `812`, `48.5k`, `2.1M`: at most six characters.
pub(super) fn compact(number: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let unit = UNITS.iter().find(|(size, _)| number >= size * 0.9995);
    match unit {
        Some((size, unit)) if number / size < 99.95 => format!("{:.1}{unit}", number / size),
        Some((size, unit)) => format!("{:.0}{unit}", number / size),
        None if number > 0.0 && number < 9.95 => format!("{number:.1}"),
        None => format!("{number:.0}"),
    }
}

/// A share without a space.
pub(super) fn share(share: f64) -> String {
    humanize::percent(share).replace(' ', "")
}
