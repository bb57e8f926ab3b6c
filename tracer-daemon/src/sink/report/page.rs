//! A report before it is text for a terminal or a page for a browser.

mod html;
mod terminal;

pub(super) use html::html;
#[cfg(test)]
pub(super) use terminal::columns;
pub(super) use terminal::terminal;

/// What a line means, and so its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Heading,
    Bad,
    Warning,
    Good,
    Dim,
}

/// A colour of a cell, as the terminal's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paint(pub(super) &'static str);

/// A part of a report. None of it is safe to print yet.
enum Part {
    /// What follows is about something else.
    Gap,
    /// A row of a table, or a title.
    Line(Tone, String),
    /// What the colours of cells mean, where there are any.
    Legend(Vec<(Paint, char)>),
    /// A row of coloured cells behind a label.
    Cells(String, Vec<(Paint, char)>),
    /// Sentences behind a label.
    Prose { tone: Tone, label: String, text: String },
}

/// What a report says, from the top.
#[derive(Default)]
pub(super) struct Page(Vec<Part>);

impl Page {
    /// A title, with a gap before it.
    pub(super) fn heading(&mut self, title: &str) {
        self.gap();
        self.line(Tone::Heading, title);
    }

    pub(super) fn gap(&mut self) {
        if !self.0.is_empty() {
            self.0.push(Part::Gap);
        }
    }

    /// A row of a table: cut where it does not fit.
    pub(super) fn line(&mut self, tone: Tone, text: &str) {
        self.0.push(Part::Line(tone, text.to_owned()));
    }

    /// A row of coloured cells behind a label. Neither is wider than it looks.
    pub(super) fn cells(&mut self, label: &str, cells: impl Iterator<Item = (Paint, char)>) {
        self.0.push(Part::Cells(label.to_owned(), cells.collect()));
    }

    /// Words in the colours of the cells below.
    pub(super) fn legend(&mut self, words: impl Iterator<Item = (Paint, char)>) {
        self.0.push(Part::Legend(words.collect()));
    }

    /// Prose: broken between words; the lines after the first begin below the end of `label`.
    pub(super) fn prose(&mut self, tone: Tone, label: &str, text: &str) {
        self.0.push(Part::Prose { tone, label: label.to_owned(), text: text.to_owned() });
    }
}

/// A bar of eighths, `share` of `width` columns long.
pub(super) fn bar(share: f64, width: usize) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (share.clamp(0.0, 1.0) * (width * 8) as f64).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    bar.push(EIGHTHS[eighths % 8]);
    bar.trim_end().to_owned()
}
