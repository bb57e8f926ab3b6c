//! Which probes go in next, and what was read while they were in.

use std::time::{Duration, Instant};

use tracer_common::AllocationCall;

use super::{price::Prices, readings::Readings};
use crate::aggregate::allocation_rate::{CallRate, Load, Moments};

/// In every other moment calls are counted.
const TURNS: [Load; 4] = [Load::Asking, Load::Whole, Load::Back, Load::Whole];

/// How long probes stay in once the budget has been exceeded, whatever happens meanwhile: a length that
/// followed the calls would leave out those of busy times. The kernel brings the CPU time of what runs up to
/// date at its ticks only, of 1 to 10 ms; after a whole number of those it is as late as it was before.
const MOMENT: Duration = Duration::from_millis(20);

/// How late a thread may wake up.
const LATE: Duration = Duration::from_micros(200);

/// The moments so far.
#[derive(Default)]
pub(super) struct Timetable {
    moments: Moments,
    turn: usize,
    /// How many there were, with the one that goes on.
    begun: u64,
    /// When the last moment ended.
    last: Option<Instant>,
    /// How long calls were counted.
    counted: Duration,
}

impl Timetable {
    /// When the last moment ended; `None`: this is the first.
    pub(super) const fn last(&self) -> Option<Instant> {
        self.last
    }

    /// How many moments have begun.
    pub(super) const fn begun(&self) -> u64 {
        self.begun
    }

    /// How long calls were counted.
    pub(super) const fn counted(&self) -> Duration {
        self.counted
    }

    /// Which functions are to have probes in the next moment.
    pub(super) fn next_load(&mut self) -> Load {
        self.begun += 1;
        if self.last.is_none() || !self.moments.want_halves() {
            return Load::Whole;
        }
        let load = TURNS[self.turn % TURNS.len()];
        self.turn += 1;
        load
    }

    /// A moment has ended. With prices it tells something of the time between moments.
    pub(super) fn ends(
        &mut self,
        load: Load,
        began: Readings,
        now: Readings,
        prices: Option<Prices>,
    ) {
        if load == Load::Whole {
            self.counted += now.at - began.at;
            self.moments.counted(now.cpu_since(began), now.calls_since(began));
        } else {
            self.moments.slowed(load, now.cpu_since(began), now.hits_since(began));
        }
        if let Some(prices) = prices {
            let before = self.last.map_or(Duration::ZERO, |last| began.at - last);
            self.moments.add(load, &now.moment_since(began, before, prices));
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

/// Waits until a moment that began then has lasted for one length or several.
pub(super) fn wait_for_end(began: Instant) {
    let over = Duration::from_nanos((began.elapsed().as_nanos() % MOMENT.as_nanos()) as u64);
    let end = Instant::now() + MOMENT - over;
    std::thread::sleep(MOMENT.saturating_sub(over + LATE));
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}
