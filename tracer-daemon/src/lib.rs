//! alloctrace tells why a Linux process spends its time getting and giving back memory.
//!
//! Data runs one way: `probes` and `source` take it out of the kernel, `decode` types it,
//! `aggregate` makes a [`aggregate::Snapshot`], `diagnose` draws conclusions, `sink` shows them.

pub mod aggregate;
pub mod diagnose;
mod errno;
pub mod humanize;
pub mod sink;
