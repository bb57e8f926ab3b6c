use super::{
    Style,
    address_space::{self, Detail},
    page::{self, Page, Tone},
};
use crate::census::address_space::AddressSpace;

/// Who was looked at.
#[derive(Clone, Copy, Debug)]
pub struct Inspected<'a> {
    /// The process.
    pub pid: u32,
    /// The kernel's name for it.
    pub comm: &'a str,
}

/// Shares of the limit from which on the headline warns, and alarms.
const WARNING: f64 = 0.5;
const ALARM: f64 = 0.8;

/// Renders a census that stands alone.
#[must_use]
pub fn vmas(space: &AddressSpace, of: Inspected<'_>, style: Style) -> String {
    let mut page = Page::default();
    let share = space.share_of_limit().unwrap_or(0.0);
    let (tone, warning) = match share {
        share if share >= ALARM => (Tone::Bad, "; at the limit mmap fails with ENOMEM"),
        share if share >= WARNING => (Tone::Warning, ""),
        _ => (Tone::Good, ""),
    };
    let name = format!("{} (pid {}): ", of.comm, of.pid);
    page.prose(tone, &name, &format!("{}{warning}", address_space::totals(space)));
    address_space::write(&mut page, space, Detail::Full);
    page.gap();
    let command =
        format!("alloctrace attach --pid {} --duration 30s (growth, and who maps)", of.pid);
    page.prose(Tone::Heading, "next  ", &command);
    page::terminal(&page, style)
}
