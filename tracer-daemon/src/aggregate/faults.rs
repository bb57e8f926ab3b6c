//! Why faults happen: what of a process's memory has been touched before, and why it has to be touched
//! again.

use std::collections::HashMap;

use super::{
    addresses::Addresses,
    heap_break::HeapBreak,
    mappings::Touched,
    ranges::Ranges,
    snapshot::{FaultShare, Refaults, SHORT_LIVED_SECONDS},
    stacks::Program,
};
use crate::census::Area;

const PAGE: u64 = 4096;
/// Touched pages kept of a process; then all are forgotten, and what is touched again is found out
/// a little later.
const MOST_PAGES: usize = 1 << 16;
/// Advice that gives pages back, `include/uapi/asm-generic/mman-common.h`: `MADV_DONTNEED`,
/// `MADV_FREE`, `MADV_REMOVE`, `MADV_PAGEOUT`, `MADV_DONTNEED_LOCKED`.
const GIVES_BACK: [u64; 5] = [4, 8, 9, 21, 24];

/// Why a page faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultCause {
    /// It has not been seen to be touched before.
    New,
    /// `brk` gave it back.
    Trimmed,
    /// `madvise` gave it back.
    Advised,
    /// The process has forked since, and shares the page with its child.
    Forked,
    /// It faults again, for a reason that no call explains.
    Repeated,
}

impl FaultCause {
    /// As `where` of a stack in a recording.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Trimmed => "trimmed",
            Self::Advised => "advised",
            Self::Forked => "forked",
            Self::Repeated => "repeated",
        }
    }
}

/// What is known of the pages of a process.
#[derive(Debug, Default)]
pub struct Pages {
    /// The break.
    pub heap: HeapBreak,
    advised: Ranges,
    /// With the number of forks by then; those of a mapping that was seen to be made by its number.
    touched: HashMap<(Option<u64>, u64), u32>,
    forks: u32,
}

impl Pages {
    /// `madvise` returned.
    pub fn advised(&mut self, start: u64, length: u64, advice: u64) {
        if GIVES_BACK.contains(&advice) {
            self.advised.insert(start, start.saturating_add(length));
        }
    }

    /// Something else was mapped at a range, or nothing is any more.
    pub fn replaced(&mut self, start: u64, length: u64) {
        self.advised.remove(start, start.saturating_add(length));
    }

    /// The process made a child.
    pub fn forked(&mut self) {
        self.forks += 1;
    }

    /// A child's. What it has touched is not known: it is its parent's.
    #[must_use]
    pub fn of_child(&self) -> Self {
        Self { heap: self.heap.clone(), advised: self.advised.clone(), ..Self::default() }
    }

    /// A fault sample fell at `address`, in this mapping if one was seen to be made there.
    pub fn fault(&mut self, address: u64, time_ns: u64, mapping: Option<Touched>) -> FaultCause {
        let age = mapping.map(|mapping| time_ns.saturating_sub(mapping.born_ns));
        if age.is_some_and(|ns| (ns as f64) < SHORT_LIVED_SECONDS * 1e9) {
            // Its faults may yet be those of a short-lived mapping.
            return FaultCause::New;
        }
        if self.heap.gave_back(address) {
            return FaultCause::Trimmed;
        }
        if self.advised.contain(address) {
            return FaultCause::Advised;
        }
        if self.touched.len() >= MOST_PAGES {
            self.touched.clear();
        }
        let page = (mapping.map(|mapping| mapping.id), address / PAGE);
        match self.touched.insert(page, self.forks) {
            None => FaultCause::New,
            Some(forks) if forks != self.forks => FaultCause::Forked,
            Some(_) => FaultCause::Repeated,
        }
    }
}

/// The sampled faults of all processes.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    samples: u64,
    /// Faults that they stand for.
    weight: u64,
    again: HashMap<FaultCause, Again>,
}

/// Faults on what had been touched before.
#[derive(Clone, Debug, Default)]
struct Again {
    weight: u64,
    addresses: Addresses,
}

