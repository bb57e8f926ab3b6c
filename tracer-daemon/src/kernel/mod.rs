//! What the running kernel is like: found out by reading what it says about itself, never by its
//! version.

mod btf;
mod layout;
mod preemption;
pub mod privileges;
mod tracepoint;

pub use btf::{Btf, BtfError};
pub use layout::{Resolved, resolve};
pub use preemption::preempts;
pub use tracepoint::{field_offset, first_field_after};

/// The kernel's release, as `uname -r` says.
#[must_use]
pub fn release() -> String {
    let name = rustix::system::uname();
    name.release().to_string_lossy().into_owned()
}
