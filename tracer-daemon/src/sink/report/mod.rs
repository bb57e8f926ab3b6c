//! A recording as a person reads it: the verdict first, then its reasons, then every number.

mod address_space;
mod allocation_sites;
mod allocations;
mod blocks;
mod findings;
#[cfg(test)]
pub(crate) mod fixtures;
mod locks;
mod lookups;
mod mappings;
mod missing;
mod page;
mod picture;
mod pictures;
mod resizes;
mod sites;
mod stacks;
mod syscalls;
#[cfg(test)]
mod tests;
mod usage;
mod verdict;
mod vmas;

use crate::sink::Recording;
use page::{Page, Tone};
pub use vmas::{Inspected, vmas};

/// How the text is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// With the terminal's colours.
    pub colour: bool,
    /// Columns; fewer than 40 are taken for 40.
    pub width: usize,
}

impl Default for Style {
    /// What fits everywhere.
    fn default() -> Self {
        Self { colour: false, width: 80 }
    }
}

/// Renders a recording for a terminal.
#[must_use]
pub fn text(recording: &Recording, style: Style) -> String {
    page::terminal(&page(recording), style)
}

/// Renders a recording for a browser: one file, with flame graphs.
#[must_use]
pub fn html(recording: &Recording) -> String {
    let target = &recording.snapshot.target;
    let title = format!("alloctrace: {} (pid {})", target.comm, target.pid);
    page::html(&page(recording), &title, &pictures::flame_graphs(&recording.snapshot))
}

/// A sentence behind a label, in lines that fit, for a live view as well.
pub(super) fn prose(label: &str, text: &str, width: u16) -> Vec<String> {
    let mut page = Page::default();
    page.prose(Tone::Plain, label, text);
    let style = Style { colour: false, width: width.into() };
    page::terminal(&page, style).lines().map(str::to_owned).collect()
}

fn page(recording: &Recording) -> Page {
    let mut page = Page::default();
    let snapshot = &recording.snapshot;
    verdict::write(&mut page, recording);
    for finding in &recording.findings {
        findings::write(&mut page, finding, snapshot);
    }
    syscalls::write(&mut page, snapshot);
    usage::write(&mut page, snapshot);
    lookups::write(&mut page, snapshot);
    locks::write(&mut page, snapshot);
    mappings::write(&mut page, snapshot);
    allocations::write(&mut page, snapshot);
    allocation_sites::write(&mut page, snapshot);
    resizes::write(&mut page, snapshot);
    blocks::write(&mut page, snapshot);
    if let Some(space) = &snapshot.address_space {
        address_space::write(&mut page, space, address_space::Detail::Compact);
    }
    stacks::write(&mut page, snapshot);
    missing::write(&mut page, snapshot);
    verdict::next_step(&mut page, recording);
    page
}
