//! Chance, so that no habit of the target stays in step with what is sampled.

use rustix::rand::{GetRandomFlags, getrandom};

/// A number from 0 to below 1; without random bytes a half.
pub(super) fn share() -> f64 {
    let mut bytes = [0; 4];
    match getrandom(&mut bytes, GetRandomFlags::NONBLOCK) {
        Ok(4) => f64::from(u32::from_ne_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
        _ => 0.5,
    }
}
