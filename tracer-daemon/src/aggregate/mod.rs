//! Events and counters become a [`Snapshot`]. Pure: time is an argument.

pub mod allocations;
pub mod area_rounds;
pub mod counters;
pub mod cpu;
pub mod cycles;
pub mod groups;
pub mod kernel_path;
pub mod locks;
pub mod lookups;
pub mod machine;
pub mod mappings;
mod pieces;
pub mod snapshot;
pub mod stacks;
pub mod state;

pub use machine::MachineSnapshot;
pub use snapshot::Snapshot;
