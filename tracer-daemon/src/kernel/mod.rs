//! What the running kernel is like: found out by reading what it says about itself, never by its
//! version.

mod btf;
mod layout;
pub mod privileges;
mod tracepoint;

pub use btf::{Btf, BtfError};
pub use layout::{Resolved, resolve};
pub use tracepoint::{field_offset, first_field_after};
