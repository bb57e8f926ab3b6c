//! Other people's files are parsed in a process without privileges, which is ended when it takes too long or
//! too much. The session opens the files and hands their descriptors over; what comes back is checked,
//! for a file may have taken the parser over.

mod board;
mod calls;
mod channel;
mod confine;
pub(crate) mod message;
mod process;
mod serve;

pub(crate) use process::{Process, command};
pub(crate) use serve::serve;

/// What a parser is started with.
pub(crate) const COMMAND: &str = "parse-files";

/// Files that a parser keeps.
pub(crate) const MOST_FILES: usize = 4096;
