//! What the target's CPU time goes into, by samples of its clock.

use std::collections::BTreeMap;

use tracer_common::Lookup;

use super::{
    kernel_path::{FAULT, Path},
    snapshot::CpuShare,
};

/// Samples each second on each CPU, as `perf record -F 99` would take.
pub const SAMPLES_PER_SECOND: u64 = 99;

/// In user mode.
pub const USER: &str = "user";
const OTHER_KERNEL: &str = "other_kernel";

/// What a sample in the kernel counts for: the work, else what the kernel was asked for.
#[must_use]
pub fn place(path: Path) -> &'static str {
    path.busy.or(path.asked).unwrap_or(OTHER_KERNEL)
}

/// Samples by place.
#[derive(Clone, Debug, Default)]
pub struct CpuSamples {
    places: BTreeMap<&'static str, u64>,
    faults: u64,
    lookups: BTreeMap<Lookup, u64>,
}

impl CpuSamples {
    /// A sample in user mode.
    pub fn add_user(&mut self) {
        *self.places.entry(USER).or_default() += 1;
    }

    /// A sample in the kernel.
    pub fn add_kernel(&mut self, path: Path) {
        *self.places.entry(place(path)).or_default() += 1;
        self.faults += u64::from(path.asked == Some(FAULT));
        if let Some(function) = path.lookup {
            *self.lookups.entry(function).or_default() += 1;
        }
    }

    /// All samples.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.places.values().sum()
    }

    /// Samples inside faults, whatever they were busy with.
    #[must_use]
    pub fn in_faults(&self) -> u64 {
        self.faults
    }

    /// Samples inside a look-up.
    #[must_use]
    pub fn in_lookup(&self, function: Lookup) -> u64 {
        self.lookups.get(&function).copied().unwrap_or(0)
    }

    /// Shares, largest first.
    #[must_use]
    pub fn shares(&self) -> Vec<CpuShare> {
        let total = self.total() as f64;
        let mut shares: Vec<_> = self
            .places
            .iter()
            .map(|(place, &count)| CpuShare {
                place: (*place).to_owned(),
                share: count as f64 / total,
            })
            .collect();
        shares.sort_by(|a, b| b.share.total_cmp(&a.share));
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_belongs_to_the_work_else_to_what_was_asked_for() {
        let mut samples = CpuSamples::default();
        samples.add_user();
        samples.add_kernel(Path { asked: Some(FAULT), ..Path::default() });
        samples.add_kernel(Path { asked: Some(FAULT), busy: Some("page_zeroing"), lookup: None });
        let lookup = Some(Lookup::FindVma);
        samples.add_kernel(Path { asked: Some("mmap"), busy: Some("look_up"), lookup });
        samples.add_kernel(Path::default());
        assert_eq!((samples.in_faults(), samples.total()), (2, 5));
        assert_eq!(samples.in_lookup(Lookup::FindVma), 1);
        let shares = samples.shares();
        assert!(shares.iter().all(|share| (share.share - 0.2).abs() < 1e-9), "{shares:?}");
        assert!(shares.iter().any(|share| share.place == OTHER_KERNEL));
    }
}
