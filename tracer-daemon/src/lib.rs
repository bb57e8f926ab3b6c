//! alloctrace tells why a Linux process spends its time getting and giving back memory.
//!
//! Data runs one way: `probes` and `source` take it out of the kernel, `decode` types it,
//! `aggregate` makes a [`aggregate::Snapshot`], `diagnose` draws conclusions, `sink` shows them.

// They panic where a terminal or a pipe is gone, and what was measured would be lost.
#![deny(clippy::print_stderr, clippy::print_stdout)]

pub mod aggregate;
pub mod allocator;
pub mod census;
pub mod cli;
pub mod config;
pub mod decode;
pub mod diagnose;
mod elf;
mod errno;
pub mod error;
pub mod humanize;
pub mod kernel;
mod parser;
pub mod probes;
pub mod session;
pub mod sink;
pub mod source;
pub mod symbolize;
pub mod unwind;
