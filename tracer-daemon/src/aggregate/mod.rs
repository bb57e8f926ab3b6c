//! Events and counters become a [`Snapshot`]. Pure: time is an argument.

pub mod machine;
pub mod snapshot;

pub use machine::MachineSnapshot;
pub use snapshot::Snapshot;
