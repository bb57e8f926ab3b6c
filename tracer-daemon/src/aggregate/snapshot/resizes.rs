//! What became of the blocks that a program wanted to have another size.

use serde::{Deserialize, Serialize};
use tracer_common::{Resize, ResizeCounter, ResizeRecord, copied};

/// All such calls while results were seen; counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resizes {
    /// For how long, from the beginning of the window.
    pub seconds: f64,
    /// There was no block before.
    pub fresh: u64,
    /// The block stayed where it was.
    pub in_place: u64,
    /// It moved, and was copied.
    pub moved: u64,
    /// Its pages were moved by `mremap`, without a copy.
    pub remapped: u64,
    /// It was asked to have no bytes, and was given back.
    pub freed: u64,
    /// There was no memory.
    pub failed: u64,
    /// Bytes that were copied when blocks moved; unknown where no size of one was.
    pub copied_bytes: Option<u64>,
    /// Bytes by which blocks became larger, new ones included; unknown like those.
    pub grown_bytes: Option<u64>,
    /// Of the blocks that moved, those whose size was unknown.
    pub unsized_moves: u64,
    /// Bytes that they were to have: no less than was copied of them.
    pub unsized_bytes: u64,
}

impl Resizes {
    /// From the counter.
    #[must_use]
    pub fn of(counter: &ResizeCounter, seconds: f64) -> Self {
        let calls = |resize: Resize| counter.calls[resize as usize];
        let moved = calls(Resize::Moved);
        let is_known = counter.grown > 0 || counter.unsized_moves < moved;
        Self {
            seconds,
            fresh: calls(Resize::Fresh),
            in_place: calls(Resize::InPlace),
            moved,
            remapped: calls(Resize::Remapped),
            freed: calls(Resize::Freed),
            failed: calls(Resize::Failed),
            copied_bytes: is_known.then_some(counter.copied),
            grown_bytes: is_known.then_some(counter.grown),
            unsized_moves: counter.unsized_moves,
            unsized_bytes: counter.unsized_bytes,
        }
    }

    /// Calls that got a block of another size.
    #[must_use]
    pub fn resized(&self) -> u64 {
        let all = [self.in_place, self.moved, self.remapped];
        all.into_iter().fold(0, u64::saturating_add)
    }
}

/// The sampled ones of a stack, each for those that it stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SiteResizes {
    /// How many were sampled.
    pub samples: u64,
    /// Calls that left the block where it was.
    pub in_place: u64,
    /// Calls that moved it with a copy.
    pub moved: u64,
    /// Calls that moved it without.
    pub remapped: u64,
    /// Bytes copied, of blocks whose size was known.
    pub copied_bytes: u64,
    /// Bytes by which such blocks became larger, new ones included.
    pub grown_bytes: u64,
    /// Of the blocks that moved, those whose size was unknown.
    pub unsized_moves: u64,
    /// The most that a sampled one asked for.
    pub largest: u64,
}

impl SiteResizes {
    /// A sample that stands for so many calls.
    pub(in crate::aggregate) fn add(&mut self, count: u64, resize: Resize, record: &ResizeRecord) {
        let ResizeRecord { bytes, before, after, .. } = *record;
        let add = |sum: &mut u64, one: u64| *sum = sum.saturating_add(one.saturating_mul(count));
        add(&mut self.in_place, u64::from(resize == Resize::InPlace));
        add(&mut self.moved, u64::from(resize == Resize::Moved));
        add(&mut self.remapped, u64::from(resize == Resize::Remapped));
        if resize == Resize::Moved {
            add(&mut self.copied_bytes, copied(before, bytes));
            add(&mut self.unsized_moves, u64::from(before == 0));
        }
        if before != 0 || resize == Resize::Fresh {
            add(&mut self.grown_bytes, after.saturating_sub(before));
        }
        self.samples += 1;
        self.largest = self.largest.max(bytes);
    }

    /// Those of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let sum = |of: fn(&Self) -> u64| of(&self).saturating_add(of(&other));
        Self {
            samples: sum(|one| one.samples),
            in_place: sum(|one| one.in_place),
            moved: sum(|one| one.moved),
            remapped: sum(|one| one.remapped),
            copied_bytes: sum(|one| one.copied_bytes),
            grown_bytes: sum(|one| one.grown_bytes),
            unsized_moves: sum(|one| one.unsized_moves),
            largest: self.largest.max(other.largest),
        }
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::{Header, ProcessId, RecordKind, SampleId};

    use super::*;

    fn record(bytes: u64, before: u64, after: u64) -> ResizeRecord {
        let kind = RecordKind::BlockResized as u32;
        let header = Header { kind, tid: 1, process: ProcessId::new(1, 1), time_ns: 1 };
        let (sample, resize, reserved) = (SampleId::default(), 0, 0);
        ResizeRecord { header, sample, bytes, before, after, resize, reserved }
    }

    #[test]
    fn a_sample_counts_for_those_that_it_stands_for() {
        let mut sums = SiteResizes::default();
        sums.add(10, Resize::Fresh, &record(100, 0, 104));
        sums.add(5, Resize::Moved, &record(200, 104, 200));
        sums.add(2, Resize::InPlace, &record(50, 200, 56));
        sums.add(3, Resize::Moved, &record(300, 0, 0));
        let truth = SiteResizes {
            samples: 4,
            in_place: 2,
            moved: 8,
            remapped: 0,
            copied_bytes: 520,
            grown_bytes: 1040 + 480,
            unsized_moves: 3,
            largest: 300,
        };
        assert_eq!(sums, truth);
        assert_eq!(sums.plus(sums).moved, 16);
    }

    #[test]
    fn what_is_unknown_is_not_nothing() {
        let mut counter = ResizeCounter::default();
        counter.calls[Resize::Moved as usize] = 3;
        (counter.unsized_moves, counter.unsized_bytes) = (3, 900);
        assert_eq!(Resizes::of(&counter, 1.0).copied_bytes, None);
        (counter.unsized_moves, counter.copied) = (2, 100);
        assert_eq!(Resizes::of(&counter, 1.0).copied_bytes, Some(100));
    }
}