impl Faults {
    /// One more, which stands for `weight` faults.
    pub fn add(&mut self, cause: FaultCause, program: Program, address: u64, weight: u64) {
        self.samples += 1;
        self.weight += weight;
        if cause != FaultCause::New {
            let again = self.again.entry(cause).or_default();
            again.weight += weight;
            again.addresses.add(program, address);
        }
    }

    /// The share of samples that stand for so many faults.
    #[must_use]
    pub fn share_of(&self, weight: u64) -> FaultShare {
        let share = (self.weight > 0).then(|| weight as f64 / self.weight as f64);
        let inside = share.map_or(0, |share| (share * self.samples as f64).round() as u64);
        FaultShare { share, samples: (inside, self.samples) }
    }

    /// The share of a cause.
    #[must_use]
    pub fn share_of_cause(&self, cause: FaultCause) -> FaultShare {
        self.share_of(self.again.get(&cause).map_or(0, |again| again.weight))
    }

    /// What was touched again, by cause, heaviest first. `areas` are those of the last program of
    /// `process`.
    #[must_use]
    pub fn again(&self, process: tracer_common::ProcessId, areas: &[Area]) -> Vec<Refaults> {
        let mut all: Vec<_> = self
            .again
            .iter()
            .map(|(cause, again)| Refaults {
                cause: *cause,
                faults: self.share_of(again.weight),
                mappings: again.addresses.mappings(process, areas),
            })
            .collect();
        all.sort_by_key(|refaults| std::cmp::Reverse(refaults.faults.samples));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG_AFTER: u64 = 10_000_000_000;
    const MADV_DONTNEED: u64 = 4;
    const MADV_WILLNEED: u64 = 3;

    #[test]
    fn a_page_is_new_once() {
        let mut pages = Pages::default();
        let mut fault = |address| pages.fault(address, 0, None);
        assert_eq!(fault(0x1000), FaultCause::New);
        assert_eq!(fault(0x2000), FaultCause::New);
        assert_eq!(fault(0x1fff), FaultCause::Repeated);
    }

    #[test]
    fn what_was_given_back_is_told_from_what_was_copied() {
        let mut pages = Pages::default();
        pages.advised(0x1000, 0x2000, MADV_DONTNEED);
        pages.advised(0x5000, 0x1000, MADV_WILLNEED);
        assert_eq!(pages.fault(0x2000, 0, None), FaultCause::Advised);
        assert_eq!(pages.fault(0x5000, 0, None), FaultCause::New);
        pages.forked();
        let mut child = pages.of_child();
        assert_eq!(pages.fault(0x5000, 0, None), FaultCause::Forked);
        assert_eq!(child.fault(0x5000, 0, None), FaultCause::New);
        assert_eq!(child.fault(0x2000, 0, None), FaultCause::Advised);
        pages.replaced(0x2000, 0x1000);
        assert_eq!(pages.fault(0x2000, 0, None), FaultCause::New);
    }

    #[test]
    fn short_lived_mappings_are_no_business_of_this() {
        let mut pages = Pages::default();
        pages.advised(0x1000, 0x1000, MADV_DONTNEED);
        let mapping = |id| Some(Touched { id, born_ns: 1000 });
        assert_eq!(pages.fault(0x1000, 2000, mapping(1)), FaultCause::New);
        assert_eq!(pages.fault(0x1000, LONG_AFTER, mapping(1)), FaultCause::Advised);
        assert_eq!(pages.fault(0x9000, LONG_AFTER, mapping(1)), FaultCause::New);
        assert_eq!(pages.fault(0x9000, LONG_AFTER, mapping(2)), FaultCause::New);
        assert_eq!(pages.fault(0x9000, LONG_AFTER, mapping(2)), FaultCause::Repeated);
    }

    #[test]
    fn forgetting_costs_only_time() {
        let mut pages = Pages::default();
        for page in 0..3 * MOST_PAGES as u64 {
            assert_eq!(pages.fault(page * PAGE, 0, None), FaultCause::New);
        }
        assert!(pages.touched.len() <= MOST_PAGES);
    }
}
