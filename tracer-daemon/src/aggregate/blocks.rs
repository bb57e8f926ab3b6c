//! Sampled blocks, followed from the call that returned them to the one that gave them back.

mod series;
mod sums;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use tracer_common::{BlockKey, BlockRecord, ProcessId, Resize, ResizeRecord, SampleId};

use self::{series::Clock, sums::Sums};
use super::{
    snapshot::{BlockTotals, SiteResizes},
    stacks::{StackKey, StackSum},
};

/// Blocks followed at once, and ended ones whose stack is yet to be unwound; what comes beyond is counted
/// as lost. The kernel's table has a quarter of it.
const MOST_BLOCKS: usize = 1 << 18;
/// Threads whose last sample may be without a result; the kernel's table has no room for more.
const MOST_THREADS: usize = 16_384;
/// Different stacks that have sums of their own; the blocks of others count in the total only.
const MOST_STACKS: usize = 16_384;

/// All blocks of a window.
#[derive(Clone, Debug, Default)]
pub struct Blocks {
    /// The last sample of each thread, until its result is known.
    calling: HashMap<u32, SampleId>,
    blocks: HashMap<SampleId, Block>,
    places: HashMap<BlockKey, SampleId>,
    stacks: HashMap<StackKey, usize>,
    sums: Vec<Sums>,
    total: Sums,
    clock: Clock,
    samples: u64,
    dropped: u64,
}

/// What is known of a sampled call.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// What it stands for.
    sum: StackSum,
    /// Its place among the sums, once it is known.
    stack: Option<usize>,
    life: Life,
    /// How it came from another block, or from none.
    resize: Option<(Resize, ResizeRecord)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// Its call has not returned.
    Unborn,
    Born {
        at: u64,
    },
    Ended {
        born: u64,
        at: u64,
    },
    /// It has ended, nobody knows when.
    Lost,
}

impl Blocks {
    /// Following begins, in nanoseconds of the kernel's clock.
    pub fn begin(&mut self, at: u64) {
        self.clock = Clock::new(at);
    }

    /// A call was sampled that stands for so much.
    pub fn sampled(&mut self, id: SampleId, sum: StackSum) {
        // One that threw an exception, or whose result is not seen.
        if let Some(earlier) = self.calling.insert(id.tid, id)
            && self.blocks.get(&earlier).is_some_and(|block| block.life == Life::Unborn)
        {
            self.blocks.remove(&earlier);
        }
        if self.calling.len() > MOST_THREADS {
            // Most of them have ended.
            self.calling.clear();
            self.blocks.retain(|_, block| block.life != Life::Unborn);
        }
        if self.blocks.len() >= MOST_BLOCKS {
            self.dropped += 1;
        } else {
            self.blocks.insert(id, Block { sum, stack: None, life: Life::Unborn, resize: None });
        }
    }

    /// A sampled call that returns has made a block another size.
    pub fn resized(&mut self, resize: Resize, record: &ResizeRecord) {
        if let Some(block) = self.blocks.get_mut(&record.sample) {
            block.resize = Some((resize, *record));
        }
    }

    /// A sampled call has returned.
    pub fn born(&mut self, record: &BlockRecord) {
        self.calling.remove(&record.sample.tid);
        let Some(block) = self.blocks.get_mut(&record.sample) else { return };
        if record.address == 0 {
            self.blocks.remove(&record.sample);
            return;
        }
        block.life = Life::Born { at: record.header.time_ns };
        self.samples += 1;
        self.clock.reach(record.header.time_ns);
        let key = BlockKey { process: record.header.process, address: record.address };
        if let Some(earlier) = self.places.insert(key, record.sample) {
            self.end(earlier, |_| Life::Lost);
        }
    }

    /// A sampled block was given back.
    pub fn ended(&mut self, record: &BlockRecord) {
        let key = BlockKey { process: record.header.process, address: record.address };
        if self.places.get(&key) != Some(&record.sample) {
            return;
        }
        self.places.remove(&key);
        let at = record.header.time_ns;
        self.clock.reach(at);
        self.end(record.sample, |born| Life::Ended { born, at });
    }

    /// A process has another program, and nothing of what it had.
    pub fn forget(&mut self, process: ProcessId) {
        let gone: Vec<_> = self.places.extract_if(|key, _| key.process == process).collect();
        for (_, id) in gone {
            self.end(id, |_| Life::Lost);
        }
    }

    /// A sampled call came from this stack.
    pub fn come_from(&mut self, id: SampleId, stack: StackKey) {
        if !self.blocks.contains_key(&id) {
            return;
        }
        let number = self.number(stack);
        if let Some(block) = self.blocks.get_mut(&id) {
            block.stack = number;
        }
        self.settle(id);
    }

    /// Following has ended. Where it was before the window did, or calls went on without, what became of the
    /// blocks that were there is not known.
    pub fn close(&mut self, at: u64, to_the_end: bool) {
        self.clock.reach(at);
        self.clock.end = at;
        for block in std::mem::take(&mut self.blocks).into_values() {
            self.add(&block, to_the_end);
        }
        self.places.clear();
    }

    /// What became of the blocks from a stack. Nothing is known before [`Self::close`].
    #[must_use]
    pub fn of(&self, stack: &StackKey) -> Option<BlockTotals> {
        let sums = self.sums.get(*self.stacks.get(stack)?)?;
        Some(sums.totals(&self.clock))
    }

    /// What became of the blocks that a stack wanted to have another size, as [`Self::of`].
    #[must_use]
    pub fn resizes_of(&self, stack: &StackKey) -> Option<SiteResizes> {
        self.sums.get(*self.stacks.get(stack)?)?.resizes()
    }

    /// What became of all blocks.
    #[must_use]
    pub fn total(&self) -> BlockTotals {
        self.total.totals(&self.clock)
    }

    /// Blocks that were followed.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Sampled calls that found no room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn number(&mut self, stack: StackKey) -> Option<usize> {
        if let Some(known) = self.stacks.get(&stack) {
            return Some(*known);
        }
        if self.sums.len() >= MOST_STACKS {
            return None;
        }
        self.stacks.insert(stack, self.sums.len());
        self.sums.push(Sums::default());
        Some(self.sums.len() - 1)
    }

    fn end(&mut self, id: SampleId, life: impl FnOnce(u64) -> Life) {
        if let Some(block) = self.blocks.get_mut(&id)
            && let Life::Born { at } = block.life
        {
            block.life = life(at);
            self.settle(id);
        }
    }

    /// Keeps the sums only of a block of which everything is known.
    fn settle(&mut self, id: SampleId) {
        let is_over = |block: &Block| matches!(block.life, Life::Ended { .. } | Life::Lost);
        if let Some(block) = self.blocks.get(&id).copied()
            && block.stack.is_some()
            && is_over(&block)
        {
            self.blocks.remove(&id);
            self.add(&block, true);
        }
    }

    fn add(&mut self, block: &Block, outstanding_is_known: bool) {
        let own = block.stack.and_then(|stack| self.sums.get_mut(stack));
        for sums in own.into_iter().chain([&mut self.total]) {
            if let Some((resize, record)) = &block.resize {
                sums.resized(block.sum.count, *resize, record);
            }
            match block.life {
                Life::Unborn => {}
                Life::Born { at } => sums.stays(&self.clock, block.sum, at, outstanding_is_known),
                Life::Ended { born, at } => sums.ended(&self.clock, block.sum, born, at),
                Life::Lost => sums.lost(block.sum),
            }
        }
    }
}
