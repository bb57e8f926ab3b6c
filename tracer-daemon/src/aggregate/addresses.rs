//! Sampled addresses, and which mappings they are in.

use tracer_common::ProcessId;

use super::{
    lookup_mappings::mappings, reservoir::Reservoir, snapshot::LookupMapping, stacks::Program,
};
use crate::census::Area;

/// A fair sample of addresses.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses(Reservoir<(Program, u64)>);

impl Addresses {
    /// Takes one in.
    pub(super) fn add(&mut self, program: Program, address: u64) {
        self.0.add((program, address));
    }

    /// The mappings that most of them are in. `areas` are those of the last program of `process`,
    /// in ascending order.
    pub(super) fn mappings(&self, process: ProcessId, areas: &[Area]) -> Vec<LookupMapping> {
        if areas.is_empty() {
            return Vec::new();
        }
        let mut addresses = self.0.counts();
        addresses.retain(|((program, _), _)| program.0 == process);
        let last = addresses.iter().map(|((program, _), _)| program.1).max();
        addresses.retain(|((program, _), _)| Some(program.1) == last);
        let addresses: Vec<_> =
            addresses.into_iter().map(|((_, address), weight)| (address, weight)).collect();
        mappings(&addresses, areas)
    }
}
