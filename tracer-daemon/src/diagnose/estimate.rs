//! How far a sampled number may be from the truth.

/// Standard errors on either side that hold 95 % of a normal distribution.
const STANDARD_ERRORS_95: f64 = 1.96;

/// A measured number and the half-width of its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    /// The best guess.
    pub(super) value: f64,
    /// How far the truth may be on either side.
    pub(super) error: f64,
}

/// `total`, the sum of a quantity estimated from `timed` samples, times the `share` that was seen
/// in `inside` of `all` samples.
pub(super) fn share_of_sampled_sum(
    total: f64,
    timed: u64,
    share: f64,
    (inside, all): (u64, u64),
) -> Estimate {
    let value = total * share;
    let relative = (relative_error_of_sum(timed).powi(2)
        + relative_error_of_share(share, inside, all).powi(2))
    .sqrt();
    Estimate { value, error: value * (STANDARD_ERRORS_95 * relative).min(1.0) }
}

/// `total` times a `share` that was seen in `inside` of `all` samples.
pub(super) fn share_of_sum(total: f64, share: f64, (inside, all): (u64, u64)) -> Estimate {
    let value = total * share;
    let relative = relative_error_of_share(share, inside, all);
    Estimate { value, error: value * (STANDARD_ERRORS_95 * relative).min(1.0) }
}

/// Times of faults scatter about as much as their mean, so the mean of n is known to 1/√n.
fn relative_error_of_sum(samples: u64) -> f64 {
    1.0 / (samples.max(1) as f64).sqrt()
}

/// Two samples of either kind are added (Agresti and Coull): the plain binomial error of "10 of
/// 10" would be none at all.
fn relative_error_of_share(share: f64, inside: u64, all: u64) -> f64 {
    if all == 0 || share <= 0.0 {
        return 1.0;
    }
    let samples = all as f64 + 4.0;
    let share_seen = (inside.min(all) as f64 + 2.0) / samples;
    (share_seen * (1.0 - share_seen) / samples).sqrt() / share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_samples_narrow_the_interval() {
        let few = share_of_sampled_sum(1.0, 10, 0.5, (5, 10));
        let many = share_of_sampled_sum(1.0, 10_000, 0.5, (5_000, 10_000));
        assert_eq!(few.value, 0.5);
        assert!(few.error > 0.3 && many.error < 0.02);
    }

    #[test]
    fn without_samples_everything_is_possible() {
        let blind = share_of_sampled_sum(1.0, 0, 0.5, (0, 0));
        assert_eq!(blind.error, blind.value);
    }

    #[test]
    fn all_of_a_few_is_not_certainty() {
        assert!(share_of_sampled_sum(1.0, 1_000_000, 1.0, (10, 10)).error > 0.1);
    }
}
