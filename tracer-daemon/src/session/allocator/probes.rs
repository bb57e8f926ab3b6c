//! Probes on the target's allocator, for as much of the time as the budget allows.
//!
//! A hit costs the target about a microsecond, whatever the program does in it, and `malloc` can be
//! called ten million times a second. So the probes come out when what they have cost exceeds the
//! budget's part of the time, and after a pause of random length, which pays for it, they go in once
//! more. Where calls are few enough they never come out, and every call is counted.
//!
//! Probes go in within tens of microseconds each. When they come out the kernel waits for grace periods of
//! RCU; a thread does the waiting, and what probes are hit meanwhile is paid for.

mod results;

use std::{
    num::NonZeroU32,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tracer_common::{Control, Counting, ProcessId};

use self::results::Following;
use super::{
    budget::Budget,
    links::Links,
    price::PriceMeter,
    readings::{Calls, Readings, kernel_clock, own_cpu_time},
    timetable::{self, Timetable},
};
use crate::{
    aggregate::{
        allocation_rate::Load,
        allocations::{Allocations, Counted, allocations},
        blocks::Blocks,
    },
    allocator::{Allocator, Place, Places, SizeRule},
    probes::{attach::Programs, catalog},
    session::random,
    source::KernelMaps,
};

/// What putting probes in and out takes.
pub(in crate::session) struct Kernel<'a> {
    pub(in crate::session) programs: &'a mut Programs,
    pub(in crate::session) maps: &'a mut KernelMaps,
    pub(in crate::session) control: &'a mut Control,
}

/// The probes and their timetable.
pub(in crate::session) struct AllocatorProbes {
    process: ProcessId,
    pid: NonZeroU32,
    places: Places,
    budget: Budget,
    meter: PriceMeter,
    state: State,
    /// When the window began, and what had been spent until then.
    began: Readings,
    spent_before: Duration,
    timetable: Timetable,
    /// What stood there when the window ended.
    ended: Option<Readings>,
    /// What was spent when a pause was last planned.
    paid: Duration,
    /// How long putting in and taking out took, altogether and the last time that they went in.
    switching: Duration,
    last_switch: Duration,
    /// The probes on results, while blocks are followed.
    results: Option<Links>,
    following: Option<Following>,
}

enum State {
    In {
        links: Links,
        load: Load,
        began: Readings,
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
        for place in places.of_calls().chain(&places.results) {
            let added = kernel.maps.allocations.add(place.key, place.site);
            added.map_err(|error| format!("the table of places has no room: {error}"))?;
        }
        let meter = PriceMeter::start(kernel.programs, kernel.maps);
        let mut probes = Self {
            process,
            pid: NonZeroU32::new(process.pid).ok_or("the idle task has no allocator")?,
            places,
            budget,
            meter,
            state: State::Over,
            began: Readings::now(kernel.maps, process),
            timetable: Timetable::default(),
            spent_before: Duration::ZERO,
            ended: None,
            paid: Duration::ZERO,
            switching: Duration::ZERO,
            last_switch: Duration::ZERO,
            results: None,
            following: None,
        };
        probes.put_in(&mut kernel)?;
        probes.follow(&mut kernel)?;
        Ok(probes)
    }

    /// The window began. What was spent before is not charged to it.
    pub(in crate::session) fn window_begins(&mut self, since: Instant, maps: &KernelMaps) {
        self.began = self.read(maps).with(&self.calls(maps));
        // Reading takes its time, in which calls are counted as well.
        self.began.at = since;
        self.spent_before = self.spent_ever(maps);
        if let State::In { began, .. } = &mut self.state {
            *began = self.began;
        }
        if let Some(following) = &mut self.following {
            following.since = kernel_clock();
        }
    }

    /// Follows the budget. An error is a reason why counting has ended.
    pub(in crate::session) fn tick(
        &mut self,
        mut kernel: Kernel<'_>,
        now: Instant,
    ) -> Result<(), String> {
        match &self.state {
            // Blocks are not followed any more.
            State::In { .. } if self.timetable.last().is_some() => self.end_moment(&mut kernel)?,
            State::In { .. } => {
                let (spent, time) = (self.spent(kernel.maps), now - self.began.at);
                if self.budget.is_exceeded(spent, time) {
                    self.end_moment(&mut kernel)?;
                } else if self.follows() && self.budget.is_short(spent, time) {
                    self.shed(&mut kernel)?;
                }
            }
            State::Leaving(thread) if thread.is_finished() => self.plan_return(kernel.maps, now)?,
            State::Out { until } if now >= *until => self.put_in(&mut kernel)?,
            State::Leaving(_) | State::Out { .. } | State::Over => {}
        }
        Ok(())
    }

    /// The window has ended.
    pub(in crate::session) fn end(&mut self, mut kernel: Kernel<'_>) {
        let calls = self.calls(kernel.maps);
        self.ended = Some(self.read(kernel.maps));
        self.no_longer_follows(calls, true);
        if let Err(why) = self.take_out(&mut kernel, false) {
            log::debug!("{why}");
        }
    }

