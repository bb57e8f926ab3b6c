//! Events and counters become a [`Snapshot`]. Pure: time is an argument.

pub mod snapshot;

pub use snapshot::Snapshot;
