//! How many faults were sampled, and which part of all faults some of the samples stand for.

use super::snapshot::FaultShare;

/// The sampled faults of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultSamples {
    samples: u64,
    /// Faults that they stand for.
    weight: u64,
}

impl FaultSamples {
    /// One more, which stands for `weight` faults.
    pub fn add(&mut self, weight: u64) {
        self.samples += 1;
        self.weight += weight;
    }

    /// The share of samples that stand for so many faults.
    #[must_use]
    pub fn share_of(&self, weight: u64) -> FaultShare {
        let share = (self.weight > 0).then(|| weight as f64 / self.weight as f64);
        let inside = share.map_or(0, |share| (share * self.samples as f64).round() as u64);
        FaultShare { share, samples: (inside, self.samples) }
    }
}
