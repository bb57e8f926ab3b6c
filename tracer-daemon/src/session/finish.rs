//! From everything that was measured to the snapshot.

use std::{io::Write as _, time::Instant};

use super::{CPU_STACKS, Session, names, so_far::nothing, unreadable};
use crate::{aggregate::snapshot::Snapshot, error::Error};

impl Session {
    /// Everything that was measured.
    ///
    /// # Errors
    /// When the kernel refuses to hand its counters out.
    pub fn finish(mut self) -> Result<Snapshot, Error> {
        let mut counters = self.maps.read().map_err(unreadable)?;
        counters.lookups = self.maps.lookups().map_err(unreadable)?;
        self.drain();
        self.unwinder.finish(&mut self.state.stacks);
        self.state.settle_blocks();
        if let Some(mut file) = self.dump.take() {
            file.flush()
                .map_err(|error| Error::Usage(format!("cannot write the dump: {error}")))?;
        }
        let traced = self.traced.take().ok_or_else(nothing)?;
        let window = traced.until.unwrap_or_else(Instant::now) - traced.since;
        let allocations = self.account_allocator(window)?;
        self.look_for_others(&counters, traced.process);
        let is_followed = allocations.as_ref().is_some_and(|all| all.blocks.is_some());
        let blocks = is_followed.then_some(&self.state.blocks);
        let named = names::name(&self.unwinder, &self.state.stacks, blocks);
        let mut snapshot = self.account(&counters, &traced, window, named.cpu.in_allocator());
        snapshot.allocations = allocations;
        let sample_seconds = snapshot.cpu.seconds().map(|cpu| cpu / self.state.cpu.total() as f64);
        snapshot.stacks = named.stacks;
        snapshot.stacks.extend(named.cpu.heaviest(CPU_STACKS, sample_seconds));
        snapshot.modules = names::modules(&snapshot.stacks, &named.build_ids);
        Ok(snapshot)
    }
}
