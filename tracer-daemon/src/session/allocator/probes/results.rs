//! Probes where the allocator's functions return, by which sampled blocks are followed.
//!
//! The kernel steps over a `ret`, so that a result takes eight times as long as a call. So they are put in at the
//! beginning only, where the budget allows for them, and are the first to go.

use std::{collections::HashMap, time::Duration};

use tracer_common::{AllocationCounter, Counting, HitCounter, ResizeCounter};

use super::{AllocatorProbes, Calls, Kernel, kernel_clock};
use crate::{
    aggregate::{
        allocations::Allocations,
        blocks::Blocks,
        snapshot::{FollowedBlocks, Resizes},
    },
    allocator::{Place, call_of},
    probes::catalog,
};

/// How long the calls are looked at before the window, to know what their results would take.
const LOOK: Duration = Duration::from_millis(50);

/// The part of the window in which blocks are followed, in nanoseconds of the kernel's clock.
pub(super) struct Following {
    pub(super) since: u64,
    until: Option<Until>,
}

/// Its end.
struct Until {
    at: u64,
    /// What had been counted by then.
    calls: Calls,
    /// The window ended with it.
    to_the_end: bool,
}

impl AllocatorProbes {
    /// Puts the probes on results in, where the budget is enough for them.
    pub(super) fn follow(&mut self, kernel: &mut Kernel<'_>) -> Result<(), String> {
        if self.places.results.is_empty() || !self.can_afford_results(kernel) {
            return Ok(());
        }
        self.results =
            Some(self.attach(kernel, catalog::ALLOCATOR_RESULT, self.places.results.iter())?);
        kernel.control.blocks = 1;
        super::count(kernel, Counting::On);
        self.following = Some(Following { since: kernel_clock(), until: None });
        Ok(())
    }

    fn can_afford_results(&self, kernel: &Kernel<'_>) -> bool {
        let hits = || kernel.maps.allocations.hits().unwrap_or_default();
        let before = hits();
        std::thread::sleep(LOOK);
        let after = hits();
        let new: [u64; HitCounter::ALL.len()] =
            std::array::from_fn(|at| after[at].saturating_sub(before[at]));
        // Each call that asks has a result, and the processor steps over it.
        let [emulated, stepped, ..] = new;
        let prices = self.meter.prices();
        let results = prices.of([0, emulated + stepped, 0, 0, 0]);
        self.budget.allows(prices.of(new) + results, LOOK)
    }

    /// When following began, in nanoseconds of the kernel's clock.
    pub(in crate::session) fn followed_since(&self) -> u64 {
        self.following.as_ref().map_or_else(kernel_clock, |following| following.since)
    }

    /// How often probes were hit, by their offsets in the file; of results, as often as of calls.
    pub(super) fn hits(&self, calls: &Calls) -> HashMap<u64, u64> {
        let places = self.places.of_calls().chain(&self.places.results);
        let hits = |place: &Place| calls.get(&place.call).map_or(0, |counter| counter.calls);
        places.map(|place| (place.file_offset, hits(place))).collect()
    }

    /// Whether blocks are being followed.
    pub(super) fn follows(&self) -> bool {
        self.following.as_ref().is_some_and(|following| following.until.is_none())
    }

    /// Takes the probes on results out, while calls go on being counted.
    pub(super) fn shed(&mut self, kernel: &mut Kernel<'_>) -> Result<(), String> {
        kernel.control.blocks = 0;
        super::count(kernel, Counting::On);
        let calls = self.calls(kernel.maps);
        let hits = self.hits(&calls);
        self.no_longer_follows(calls, false);
        let Some(links) = self.results.take() else { return Ok(()) };
        let thread = std::thread::Builder::new().spawn(move || links.leave(&hits));
        thread.map_err(|error| format!("no thread: {error}")).map(drop)
    }

    /// Following has ended; `calls` is what was counted by then.
    pub(super) fn no_longer_follows(&mut self, calls: Calls, to_the_end: bool) {
        if let Some(following) = &mut self.following
            && following.until.is_none()
        {
            following.until = Some(Until { at: kernel_clock(), calls, to_the_end });
        }
    }

    /// The same with what follows from results, as far as they were seen.
    pub(super) fn with_results(
        &self,
        all: Allocations,
        calls: &Calls,
        resizes: &ResizeCounter,
        blocks: &mut Blocks,
    ) -> Allocations {
        let Some(followed) = self.followed(blocks) else { return all };
        let resizes = Some(Resizes::of(resizes, followed.seconds));
        let untold: Vec<_> = self.places.untold.iter().filter_map(|name| call_of(name)).collect();
        // Else some results went unseen.
        let is_whole = followed.totals.outstanding.is_some();
        let all = all.with_failures(calls, |call| is_whole && !untold.contains(&call));
        Allocations { blocks: Some(followed), resizes, ..all }
    }

    fn followed(&self, blocks: &mut Blocks) -> Option<FollowedBlocks> {
        let Following { since, until } = self.following.as_ref()?;
        let until = until.as_ref()?;
        blocks.close(until.at, until.to_the_end);
        let totals = blocks.total();
        Some(FollowedBlocks {
            seconds: until.at.saturating_sub(*since) as f64 / 1e9,
            samples: blocks.samples(),
            totals,
            handed_out: handed_out(&until.calls),
            given_back: until.calls.values().map(|one| one.ended).sum(),
            untold: self.places.untold.iter().map(|name| (*name).to_owned()).collect(),
        })
    }
}

fn handed_out(calls: &Calls) -> u64 {
    // To ask for nothing mostly gets nothing.
    let asked = |one: &AllocationCounter| one.calls - one.sizes[0].min(one.calls);
    let asking = calls.iter().filter(|(call, _)| call.bytes([0; 3]).is_some());
    asking.map(|(_, one)| asked(one)).sum()
}
