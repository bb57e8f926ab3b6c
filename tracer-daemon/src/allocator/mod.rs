//! Which code hands out a process's memory.

mod auxiliary;
mod extent;
mod family;
mod find;
mod functions;
mod hook;
mod linking;
mod mapped;
mod memory;
mod places;
mod results;
mod search_order;
mod size_rule;
mod slots;
mod symbols;

pub use family::Family;
pub use find::find;
pub use functions::call_of;
pub use linking::Linking;
pub use places::{NoPlaces, Place, Places, places};
pub use size_rule::SizeRule;

use std::{fmt, path::PathBuf};

/// The allocator that a process's calls of `malloc` reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocator {
    /// Whose it is.
    pub family: Family,
    /// As far as its file tells.
    pub version: Option<String>,
    /// The file that it is in: a library, or the program itself.
    pub module: PathBuf,
}

impl fmt::Display for Allocator {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.family.name())?;
        if let Some(version) = &self.version {
            write!(out, " {version}")?;
        }
        let file = self.module.file_name().unwrap_or(self.module.as_os_str());
        write!(out, " ({})", file.to_string_lossy())
    }
}

/// The family's name and the version in the text that an [`Allocator`] makes of itself. Neither holds a
/// parenthesis; what the file is called may.
#[must_use]
pub fn name_and_version(text: &str) -> (&str, Option<&str>) {
    let head = text.split_once(" (").map_or(text, |(head, _)| head);
    match head.rsplit_once(' ') {
        Some((name, version)) if version.starts_with(|first: char| first.is_ascii_digit()) => {
            (name, Some(version))
        }
        _ => (head, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_allocator_says_of_itself_can_be_read() {
        for family in [Family::Glibc, Family::Go, Family::Unknown] {
            for (version, module) in [(None, "/lib/a 1 (b)"), (Some("2.36"), "/a"), (None, "/")] {
                let version = version.map(str::to_owned);
                let allocator = Allocator { family, version, module: module.into() };
                let text = allocator.to_string();
                let read = (family.name(), allocator.version.as_deref());
                assert_eq!(name_and_version(&text), read, "{text}");
            }
        }
        for text in ["", " ", "(", " (", "é 1"] {
            assert!(text.starts_with(name_and_version(text).0), "{text}");
        }
    }
}
