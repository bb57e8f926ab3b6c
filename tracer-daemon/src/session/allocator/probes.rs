//! Probes on the target's allocator, for as much of the time as the budget allows.
//!
//! A hit costs the target about a microsecond, whatever the program does in it, and `malloc` can be
//! called ten million times a second. So the probes come out when what they have cost exceeds the
//! budget's part of the time, and after a pause of random length, which pays for it, they go in once
//! more. Where calls are few enough they never come out, and every call is counted.
//!
//! Probes go in within tens of microseconds each. They come out one after the other, for the kernel waits
//! for a grace period of RCU with each (110 ms on Linux 6.18, under its `event_mutex`); a thread does
//! the waiting. So those that are hit most come out first, and what the others are hit meanwhile is paid for.

use std::{
    cmp::Reverse,
    num::NonZeroU32,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    programs::{
        ProgramError, UProbe,
        uprobe::{UProbeAttachLocation, UProbeLink, UProbeScope},
    },
};
use tracer_common::{AllocationCall, Control, ProcessId};

use super::budget::{Budget, cost_of};
use crate::{
    aggregate::allocations::{Allocations, allocations},
    allocator::{Place, Places, SizeRule},
    probes::catalog,
    session::random,
    source::KernelMaps,
};

/// What putting probes in and out takes.
pub(in crate::session) struct Kernel<'a> {
    pub(in crate::session) ebpf: &'a mut Ebpf,
    pub(in crate::session) maps: &'a mut KernelMaps,
    pub(in crate::session) control: &'a mut Control,
}

/// The probes and their timetable.
pub(in crate::session) struct AllocatorProbes {
    process: ProcessId,
    pid: NonZeroU32,
    places: Places,
    budget: Budget,
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
        probes: Vec<Probe>,
        since: Instant,
    },
    Leaving(JoinHandle<()>),
    Out {
        until: Instant,
    },
    /// Out for good.
    Over,
}

/// A probe that is in, as long as its link lives.
struct Probe {
    call: AllocationCall,
    link: UProbeLink,
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
        let mut probes = Self {
            process,
            pid: NonZeroU32::new(process.pid).ok_or("the idle task has no allocator")?,
            places,
            budget,
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
        let sizes = maps.allocations.exact_sizes(self.process)?;
        Ok(allocations(&maps.allocations.read(self.process)?, duty, stack_samples)
            .with_sizes(&sizes, SizeRule::of(&self.places.allocator)))
    }

    /// What the probes have taken from the target's time within the window: every hit, and putting them in and out, as
    /// if the target had stood still meanwhile.
    pub(in crate::session) fn spent(&self, maps: &KernelMaps) -> Duration {
        self.spent_ever(maps).saturating_sub(self.spent_before)
    }

    fn spent_ever(&self, maps: &KernelMaps) -> Duration {
        // A map of this size can always be read.
        cost_of(maps.allocations.hits().unwrap_or_default()) + self.switching
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
        let program: &mut UProbe = kernel
            .ebpf
            .program_mut(catalog::ALLOCATOR)
            .and_then(|program| program.try_into().ok())
            .ok_or("the object has no such program")?;
        let attached: Result<Vec<_>, ProgramError> =
            self.places.places.iter().map(|place| self.attach(program, place)).collect();
        let probes = attached.map_err(|error| format!("the kernel refuses a probe: {error}"))?;
        kernel.control.allocation_gap = self.budget.gap();
        count(kernel, true);
        let since = Instant::now();
        self.last_switch = since - begin;
        // Coming out does the same to the target; what takes longer there is waiting.
        self.switching += 2 * self.last_switch;
        self.state = State::In { probes, since };
        Ok(())
    }

    fn attach(&self, program: &mut UProbe, place: &Place) -> Result<Probe, ProgramError> {
        let location = UProbeAttachLocation::AbsoluteOffset(place.file_offset);
        let scope = UProbeScope::OneProcess(self.pid);
        let link = program.attach(location, &*self.places.file, scope)?;
        Ok(Probe { call: place.call, link: program.take_link(link)? })
    }

    /// Ends counting at `now`, and begins to take the probes out.
    fn take_out(&mut self, kernel: &mut Kernel<'_>, now: Instant) -> Result<(), String> {
        let State::In { mut probes, since } = std::mem::replace(&mut self.state, State::Over)
        else {
            return Ok(());
        };
        count(kernel, false);
        self.counted += now - since;
        let calls = kernel.maps.allocations.read(self.process).unwrap_or_default();
        probes.sort_by_key(|probe| Reverse(calls.get(&probe.call).map_or(0, |one| one.calls)));
        let leave = move || probes.into_iter().for_each(|probe| drop(probe.link));
        // Without a thread the links are dropped with what it should have done.
        let thread = std::thread::Builder::new().spawn(leave);
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
