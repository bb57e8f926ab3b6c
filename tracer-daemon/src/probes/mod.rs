//! Which kernel programs there are and how they get attached.

pub mod attach;
pub mod catalog;
pub mod perf;
pub mod settings;
mod signal;
