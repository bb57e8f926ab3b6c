//! Events and counters become a [`Snapshot`]. Pure: time is an argument.

mod addresses;
pub mod allocation_rate;
pub mod allocation_samples;
pub mod allocations;
pub mod allocator_windows;
pub mod area_rounds;
pub mod blocks;
pub mod counters;
pub mod cpu;
pub mod cpu_by_process;
pub mod cpu_sites;
pub mod cycles;
pub mod exact_sizes;
pub mod faults;
pub mod groups;
pub mod heap_break;
pub mod kernel_path;
pub mod locks;
pub mod looks;
pub mod lookup_mappings;
pub mod lookups;
pub mod machine;
pub mod major_faults;
pub mod mappings;
mod pieces;
mod ranges;
pub mod rates;
pub mod reservoir;
pub mod snapshot;
pub mod stack_kind;
pub mod stacks;
pub mod state;
pub mod turns;
pub mod user_path;

pub use machine::MachineSnapshot;
pub use snapshot::Snapshot;
