//! What the target's CPU time goes into, by samples of its clock.

use std::collections::{BTreeMap, HashMap};

use super::snapshot::CpuShare;

/// Kernel functions that tell what the kernel was asked to do. The outermost one on a stack
/// decides; a fault taken inside a system call is a fault.
const PLACES: &[(&str, &str)] = &[
    ("exc_page_fault", FAULT),
    ("asm_exc_page_fault", FAULT),
    ("__x64_sys_mmap", "mmap"),
    ("__x64_sys_munmap", "munmap"),
    ("__x64_sys_mremap", "mremap"),
    ("__x64_sys_mprotect", "mprotect"),
    ("__x64_sys_brk", "brk"),
    ("__x64_sys_madvise", "madvise"),
];
const FAULT: &str = "fault";
const USER: &str = "user";
const OTHER_KERNEL: &str = "other_kernel";

/// Names of kernel addresses.
pub trait KernelNames {
    /// The function that holds `address`.
    fn name(&self, address: u64) -> Option<&str>;
}

/// Samples by place.
#[derive(Clone, Debug, Default)]
pub struct CpuSamples {
    places: BTreeMap<&'static str, u64>,
    known: HashMap<u64, Option<&'static str>>,
}

impl CpuSamples {
    /// A sample in user mode.
    pub fn add_user(&mut self) {
        *self.places.entry(USER).or_default() += 1;
    }

    /// A sample in the kernel.
    pub fn add_kernel(&mut self, frames: &[u64], names: &impl KernelNames) {
        let mut found = None;
        for &frame in frames {
            let place = *self.known.entry(frame).or_insert_with(|| place(names.name(frame)));
            if place == Some(FAULT) {
                found = place;
                break;
            }
            found = place.or(found);
        }
        *self.places.entry(found.unwrap_or(OTHER_KERNEL)).or_default() += 1;
    }

    /// All samples.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.places.values().sum()
    }

    /// Samples inside faults.
    #[must_use]
    pub fn in_faults(&self) -> u64 {
        self.places.get(FAULT).copied().unwrap_or(0)
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

fn place(name: Option<&str>) -> Option<&'static str> {
    let name = name?;
    PLACES.iter().find(|(function, _)| *function == name).map(|(_, place)| *place)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Names;
    impl KernelNames for Names {
        fn name(&self, address: u64) -> Option<&str> {
            ["clear_page", "asm_exc_page_fault", "__x64_sys_mmap", "do_syscall_64"]
                .get(usize::try_from(address).ok()?)
                .copied()
        }
    }

    #[test]
    fn a_sample_belongs_to_what_the_kernel_was_asked_for() {
        let mut samples = CpuSamples::default();
        samples.add_user();
        samples.add_kernel(&[0, 1], &Names);
        samples.add_kernel(&[0, 1, 2, 3], &Names);
        samples.add_kernel(&[0, 2, 3], &Names);
        samples.add_kernel(&[0, 3], &Names);
        assert_eq!((samples.in_faults(), samples.total()), (2, 5));
        let shares = samples.shares();
        assert_eq!((shares[0].place.as_str(), shares[0].share), (FAULT, 0.4));
        assert_eq!(shares.len(), 4);
    }
}
