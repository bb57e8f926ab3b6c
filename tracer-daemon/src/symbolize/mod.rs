//! Addresses to names. What files hold was written by somebody else: a parser reads it, while the session
//! finds and opens them.

mod build_id;
mod debug_file;
mod elf_file;
mod elf_names;
mod kernel;
mod modules;
mod symbolizer;

pub(crate) use build_id::{MOST_BYTES as MOST_BUILD_ID_BYTES, build_id};
pub(crate) use elf_file::{ElfFile, Identity};
pub(crate) use elf_names::ElfNames;
pub use kernel::KernelSymbols;
pub use modules::{Location, Modules};
pub(crate) use symbolizer::{Place, Symbolizer, unnamed};
