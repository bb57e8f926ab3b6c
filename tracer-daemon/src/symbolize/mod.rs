//! Addresses to names, isolated from the rest: what it reads was written by somebody else.

mod build_id;
mod debug_file;
mod elf;
mod kernel;
mod modules;
mod symbolizer;

pub(crate) use build_id::build_id;
pub(crate) use elf::ElfFile;
pub use kernel::KernelSymbols;
pub use modules::{Location, Modules};
pub use symbolizer::{Innermost, Symbolizer};
