//! From everything that was measured to the snapshot.

use std::{io::Write as _, time::Instant};

use super::{AllocatorProbes, CPU_STACKS, Session, account, names, unreadable};
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
        let traced = self.traced.take().ok_or_else(|| {
            Error::NoSuchProcess("nothing was measured: no process was traced".to_owned())
        })?;
        let window = traced.until.unwrap_or_else(Instant::now) - traced.since;
        let allocations = self.account_allocator(window)?;
        self.look_for_others(&counters, traced.process);
        let is_followed = allocations.as_ref().is_some_and(|all| all.blocks.is_some());
        let blocks = is_followed.then_some(&self.state.blocks);
        let probes = self.allocator.as_ref();
        let named = names::name(&self.unwinder, &self.state.stacks, blocks);
        let at_probes = probes.map_or(0.0, |probes| probes.spent(&self.maps).as_secs_f64());
        let account = account::Account {
            counters: &counters,
            state: &self.state,
            living: &self.living,
            traced: &traced,
            window,
            undecodable: self.undecodable,
            in_allocator: named.cpu.in_allocator(),
            run_seconds: self.cost.scaled_to(window).map(|seconds| seconds + at_probes),
            areas: self.space.areas(),
        };
        let mut snapshot = account.snapshot(&self.attached.signals);
        snapshot.tracer = account::tracer(std::mem::take(&mut self.attached.signals));
        let allocator = probes.map(AllocatorProbes::allocator).or(self.space.allocator());
        snapshot.target.allocator = allocator.map(ToString::to_string);
        snapshot.allocations = allocations;
        snapshot.memory_available = self.root.memory_available();
        let sample_seconds = snapshot.cpu.seconds().map(|cpu| cpu / self.state.cpu.total() as f64);
        snapshot.stacks = named.stacks;
        snapshot.stacks.extend(named.cpu.heaviest(CPU_STACKS, sample_seconds));
        snapshot.modules = names::modules(&snapshot.stacks, &named.build_ids);
        snapshot.address_space = self.space.figures(snapshot.mappings.as_ref());
        Ok(snapshot)
    }
}
