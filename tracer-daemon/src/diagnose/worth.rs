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
