//! Which kernel programs there are and how they get attached.

pub mod attach;
pub mod catalog;
pub mod own_code;
pub mod perf;
mod rung;
pub mod settings;
mod signal;
pub mod uprobe_multi;
