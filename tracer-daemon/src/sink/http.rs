//! The daemon's web pages.
//!
//! The sampler publishes what it has rendered; a request takes a reference to the last of it. However many
//! scrape, and however often, the sampler does the same work.

mod access;
mod api;
mod landing;
mod listen;
mod pages;
mod profile_targets;
mod profiles;
mod server;

#[cfg(test)]
mod tests;

pub use access::{FileError, Guard};
pub use listen::{ListenError, addresses, bind, inherited};
pub use pages::{Published, Sample};
pub use profiles::{Profile, Sampled, Shelf};
pub use server::Server;
