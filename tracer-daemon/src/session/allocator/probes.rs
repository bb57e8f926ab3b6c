//! Probes on the target's allocator, for as much of the time as the budget allows.
//!
//! A hit costs the target about a microsecond, whatever the program does in it, and `malloc` can be
//! called ten million times a second. So the probes come out when what they have cost exceeds the
//! budget's part of the time, and after a pause of random length, which pays for it, they go in once
//! more. Where calls are few enough they never come out, and every call is counted.
//!
//! Probes go in within tens of microseconds each. When they come out the kernel waits for grace periods of
//! RCU; a thread does the waiting, and what probes are hit meanwhile is paid for.

use std::{
    num::NonZeroU32,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tracer_common::{Control, ProcessId};

use super::{
    budget::Budget,
    links::{Links, Program},
    price::Prices,
};
use crate::{
    aggregate::allocations::{Allocations, allocations},
    allocator::Places,
    session::random,
    source::KernelMaps,
};

/// What putting probes in and out takes.
pub(in crate::session) struct Kernel<'a> {
    pub(in crate::session) program: Program<'a>,
    pub(in crate::session) maps: &'a mut KernelMaps,
    pub(in crate::session) control: &'a mut Control,
}

/// The probes and their timetable.
pub(in crate::session) struct AllocatorProbes {
    process: ProcessId,
    pid: NonZeroU32,
    places: Places,
    budget: Budget,
    prices: Prices,
    state: State,
    /// When the window began, and what had been spent until then.
    since: Instant,
    spent_before: Duration,
    /// How long the probes were in, up to the last time they came out.
    counted: Duration,
    /// How long putting in and taking out took, altogether and the last time that they went in.
    switching: Duration,
    last_switch: Duration,
}

enum State {
    In {
        links: Links,
        since: Instant,
    },
    Leaving(JoinHandle<()>),
    Out {
        until: Instant,
    },
    /// Out for good.
    Over,
}

impl AllocatorProbes {
    /// Puts the probes in. An error is a reason why the allocator's calls are not counted.
    pub(in crate::session) fn start(
        mut kernel: Kernel<'_>,
        process: ProcessId,
        places: Places,
        budget: Budget,
    ) -> Result<Self, String> {
        for place in &places.places {
            let added = kernel.maps.allocations.add(process, place.key, place.site);
            added.map_err(|error| format!("the kernel has no room for counters: {error}"))?;
        }
        let prices = Prices::measure(&mut kernel.program, kernel.maps);
        let mut probes = Self {
            process,
            pid: NonZeroU32::new(process.pid).ok_or("the idle task has no allocator")?,
            places,
            budget,
            prices,
            state: State::Over,
            since: Instant::now(),
            spent_before: Duration::ZERO,
            counted: Duration::ZERO,
            switching: Duration::ZERO,
            last_switch: Duration::ZERO,
        };
        probes.put_in(&mut kernel)?;
        Ok(probes)
    }

    /// The window began. What was spent before is not charged to it.
    pub(in crate::session) fn window_begins(&mut self, now: Instant, maps: &KernelMaps) {
        self.since = now;
        self.spent_before = self.spent_ever(maps);
        if let State::In { since, .. } = &mut self.state {
            *since = now;
        }
    }

    /// Follows the budget. An error is a reason why counting has ended.
    pub(in crate::session) fn tick(
        &mut self,
        mut kernel: Kernel<'_>,
        now: Instant,
    ) -> Result<(), String> {
        match &self.state {
            State::In { .. } => {
                let spent = self.spent(kernel.maps);
                if self.budget.is_exceeded(spent, now - self.since) {
                    self.take_out(&mut kernel, now)?;
                }
            }
            State::Leaving(thread) if thread.is_finished() => self.plan_return(kernel.maps, now)?,
            State::Out { until } if now >= *until => self.put_in(&mut kernel)?,
            State::Leaving(_) | State::Out { .. } | State::Over => {}
        }
        Ok(())
    }

    /// The window ended at `now`.
    pub(in crate::session) fn end(&mut self, mut kernel: Kernel<'_>, now: Instant) {
        if let Err(why) = self.take_out(&mut kernel, now) {
            log::debug!("{why}");
        }
    }

    /// What was counted in a window of this length.
    pub(in crate::session) fn account(
        &self,
        maps: &KernelMaps,
        window: Duration,
        stack_samples: u64,
    ) -> Result<Allocations, aya::maps::MapError> {
        let duty = self.counted.div_duration_f64(window).min(1.0);
        Ok(allocations(&maps.allocations.read(self.process)?, duty, stack_samples))
    }

    /// What the probes have taken from the target's time within the window: every hit, and putting them in and out, as
    /// if the target had stood still meanwhile.
    pub(in crate::session) fn spent(&self, maps: &KernelMaps) -> Duration {
        self.spent_ever(maps).saturating_sub(self.spent_before)
    }

    fn spent_ever(&self, maps: &KernelMaps) -> Duration {
        // A map of this size can always be read.
        self.prices.of(maps.allocations.hits().unwrap_or_default()) + self.switching
    }

    fn plan_return(&mut self, maps: &KernelMaps, now: Instant) -> Result<(), String> {
        self.state = State::Over;
        let spent = self.spent(maps) + self.last_switch;
        let pause = self.budget.pause(spent, now - self.since, random::share()).ok_or(
            "within the budget, the probes would be out for more than a minute at a time; allow for \
             more with --budget",
        )?;
        self.state = State::Out { until: now + pause };
        Ok(())
    }

    fn put_in(&mut self, kernel: &mut Kernel<'_>) -> Result<(), String> {
        self.state = State::Over;
        let begin = Instant::now();
        let offsets: Vec<_> = self.places.places.iter().map(|place| place.file_offset).collect();
        let links = kernel.program.put_in(&self.places.file, &offsets, self.pid)?;
        kernel.control.allocation_gap = self.budget.gap();
        count(kernel, true);
        let since = Instant::now();
        self.last_switch = since - begin;
        // Coming out does the same to the target; what takes longer there is waiting.
        self.switching += 2 * self.last_switch;
        self.state = State::In { links, since };
        Ok(())
    }

    /// Ends counting at `now`, and begins to take the probes out.
    fn take_out(&mut self, kernel: &mut Kernel<'_>, now: Instant) -> Result<(), String> {
        let State::In { links, since } = std::mem::replace(&mut self.state, State::Over) else {
            return Ok(());
        };
        count(kernel, false);
        self.counted += now - since;
        let calls = kernel.maps.allocations.read(self.process).unwrap_or_default();
        let places = self.places.places.iter();
        let hits = places.map(|place| {
            (place.file_offset, calls.get(&place.call).map_or(0, |counter| counter.calls))
        });
        let hits = hits.collect();
        // Without a thread the links are dropped with what it should have done.
        let thread = std::thread::Builder::new().spawn(move || links.leave(&hits));
        self.state = State::Leaving(thread.map_err(|error| format!("no thread: {error}"))?);
        Ok(())
    }
}

/// Opens or closes the gate that all functions have in common.
fn count(kernel: &mut Kernel<'_>, on: bool) {
    kernel.control.allocations = u32::from(on);
    if let Err(error) = kernel.maps.control(*kernel.control) {
        log::warn!("the kernel programs cannot be told to count: {error}");
    }
}
