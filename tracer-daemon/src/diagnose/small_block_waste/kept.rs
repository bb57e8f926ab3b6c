//! What became of the blocks that were counted, as far as it can be known.

use crate::aggregate::{allocations::Allocations, exact_sizes::ExactSize, snapshot::Resident};
use crate::diagnose::MemorySaving;

/// Where blocks were counted in a part of the time only, so many of them must have stayed for the
/// growth of the process to be theirs.
const MOST: f64 = 0.5;

/// Blocks that stayed.
pub(super) struct Kept {
    /// Blocks that were taken while they were counted, large ones too.
    pub(super) taken: u64,
    /// Those of them that are left after as many were given back as were.
    pub(super) left: u64,
    /// Where not every block was counted: how much the process grew by those of the whole window.
    pub(super) growth: Option<u64>,
}

impl Kept {
    /// `None`: as many were given back as were taken, or what stayed cannot be known.
    pub(super) fn of(all: &Allocations, resident: Resident) -> Option<Self> {
        let (taken, given) = all.blocks();
        let left = taken.checked_sub(given).filter(|left| *left > 0)?;
        let growth = resident.after.checked_sub(resident.before);
        if !all.sampled {
            return Some(Self { taken, left, growth: None });
        }
        (left as f64 >= MOST * taken as f64).then_some(Self { taken, left, growth: Some(growth?) })
    }

    /// Whether the process's growth stands for blocks that were not counted.
    pub(super) fn is_estimated(&self) -> bool {
        self.growth.is_some()
    }

    /// What is saved if each block takes what `instead` says; as many of the large ones stay as of the
    /// others, and save nothing. At least: those stay of which the least is saved.
    pub(super) fn saving(
        &self,
        sizes: &[ExactSize],
        instead: impl Fn(&ExactSize) -> Option<u64>,
    ) -> MemorySaving {
        let mut rows: Vec<_> = sizes
            .iter()
            .filter_map(|size| {
                let taken = size.taken?;
                Some((taken as f64 - instead(size)? as f64, taken as f64, size.calls as f64))
            })
            .collect();
        let small: f64 = rows.iter().map(|(_, _, calls)| calls).sum();
        rows.push((0.0, 0.0, (self.taken as f64 - small).max(0.0)));
        let part = self.left as f64 / small.max(self.taken as f64);
        rows.sort_by(|one, other| one.0.total_cmp(&other.0));
        let low = self.bytes(rows.iter());
        let high = self.bytes(rows.iter().rev());
        let sums =
            rows.iter().fold((0.0, 0.0), |sum, row| (sum.0 + row.0 * row.2, sum.1 + row.1 * row.2));
        let bytes = self.scaled((sums.0 * part, sums.1 * part));
        MemorySaving { bytes, low: low.min(bytes), high: high.max(bytes) }
    }

    /// Saved bytes if the blocks that stay are the first of these.
    fn bytes<'a>(&self, rows: impl Iterator<Item = &'a (f64, f64, f64)>) -> u64 {
        let mut left = self.left as f64;
        let sums = rows.fold((0.0, 0.0), |sum, (saved, taken, calls)| {
            let stay = calls.min(left);
            left -= stay;
            (sum.0 + saved * stay, sum.1 + taken * stay)
        });
        self.scaled(sums)
    }

    /// From what is saved of what is taken by the blocks that were counted.
    fn scaled(&self, (saved, taken): (f64, f64)) -> u64 {
        match self.growth {
            None => saved as u64,
            Some(growth) if taken > 0.0 => (growth as f64 * saved / taken) as u64,
            Some(_) => 0,
        }
    }
}
