//! What the target's CPU time goes into, by samples of its clock.

use std::collections::BTreeMap;

use tracer_common::Lookup;

use super::{
    kernel_path::{FAULT, Path},
    snapshot::CpuShare,
};

/// Samples each second on each CPU, as `perf record -F 99` would take.
pub const SAMPLES_PER_SECOND: u64 = 99;

/// The class of what the kernel does for none of the calls that are measured.
pub const OTHER_KERNEL: &str = "other_kernel";

/// What a CPU was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CpuClass {
    /// It ran the program's own code.
    User,
    /// It was in the kernel: busy with this, or else asked for it.
    Kernel(&'static str),
}

impl CpuClass {
    /// What a kernel stack tells.
    #[must_use]
    pub fn of_kernel(path: Path) -> Self {
        Self::Kernel(path.busy.or(path.asked).unwrap_or(OTHER_KERNEL))
    }

    /// As `where` in a recording.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Kernel(place) => place,
        }
    }
}

/// Whether a [`CpuClass::name`] stands for the kernel's work on memory.
#[must_use]
pub fn is_memory(place: &str) -> bool {
    place != CpuClass::User.name() && place != OTHER_KERNEL
}

/// Samples in user mode that are inside an allocator, as `where` in a recording. Only names tell.
pub const ALLOCATOR: &str = "allocator";

/// Samples by class.
#[derive(Clone, Debug, Default)]
pub struct CpuSamples {
    classes: BTreeMap<CpuClass, u64>,
    faults: u64,
    lookups: BTreeMap<Lookup, u64>,
}

impl CpuSamples {
    /// A sample in user mode.
    pub fn add_user(&mut self) -> CpuClass {
        self.add(CpuClass::User)
    }

    /// A sample in the kernel.
    pub fn add_kernel(&mut self, path: Path) -> CpuClass {
        self.faults += u64::from(path.asked == Some(FAULT));
        if let Some(function) = path.lookup {
            *self.lookups.entry(function).or_default() += 1;
        }
        self.add(CpuClass::of_kernel(path))
    }

    fn add(&mut self, class: CpuClass) -> CpuClass {
        *self.classes.entry(class).or_default() += 1;
        class
    }

    /// All samples.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.classes.values().sum()
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

    /// Shares, largest first. `in_allocator` is the part of the samples in user mode that are inside
    /// an allocator; `None` where no stack tells.
    #[must_use]
    pub fn shares(&self, in_allocator: Option<f64>) -> Vec<CpuShare> {
        let total = self.total() as f64;
        let share =
            |place: &str, part: f64| CpuShare { place: place.to_owned(), share: part / total };
        let mut shares = Vec::new();
        for (&class, &count) in &self.classes {
            let apart = match class {
                CpuClass::User => in_allocator.unwrap_or(0.0) * count as f64,
                CpuClass::Kernel(_) => 0.0,
            };
            shares.push(share(class.name(), count as f64 - apart));
            shares.push(share(ALLOCATOR, apart));
        }
        shares.retain(|row| row.share > 0.0);
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
        let shares = samples.shares(None);
        assert!(shares.iter().all(|share| (share.share - 0.2).abs() < 1e-9), "{shares:?}");
        assert!(shares.iter().any(|share| share.place == OTHER_KERNEL));
        assert!(shares.iter().all(|share| share.place != ALLOCATOR));
    }

    #[test]
    fn the_allocators_part_is_taken_from_user_mode() {
        let mut samples = CpuSamples::default();
        (0..3).for_each(|_| assert_eq!(samples.add_user().name(), "user"));
        samples.add_kernel(Path::default());
        let shares = samples.shares(Some(1.0 / 3.0));
        let of = |place: &str| shares.iter().find(|row| row.place == place).map(|row| row.share);
        assert_eq!(
            (of("user"), of(ALLOCATOR), of(OTHER_KERNEL)),
            (Some(0.5), Some(0.25), Some(0.25))
        );
        let all = samples.shares(Some(1.0));
        assert!(all.iter().all(|row| row.place != "user"), "{all:?}");
    }
}
