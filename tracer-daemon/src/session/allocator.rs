//! What a session does about the target's allocator.

mod budget;
mod links;
mod price;
mod probes;
mod readings;
mod timetable;

use std::time::{Duration, Instant};

use tracer_common::ProcessId;

pub use budget::{Budget, SAMPLING_GAP};
pub(super) use probes::AllocatorProbes;
use probes::Kernel;

use super::{Session, unreadable};
use crate::{
    aggregate::{allocations::Allocations, counters::Counters},
    allocator::{Places, places},
    error::Error,
    probes::catalog::MALLOC,
};

impl Session {
    /// Puts probes on the allocator of a process whose window is about to begin, if they are wanted.
    pub(super) fn trace_allocator(&mut self, process: ProcessId) {
        let Some(budget) = self.malloc.filter(|_| self.attached.has(MALLOC)) else { return };
        if let Err(why) = self.put_probes_on(process, budget) {
            self.give_up("failed", why);
        }
    }

    /// The window of what was put in begins.
    pub(super) fn begin_allocator(&mut self, since: Instant) {
        if let Some(probes) = &mut self.allocator {
            probes.window_begins(since, &self.maps);
            self.state.blocks.begin(probes.followed_since());
        }
    }

    /// Puts probes on the allocator of a command that is held where it has just been linked. Nobody has called
    /// it before, so that it is counted from the window's beginning.
    pub fn command_is_linked(&mut self, linked: Result<(), String>) {
        let Some(traced) = &self.traced else { return };
        let (process, since) = (traced.process, traced.since);
        match linked {
            Ok(()) => self.trace_allocator(process),
            Err(why) => self.give_up("failed", why),
        }
        self.begin_allocator(since);
    }

    /// Follows the budget.
    pub(super) fn ration_allocator(&mut self, now: Instant) {
        if let Some(Err(why)) = self.with_probes(|probes, kernel| probes.tick(kernel, now)) {
            log::warn!("calls of the allocator are not counted from here on: {why}");
            self.give_up("stopped", why);
        }
    }

    /// Takes the probes out of a process whose window has ended.
    pub(super) fn release_allocator(&mut self) {
        self.with_probes(AllocatorProbes::end);
    }

    /// What was counted in a window of this length, and what became of the blocks.
    pub(super) fn account_allocator(
        &mut self,
        window: Duration,
    ) -> Result<Option<Allocations>, Error> {
        let (samples, blocks) = (self.state.allocation_samples, &mut self.state.blocks);
        let probes = self.allocator.as_ref();
        let account =
            |probes: &AllocatorProbes| probes.account(&self.maps, window, samples, blocks);
        probes.map(account).transpose().map_err(unreadable)
    }

    /// Whether the process left its allocator for another program's, and whether it has children: probes are
    /// in one process alone.
    pub(super) fn look_for_others(&mut self, counters: &Counters, process: ProcessId) {
        if self.allocator.is_none() {
            return;
        }
        let execs = counters.lifecycles.get(&process).map_or(0, |life| life.execs);
        if execs > u64::from(self.from_exec) {
            let why = "the process executed another program, whose allocator is not watched";
            self.give_up("stopped", why.to_owned());
        }
        // Where children are followed, theirs as well.
        let forks: u64 = counters.lifecycles.values().map(|life| life.forks).sum();
        if forks > 0
            && let Some(row) = self.attached.row(MALLOC)
        {
            let reason = row.reason.take().map_or(String::new(), |reason| reason + "; ");
            row.reason = Some(reason + &not_in_children(forks));
        }
    }

    fn put_probes_on(&mut self, process: ProcessId, budget: Budget) -> Result<(), String> {
        let reading = self.space.reading(&self.root, process).ok_or("the process has ended")?;
        let places = places(&self.root, process.pid, &reading.areas)
            .map_err(|none| format!("{}; {}", none.why(), none.instead()))?;
        if places.places.is_empty() {
            return Err(format!("{}: none of its functions can be probed", places.allocator));
        }
        let (functions, branches) = (places.places.len(), places.branches.len());
        log::debug!("probes: {functions} on functions, {branches} on the allocator's own branches");
        if let Some(row) = self.attached.row(MALLOC) {
            row.reason = left_out(&places);
        }
        let kernel = Kernel {
            programs: &mut self.attached.programs,
            maps: &mut self.maps,
            control: &mut self.control,
        };
        self.allocator = Some(AllocatorProbes::start(kernel, process, places, budget)?);
        Ok(())
    }

    fn give_up(&mut self, status: &str, why: String) {
        if let Some(row) = self.attached.row(MALLOC) {
            row.status = status.to_owned();
            row.backend = None;
            row.reason = Some(why);
        }
    }

    fn with_probes<T>(
        &mut self,
        act: impl FnOnce(&mut AllocatorProbes, Kernel<'_>) -> T,
    ) -> Option<T> {
        let kernel = Kernel {
            programs: &mut self.attached.programs,
            maps: &mut self.maps,
            control: &mut self.control,
        };
        self.allocator.as_mut().map(|probes| act(probes, kernel))
    }
}

fn not_in_children(forks: u64) -> String {
    match forks {
        1 => "not in the process that it forked: the calls of children are not counted".to_owned(),
        _ => format!(
            "not in the {forks} processes that it forked: the calls of children are not counted"
        ),
    }
}

/// The functions that are not counted, and why.
fn left_out(places: &Places) -> Option<String> {
    (!places.refused.is_empty()).then(|| {
        let names = places.refused.join(", ");
        format!("not in {names}: no instruction there is certain to be passed once by each call")
    })
}
