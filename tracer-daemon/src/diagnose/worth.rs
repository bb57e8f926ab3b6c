//! What is worth the work of a cure.

use super::Severity;

/// A cure that gives back less of the target's time is not.
pub(super) const SHARE_OF_TARGET: f64 = 0.02;

/// A cure that gives back less of one CPU is not either, however idle the target.
pub(super) const SHARE_OF_A_CPU: f64 = 0.005;

/// How much a cost matters: seconds in each second of the window, and the same as a share of the
/// target's time, where that is known.
pub(super) fn severity(seconds_per_second: f64, share_of_target: Option<f64>) -> Severity {
    if seconds_per_second < SHARE_OF_A_CPU {
        return Severity::NoGain;
    }
    match share_of_target {
        Some(share) if share < SHARE_OF_TARGET => Severity::NoGain,
        Some(share) if share >= 0.20 => Severity::High,
        Some(share) if share >= 0.05 => Severity::Medium,
        Some(_) | None => Severity::Low,
    }
}

/// A cure that gives back less is not worth the work either, whatever part of the memory it is.
const BYTES: u64 = 8 << 20;

/// The same of memory that a process of so many resident bytes would do without.
pub(super) fn memory_severity(bytes: u64, resident: u64) -> Severity {
    if bytes < BYTES {
        return Severity::NoGain;
    }
    match bytes as f64 / resident.max(bytes) as f64 {
        share if share < SHARE_OF_TARGET => Severity::NoGain,
        share if share >= 0.20 => Severity::High,
        share if share >= 0.05 => Severity::Medium,
        _ => Severity::Low,
    }
}
