//! Which probes go in next, and what was read while they were in.

use std::time::{Duration, Instant};

use tracer_common::AllocationCall;

use super::{price::Prices, readings::Readings};
use crate::aggregate::allocation_rate::{CallRate, Load, Moments};

/// In every other moment calls are counted.
const TURNS: [Load; 4] = [Load::Asking, Load::Whole, Load::Back, Load::Whole];

/// The moments so far.
#[derive(Default)]
pub(super) struct Timetable {
    moments: Moments,
    turn: usize,
    /// When the last moment ended.
    last: Option<Instant>,
    /// How long calls were counted.
    counted: Duration,
    /// Since when probes are in or on their way.
    slowed_since: Option<(Load, Readings)>,
}

impl Timetable {
    /// When the last moment ended; `None`: this is the first.
    pub(super) const fn last(&self) -> Option<Instant> {
        self.last
    }

    /// How long calls were counted.
    pub(super) const fn counted(&self) -> Duration {
        self.counted
    }

    /// Which functions are to have probes in the next moment.
    pub(super) fn next_load(&mut self) -> Load {
        if self.last.is_none() || !self.moments.want_halves() {
            return Load::Whole;
        }
        let load = TURNS[self.turn % TURNS.len()];
        self.turn += 1;
        load
    }

    /// Probes begin to go in.
    pub(super) fn slows(&mut self, load: Load, now: Readings) {
        self.slowed_since = Some((load, now));
    }

    /// All probes are out, or nobody will look any more.
    pub(super) fn slows_no_longer(&mut self, now: Readings) {
        if let Some((load, began)) = self.slowed_since.take() {
            self.moments.slowed(load, now.cpu_since(began), now.hits_since(began));
        }
    }

    /// A moment has ended. With results its calls took longer than others, and it tells nothing of those.
    pub(super) fn ends(
        &mut self,
        load: Load,
        began: Readings,
        now: Readings,
        results: bool,
        prices: Prices,
    ) {
        let before = self.last.map_or(Duration::ZERO, |last| began.at - last);
        let moment = now.moment_since(began, before, prices);
        if load == Load::Whole {
            self.counted += moment.length;
            self.moments.counted(moment.cpu, moment.calls);
            self.slows(load, now);
        }
        if !results {
            self.moments.add(load, &moment);
        }
        self.last = Some(now.at);
    }

    /// Whether a function has a probe in such a moment.
    pub(super) const fn is_probed(load: Load, call: AllocationCall) -> bool {
        match load {
            Load::Whole => true,
            Load::Asking => !call.gives_back(),
            Load::Back => call.gives_back(),
        }
    }

    /// What follows for a window.
    pub(super) fn rate(&self, began: Readings, ended: Readings) -> Option<CallRate> {
        self.moments.rate(ended.at - began.at, ended.cpu_since(began))
    }
}
