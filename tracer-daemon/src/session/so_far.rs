//! The window while it is open, for somebody who looks on.

use std::time::{Duration, Instant};

use super::{
    AllocatorProbes, Session, account,
    names::{self, NAMED_STACKS},
    traced, unreadable,
};
use crate::{
    aggregate::{counters::Counters, snapshot::Snapshot, stack_kind::StackKind},
    error::Error,
};

/// The ring buffer waits meanwhile: no longer than from one tick to the next. Names that are not found in that
/// time are there the next time, for the thread goes on and remembers them.
const NAMING_TIME: Duration = Duration::from_millis(20);

impl Session {
    /// What was measured so far. Of stacks those that have been unwound, of names those that are quickly found; nothing
    /// about the allocator's calls and the stacks of CPU samples, which take a closed window.
    ///
    /// # Errors
    /// When the kernel refuses to hand its counters out, or nothing is traced.
    pub fn so_far(&mut self) -> Result<Snapshot, Error> {
        let mut counters = self.maps.read().map_err(unreadable)?;
        counters.lookups = self.maps.lookups().map_err(unreadable)?;
        self.living = traced::living(&self.root, self.maps.targets().map_err(unreadable)?);
        let traced = self.traced.as_ref().ok_or_else(nothing)?;
        let mut snapshot = self.account(&counters, traced, traced.since.elapsed(), None);
        let deadline = Instant::now() + NAMING_TIME;
        let most = |kind| match kind {
            StackKind::Allocation(_) => 0,
            _ => NAMED_STACKS,
        };
        let (unwinder, stacks) = (&self.unwinder, &self.state.stacks);
        (snapshot.stacks, _) = names::heaviest(unwinder, stacks, None, most, deadline);
        Ok(snapshot)
    }

    /// Everything but what needs names.
    pub(super) fn account(
        &self,
        counters: &Counters,
        traced: &traced::Traced,
        window: Duration,
        in_allocator: Option<f64>,
    ) -> Snapshot {
        let probes = self.allocator.as_ref();
        let at_probes = probes.map_or(0.0, |probes| probes.spent(&self.maps).as_secs_f64());
        let account = account::Account {
            counters,
            state: &self.state,
            living: &self.living,
            traced,
            window,
            undecodable: self.undecodable,
            in_allocator,
            run_seconds: self.cost.scaled_to(window).map(|seconds| seconds + at_probes),
            areas: self.space.areas(),
        };
        let signals = &self.attached.signals;
        let mut snapshot = account.snapshot(signals);
        snapshot.tracer = account::tracer(signals.clone());
        let allocator = probes.map(AllocatorProbes::allocator).or(self.space.allocator());
        snapshot.target.allocator = allocator.map(ToString::to_string);
        snapshot.memory_available = self.root.memory_available();
        snapshot.address_space = self.space.figures(snapshot.mappings.as_ref());
        snapshot
    }
}

/// There is no window.
pub(super) fn nothing() -> Error {
    Error::NoSuchProcess("nothing was measured: no process was traced".to_owned())
}
