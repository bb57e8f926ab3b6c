//! Entry points: which kernel event calls what. A signal has a file.

mod allocations;
mod cpu;
mod faults;
mod futexes;
mod lifecycle;
mod locks;
mod lookups;
mod syscalls;
