use maud::{DOCTYPE, Markup, PreEscaped, html as markup};

use super::{Page, Paint, Part, Tone};
use crate::humanize::escaped;

const STYLE: &str = include_str!("style.css");

/// A page for a browser, which needs nothing besides. Each picture has a title and an address.
pub(in super::super) fn html(page: &Page, title: &str, pictures: &[(String, String)]) -> String {
    let sections = page.0.split(|part| matches!(part, Part::Gap));
    markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (escaped(title)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                @for section in sections {
                    section { (parts(section)) }
                }
                @for (title, picture) in pictures {
                    section {
                        h2 { (escaped(title)) }
                        iframe title=(escaped(title)) src=(picture) {}
                    }
                }
            }
        }
    }
    .into_string()
}

/// A line at the top of a section is its title; rows keep their columns.
fn parts(section: &[Part]) -> Markup {
    let (title, rest) = match section.split_first() {
        Some((Part::Line(tone, text), rest)) => (Some((tone, text)), rest),
        _ => (None, section),
    };
    let is_prose = |part: &Part| matches!(part, Part::Prose { .. });
    markup! {
        @if let Some((tone, text)) = title {
            h2 class=(tone.class()) { (escaped(text)) }
        }
        @for parts in rest.chunk_by(|one, next| is_prose(one) == is_prose(next)) {
            @if parts.first().is_some_and(is_prose) {
                dl { @for part in parts { (entry(part)) } }
            } @else {
                pre { @for part in parts { (row(part)) "\n" } }
            }
        }
    }
}

fn entry(part: &Part) -> Markup {
    let Part::Prose { tone, label, text } = part else { return Markup::default() };
    let label = label.trim();
    let item = label.strip_suffix('-');
    markup! {
        dt { (escaped(item.unwrap_or(label).trim())) }
        dd class={ (tone.class()) @if item.is_some() { " item" } } { (escaped(text)) }
    }
}

fn row(part: &Part) -> Markup {
    match part {
        Part::Line(tone, text) => markup! { span class=(tone.class()) { (escaped(text)) } },
        Part::Cells(label, cells) => markup! { (escaped(label)) (painted(cells)) },
        Part::Legend(words) => markup! { "  " (painted(words)) },
        Part::Gap | Part::Prose { .. } => Markup::default(),
    }
}

fn painted(cells: &[(Paint, char)]) -> Markup {
    markup! {
        @for run in cells.chunk_by(|(one, _), (next, _)| one == next) {
            span class=(run.first().map_or_else(String::new, |(paint, _)| paint.class())) {
                (run.iter().map(|(_, cell)| *cell).collect::<String>())
            }
        }
    }
}

impl Tone {
    const fn class(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Heading => "heading",
            Self::Bad => "bad",
            Self::Warning => "warning",
            Self::Good => "good",
            Self::Dim => "dim",
        }
    }
}

impl Paint {
    fn class(self) -> String {
        format!("paint-{}", self.0)
    }
}
