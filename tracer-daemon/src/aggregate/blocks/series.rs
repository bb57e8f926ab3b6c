//! How the outstanding bytes changed in the course of time.

use crate::aggregate::{
    snapshot::{Growth, GrowthPart},
    stacks::StackSum,
};

/// Slices of time that a series has at the most; it always uses more than half of them.
const SLICES: usize = 64;
const FIRST_WIDTH_NS: u64 = 1 << 26;
/// A growth is told in so many parts.
const PARTS: usize = 4;

/// How the time is sliced, the same for all series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    begin: u64,
    pub(super) end: u64,
    width: u64,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Clock {
    pub(super) const fn new(begin: u64) -> Self {
        Self { begin, end: begin, width: FIRST_WIDTH_NS }
    }

    /// Makes room for what happens at that time.
    pub(super) fn reach(&mut self, at: u64) {
        while at.saturating_sub(self.begin) / self.width >= SLICES as u64 {
            self.width *= 2;
        }
    }

    fn slice(&self, at: u64) -> usize {
        ((at.saturating_sub(self.begin) / self.width) as usize).min(SLICES - 1)
    }
}

/// What came and went in each slice.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    width: u64,
    slices: Vec<Slice>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    bytes: f64,
    blocks: f64,
    /// Of the bytes: each sample comes by chance, and stands for others.
    variance: f64,
}

impl Series {
    /// One that came and went within a slice changed nothing, and neither did those that it stands for.
    pub(super) fn passes(&mut self, clock: &Clock, sum: StackSum, born: u64, at: u64) {
        if clock.slice(born) != clock.slice(at) {
            self.add(clock, sum, born, 1.0);
            self.add(clock, sum, at, -1.0);
        }
    }

    pub(super) fn comes(&mut self, clock: &Clock, sum: StackSum, at: u64) {
        self.add(clock, sum, at, 1.0);
    }

    fn add(&mut self, clock: &Clock, sum: StackSum, at: u64, sign: f64) {
        self.adapt(clock);
        if let Some(slice) = self.slices.get_mut(clock.slice(at)) {
            let bytes = sum.bytes as f64;
            slice.bytes += sign * bytes;
            slice.blocks += sign * sum.count as f64;
            slice.variance += bytes * bytes;
        }
    }

    /// Takes slices together that have become too narrow.
    fn adapt(&mut self, clock: &Clock) {
        if self.slices.is_empty() {
            (self.slices, self.width) = (vec![Slice::default(); SLICES], clock.width);
        }
        while self.width < clock.width {
            let pairs = self.slices.chunks(2);
            let mut wide: Vec<_> =
                pairs.map(|pair| pair.iter().fold(Slice::default(), sum)).collect();
            wide.resize(SLICES, Slice::default());
            (self.slices, self.width) = (wide, self.width * 2);
        }
    }

    /// The growth in parts of about equal length; `None`: nothing ever came.
    pub(super) fn growth(&self, clock: &Clock) -> Option<Growth> {
        let mut adapted = self.clone();
        if adapted.slices.is_empty() {
            return None;
        }
        adapted.adapt(clock);
        let used = clock.slice(clock.end) + 1;
        let bound = |part: usize| used * part / PARTS;
        let time = |slice: usize| {
            let ns = clock.width.saturating_mul(slice as u64);
            ns.min(clock.end.saturating_sub(clock.begin)) as f64 / 1e9
        };
        let part = |part: usize| {
            let (from, to) = (bound(part), bound(part + 1));
            let sum = adapted.slices[from..to].iter().fold(Slice::default(), sum);
            GrowthPart {
                seconds: time(to) - time(from),
                bytes: sum.bytes,
                error: sum.variance.sqrt(),
                blocks: sum.blocks,
            }
        };
        Some(Growth { parts: (0..PARTS).map(part).collect() })
    }
}

fn sum(sum: Slice, slice: &Slice) -> Slice {
    Slice {
        bytes: sum.bytes + slice.bytes,
        blocks: sum.blocks + slice.blocks,
        variance: sum.variance + slice.variance,
    }
}
