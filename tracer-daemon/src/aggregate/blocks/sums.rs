use tracer_common::{Resize, ResizeRecord};

use super::series::{Clock, Series};
use crate::aggregate::{
    snapshot::{BlockSum, BlockTotals, LifetimeBlocks, SiteResizes},
    stacks::StackSum,
};

/// Classes of lifetimes, by powers of two of nanoseconds.
const LIFETIMES: usize = 65;

/// What became of the blocks of a stack, or of all.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    freed: BlockSum,
    outstanding: Option<BlockSum>,
    unknown: BlockSum,
    lifetimes: [u64; LIFETIMES],
    series: Series,
    resizes: SiteResizes,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            freed: BlockSum::default(),
            outstanding: Some(BlockSum::default()),
            unknown: BlockSum::default(),
            lifetimes: [0; LIFETIMES],
            series: Series::default(),
            resizes: SiteResizes::default(),
        }
    }
}

impl Sums {
    /// A block that is there when following ends.
    pub(super) fn stays(&mut self, clock: &Clock, sum: StackSum, born: u64, is_known: bool) {
        self.series.comes(clock, sum, born);
        match &mut self.outstanding {
            Some(outstanding) if is_known => outstanding.add(sum),
            _ => {
                self.outstanding = None;
                self.unknown.add(sum);
            }
        }
    }

    pub(super) fn ended(&mut self, clock: &Clock, sum: StackSum, born: u64, at: u64) {
        self.series.passes(clock, sum, born, at);
        self.freed.add(sum);
        let class = (u64::BITS - at.saturating_sub(born).leading_zeros()) as usize;
        self.lifetimes[class] = self.lifetimes[class].saturating_add(sum.count);
    }

    pub(super) fn lost(&mut self, sum: StackSum) {
        self.unknown.add(sum);
    }

    /// A call that stands for so many has made a block another size.
    pub(super) fn resized(&mut self, count: u64, resize: Resize, record: &ResizeRecord) {
        self.resizes.add(count, resize, record);
    }

    pub(super) fn resizes(&self) -> Option<SiteResizes> {
        (self.resizes.samples > 0).then_some(self.resizes)
    }

    pub(super) fn totals(&self, clock: &Clock) -> BlockTotals {
        let classes = self.lifetimes.iter().enumerate().filter(|(_, blocks)| **blocks > 0);
        let lifetimes = classes.map(|(class, blocks)| LifetimeBlocks {
            seconds: 2f64.powi(class as i32) / 1e9,
            blocks: *blocks,
        });
        BlockTotals {
            freed: self.freed,
            outstanding: self.outstanding,
            unknown: self.unknown,
            lifetimes: lifetimes.collect(),
            growth: self.series.growth(clock),
        }
    }
}

impl BlockSum {
    fn add(&mut self, sum: StackSum) {
        self.blocks = self.blocks.saturating_add(sum.count);
        self.bytes = self.bytes.saturating_add(sum.bytes);
    }
}
