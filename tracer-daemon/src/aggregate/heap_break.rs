//! The program breaks of the target's processes: what is given back at the top of a heap and taken
//! again.

use std::ops::Range;

use super::snapshot::{FaultShare, HeapTrims};

const NS: f64 = 1e9;

/// The break of one process.
#[derive(Clone, Debug, Default)]
pub struct HeapBreak {
    /// What falls of the break have given back: those whose ranges overlap, of which the last is
    /// one. Memory above that was never given back.
    given_back: Range<u64>,
    /// Where the last fall began, until the break rises again.
    falling_from: Option<u64>,
}

/// What the breaks of all processes add up to.
#[derive(Clone, Debug, Default)]
pub struct HeapBreaks {
    cycles: u64,
    bytes: u64,
    deepest_bytes: u64,
    calls: u64,
    fall_ns: u64,
    rise_ns: u64,
}

impl HeapBreaks {
    /// A call moved a break.
    pub fn moved(&mut self, heap: &mut HeapBreak, from: u64, to: u64, duration_ns: u64) {
        if to < from {
            heap.falls(from, to);
            self.calls += 1;
            self.fall_ns = self.fall_ns.saturating_add(duration_ns);
        } else {
            let fell_from = heap.falling_from.take_if(|_| to > from);
            let given_back = &heap.given_back;
            let again = to.min(given_back.end).saturating_sub(from.max(given_back.start));
            if again > 0 {
                self.calls += 1;
                self.rise_ns = self.rise_ns.saturating_add(duration_ns);
                self.bytes = self.bytes.saturating_add(again);
            }
            if let Some(fell_from) = fell_from {
                self.cycles += 1;
                self.deepest_bytes = self.deepest_bytes.max(fell_from.saturating_sub(from));
            }
        }
    }

    /// The sums; `faults` are those inside what was given back.
    #[must_use]
    pub fn snapshot(&self, faults: FaultShare) -> HeapTrims {
        HeapTrims {
            cycles: self.cycles,
            bytes: self.bytes,
            deepest_bytes: self.deepest_bytes,
            calls: self.calls,
            fall_seconds: self.fall_ns as f64 / NS,
            rise_seconds: self.rise_ns as f64 / NS,
            faults,
        }
    }
}

impl HeapBreak {
    /// Whether an address, if there is memory, is in memory that was given back before.
    #[must_use]
    pub fn gave_back(&self, address: u64) -> bool {
        self.given_back.contains(&address)
    }

    fn falls(&mut self, from: u64, to: u64) {
        self.falling_from.get_or_insert(from);
        let known = &self.given_back;
        let overlaps = to <= known.end && known.start <= from;
        self.given_back =
            if overlaps { known.start.min(to)..known.end.max(from) } else { to..from };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: u64 = 0x1000_0000;

    /// Moves the break by so many bytes, one call after the other.
    fn moved(steps: &[i64]) -> (HeapBreaks, HeapBreak) {
        let (mut breaks, mut heap, mut at) = (HeapBreaks::default(), HeapBreak::default(), TOP);
        for step in steps {
            let to = at.saturating_add_signed(*step);
            breaks.moved(&mut heap, at, to, 1_000_000);
            at = to;
        }
        (breaks, heap)
    }

    #[test]
    fn a_heap_that_grows_or_only_shrinks_makes_no_cycle() {
        for steps in [&[4096; 100][..], &[-4096; 100], &[0; 3], &[1 << 20, -4096, -4096]] {
            let trims = moved(steps).0.snapshot(FaultShare::default());
            assert_eq!((trims.cycles, trims.bytes), (0, 0), "{steps:?}");
        }
    }

    #[test]
    fn falls_and_rises_in_steps_are_one_cycle() {
        let steps = [300, 300, -200, -400, 100, 500, 100, -700, 700];
        let trims = moved(&steps).0.snapshot(FaultShare::default());
        assert_eq!((trims.cycles, trims.deepest_bytes), (2, 700));
        // The third step up after the first fall reaches beyond what had been given back.
        assert_eq!((trims.calls, trims.bytes), (6, 600 + 700));
        assert_eq!((trims.fall_seconds, trims.rise_seconds), (0.003, 0.003));
    }

    #[test]
    fn what_was_given_back_is_known() {
        let (_, heap) = moved(&[1000, -600, 600]);
        let inside = [399, 400, 999, 1000].map(|offset| heap.gave_back(TOP + offset));
        assert_eq!(inside, [false, true, true, false]);
    }

    /// Each time it is trimmed a little, and goes on above that.
    #[test]
    fn what_a_growing_heap_never_gave_back_is_new() {
        let (_, heap) = moved(&[1000, -10, 1010, -10, 10]);
        assert!(!heap.gave_back(TOP + 1000) && heap.gave_back(TOP + 1995));
    }
}