    /// What was counted in a window of this length.
    pub(in crate::session) fn account(
        &self,
        maps: &KernelMaps,
        window: Duration,
        stack_samples: u64,
        blocks: &mut Blocks,
    ) -> Result<Allocations, aya::maps::MapError> {
        let rate = self.ended.and_then(|ended| self.timetable.rate(self.began, ended));
        let duty = self.timetable.counted().div_duration_f64(window).min(1.0);
        let sizes = maps.allocations.exact_sizes()?;
        let counted =
            Counted { window, duty, moments: self.timetable.begun(), rate, stack_samples };
        let calls = maps.allocations.read()?;
        let all =
            allocations(&calls, counted).with_sizes(&sizes, SizeRule::of(&self.places.allocator));
        let resizes = maps.allocations.resizes()?;
        Ok(self.with_results(all, &calls, &resizes, blocks))
    }

    /// What the probes have taken from the target's time within the window: every hit, and putting them in and out, as
    /// if the target had stood still meanwhile.
    pub(in crate::session) fn spent(&self, maps: &KernelMaps) -> Duration {
        self.spent_ever(maps).saturating_sub(self.spent_before)
    }

    /// Whose functions they are on.
    pub(in crate::session) const fn allocator(&self) -> &Allocator {
        &self.places.allocator
    }

    fn calls(&self, maps: &KernelMaps) -> Calls {
        // A map of this size can always be read.
        maps.allocations.read().unwrap_or_default()
    }

    fn read(&self, maps: &KernelMaps) -> Readings {
        Readings::now(maps, self.process)
    }

    fn spent_ever(&self, maps: &KernelMaps) -> Duration {
        // A map of this size can always be read.
        self.meter.prices().of(maps.allocations.hits().unwrap_or_default()) + self.switching
    }

    fn plan_return(&mut self, maps: &KernelMaps, now: Instant) -> Result<(), String> {
        self.state = State::Over;
        let spent = self.spent(maps) + self.last_switch;
        let last = spent.saturating_sub(std::mem::replace(&mut self.paid, spent));
        // The first moment went on for as long as the credit lasted, which is no measure for those to come.
        let last = if self.timetable.begun() > 1 { last } else { Duration::ZERO };
        let pause = self.budget.pause(spent, last, now - self.began.at, random::share()).ok_or(
            "within the budget, the probes would be out for more than a minute at a time; allow for \
             more with --budget",
        )?;
        self.state = State::Out { until: now + pause };
        Ok(())
    }

    fn put_in(&mut self, kernel: &mut Kernel<'_>) -> Result<(), String> {
        self.state = State::Over;
        let begin = own_cpu_time();
        let load = self.timetable.next_load();
        let places = self.places.of_calls();
        let probed = places.filter(|place| Timetable::is_probed(load, place.call));
        let links = self.attach(kernel, catalog::ALLOCATOR, probed)?;
        kernel.control.allocation_gap = self.budget.gap();
        let calls = self.calls(kernel.maps);
        let began = self.read(kernel.maps).with(&calls);
        count(kernel, if load == Load::Whole { Counting::On } else { Counting::Rehearsed });
        // The target can stand still for as long as this thread works on it. Coming out does the same to it;
        // what takes longer is waiting.
        self.last_switch = own_cpu_time().saturating_sub(begin);
        self.switching += 2 * self.last_switch;
        self.state = State::In { links, load, began };
        Ok(())
    }

    fn attach<'a>(
        &self,
        kernel: &mut Kernel<'_>,
        program: &str,
        places: impl Iterator<Item = &'a Place>,
    ) -> Result<Links, String> {
        let offsets: Vec<_> = places.map(|place| place.file_offset).collect();
        Links::put_in(kernel.programs, program, &self.places.path(), &offsets, self.pid)
    }

    fn end_moment(&mut self, kernel: &mut Kernel<'_>) -> Result<(), String> {
        if let State::In { began, .. } = &self.state {
            timetable::wait_for_end(began.at);
        }
        let had_results = self.following.is_some() && self.timetable.last().is_none();
        self.take_out(kernel, !had_results)
    }

    /// Ends counting, and begins to take the probes out. With results calls took longer than in other moments, and one
    /// that the window's end cuts short ends at no tick: they tell nothing of the rest.
    fn take_out(&mut self, kernel: &mut Kernel<'_>, tells: bool) -> Result<(), String> {
        let State::In { links, load, began } = std::mem::replace(&mut self.state, State::Over)
        else {
            return Ok(());
        };
        let now = self.read(kernel.maps);
        count(kernel, Counting::Off);
        let calls = self.calls(kernel.maps);
        let now = now.with(&calls);
        self.timetable.ends(load, began, now, tells.then(|| self.meter.prices()));
        let links = [Some(links), self.results.take()];
        let hits = self.hits(&calls);
        self.no_longer_follows(calls, false);
        // Without a thread the links are dropped with what it should have done.
        let thread = std::thread::Builder::new().spawn(move || {
            links.into_iter().flatten().for_each(|links| links.leave(&hits));
        });
        self.state = State::Leaving(thread.map_err(|error| format!("no thread: {error}"))?);
        self.meter.measure_again();
        Ok(())
    }
}

/// Opens or closes the gate that all functions have in common.
fn count(kernel: &mut Kernel<'_>, counting: Counting) {
    kernel.control.allocations = counting as u32;
    kernel.control.blocks &= u32::from(counting == Counting::On);
    if let Err(error) = kernel.maps.control(*kernel.control) {
        log::warn!("the kernel programs cannot be told to count: {error}");
    }
}
