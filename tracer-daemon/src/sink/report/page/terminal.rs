use super::{super::Style, Page, Paint, Part, Tone};
use crate::humanize::escaped;

const NARROWEST: usize = 40;

/// The text of a page. Whatever is put on it is made safe and fits the width.
pub(in super::super) fn terminal(page: &Page, style: Style) -> String {
    let width = style.width.max(NARROWEST);
    let mut lines = Lines { text: String::new(), style, width };
    for part in &page.0 {
        match part {
            Part::Gap => lines.text.push('\n'),
            Part::Line(tone, text) => lines.line(*tone, text),
            Part::Legend(words) if style.colour => lines.cells("  ", words),
            Part::Legend(_) => {}
            Part::Cells(label, cells) => lines.cells(label, cells),
            Part::Prose { tone, label, text } => lines.prose(*tone, label, text),
        }
    }
    lines.text
}

/// The text so far.
struct Lines {
    text: String,
    style: Style,
    width: usize,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Heading => "1",
            Self::Bad => "1;31",
            Self::Warning => "33",
            Self::Good => "1;32",
            Self::Dim => "2",
        }
    }
}

impl Lines {
    /// A row of a table: cut where it does not fit.
    fn line(&mut self, tone: Tone, text: &str) {
        let safe = escaped(text);
        let line = if columns(&safe) > self.width {
            format!("{}…", split_at_column(&safe, self.width - 1).0)
        } else {
            safe
        };
        self.put(tone, &line);
    }

    /// A row of coloured cells behind a label. Neither is wider than it looks.
    fn cells(&mut self, label: &str, cells: &[(Paint, char)]) {
        let room = self.width.saturating_sub(columns(label));
        let mut line = escaped(label);
        let mut last = "";
        for (Paint(code), cell) in cells.iter().take(room) {
            if self.style.colour && *code != last {
                line.push_str(&format!("\x1b[{code}m"));
                last = code;
            }
            line.push(*cell);
        }
        if !last.is_empty() {
            line.push_str("\x1b[0m");
        }
        self.put(Tone::Plain, &line);
    }

    /// Prose: broken between words; the lines after the first begin below the end of `label`.
    fn prose(&mut self, tone: Tone, label: &str, text: &str) {
        let indent = columns(label).min(self.width / 2);
        let mut line = escaped(label);
        let mut is_empty = true;
        for word in words(&escaped(text)) {
            let gap = usize::from(!is_empty);
            if columns(&line) + gap + columns(&word) > self.width {
                if !is_empty {
                    self.put(tone, &line);
                    line = " ".repeat(indent);
                }
                let rest = self.fit(tone, &mut line, &word);
                line.push_str(&rest);
            } else {
                line.push_str(&" ".repeat(gap));
                line.push_str(&word);
            }
            is_empty = false;
        }
        self.put(tone, &line);
    }

    /// Makes room on a line without words for `word`, and returns what is left of it. A word that
    /// fits without the indent stays whole, for it may be something to copy.
    fn fit(&mut self, tone: Tone, line: &mut String, word: &str) -> String {
        let mut rest = word;
        if columns(word) <= self.width && columns(line) + columns(word) > self.width {
            if !line.trim().is_empty() {
                self.put(tone, line);
            }
            *line = " ".repeat((self.width - columns(word)).min(2));
        }
        while columns(line) + columns(rest) > self.width {
            let (head, tail) = split_at_column(rest, self.width.saturating_sub(columns(line)));
            line.push_str(head);
            self.put(tone, line);
            *line = "    ".to_owned();
            rest = tail;
        }
        rest.to_owned()
    }

    fn put(&mut self, tone: Tone, line: &str) {
        let line = line.trim_end();
        if self.style.colour && tone != Tone::Plain {
            self.text.push_str(&format!("\x1b[{}m{line}\x1b[0m", tone.code()));
        } else {
            self.text.push_str(line);
        }
        self.text.push('\n');
    }
}

/// The words of a text. A number and its unit are one, and so are settings in a row, which somebody may paste.
fn words(text: &str) -> Vec<String> {
    const UNITS: [&str; 9] = ["s", "ms", "µs", "ns", "B", "KiB", "MiB", "GiB", "%"];
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let unit = word.trim_end_matches([',', '.', ';', ':', ')']);
        match words.last_mut() {
            Some(number) if UNITS.contains(&unit) && number.ends_with(char::is_numeric) => {
                number.push(' ');
                number.push_str(word);
            }
            Some(settings) if is_setting(word) && is_setting(settings) => {
                settings.push(' ');
                settings.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}

/// `NAME=value` for a program's environment, or some of them.
fn is_setting(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    text.split_once('=').is_some_and(|(name, value)| {
        name.bytes().all(is_part)
            && !name.is_empty()
            && value.ends_with(|last: char| last.is_ascii_alphanumeric())
    })
}

/// Columns that a terminal takes for it; East Asian characters take two.
pub(in super::super) fn columns(text: &str) -> usize {
    text.chars().map(width_of).sum()
}

fn width_of(character: char) -> usize {
    match character {
        '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' => 2,
        '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' => 2,
        '\u{1f300}'..='\u{1faff}' | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// As much as fits into `limit` columns, but at least one character, and the rest.
fn split_at_column(text: &str, limit: usize) -> (&str, &str) {
    let mut taken = 0;
    for (index, character) in text.char_indices() {
        taken += width_of(character);
        if taken > limit && index > 0 {
            return text.split_at(index);
        }
    }
    (text, "")
}
