//! Which code hands out a process's memory.

mod auxiliary;
mod extent;
mod family;
mod find;
mod functions;
mod hook;
mod linking;
mod memory;
mod places;
mod results;
mod search_order;
mod size_rule;
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
