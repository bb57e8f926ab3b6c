//! Names for the addresses on stacks. Where an address lies must be found out while its process
//! lives; what it is called can wait for the end.

use std::collections::HashMap;

use tracer_common::ProcessId;

use crate::{
    aggregate::{
        snapshot::StackTotals,
        stacks::{StackKey, Stacks},
    },
    census::ProcRoot,
    symbolize::{Innermost, Location, Modules, Symbolizer},
};

/// Stacks that get names and go into a snapshot.
const NAMED_STACKS: usize = 64;
const NS: f64 = 1e9;

type Program = (ProcessId, u32);

/// Where addresses lie, by process and program.
pub(super) struct Naming {
    root: ProcRoot,
    modules: HashMap<Program, Modules>,
    locations: HashMap<(Program, u64), Location>,
}

impl Naming {
    /// Nothing known yet.
    pub(super) fn new(root: ProcRoot) -> Self {
        Self { root, modules: HashMap::new(), locations: HashMap::new() }
    }

    /// Reads what a process has mapped.
    pub(super) fn know(&mut self, process: ProcessId, program: u32) {
        // The pid may have another owner by now, whose files would give wrong names.
        let same = self
            .root
            .stat(process.pid)
            .is_ok_and(|stat| process.start_ticks == 0 || stat.start_ticks == process.start_ticks);
        if same && let Ok(modules) = Modules::read(&self.root, process.pid) {
            self.modules.insert((process, program), modules);
        }
    }

    /// Finds out where new addresses lie.
    pub(super) fn locate(&mut self, unnamed: Vec<(ProcessId, u32, Vec<u64>)>) {
        let mut reread = HashMap::new();
        for (process, program, addresses) in unnamed {
            let owner = (process, program);
            // The stack's innermost address must lie somewhere, the others may be garbage.
            let first = addresses.first().copied().unwrap_or(0);
            let known =
                self.modules.get(&owner).is_some_and(|modules| modules.is_executable(first));
            if !known && reread.insert(owner, ()).is_none() {
                self.know(process, program);
            }
            let Some(modules) = self.modules.get(&owner) else {
                continue;
            };
            for address in addresses {
                if let Some(location) = modules.locate(address) {
                    self.locations.insert((owner, address), location);
                }
            }
        }
    }

    /// The heaviest stacks with names.
    pub(super) fn name(&self, stacks: &Stacks) -> Vec<StackTotals> {
        let mut symbolizer = Symbolizer::new();
        stacks
            .heaviest(NAMED_STACKS)
            .into_iter()
            .map(|(key, sum)| {
                let addresses = self.addresses(key);
                let owner = (key.process, key.program);
                let locations: Vec<_> = addresses
                    .iter()
                    .map(|&address| self.locations.get(&(owner, address)).cloned())
                    .collect();
                StackTotals {
                    kind: key.kind.to_owned(),
                    frames: symbolizer.frames(&locations, &addresses, Innermost::Instruction),
                    count: sum.count,
                    bytes: sum.bytes,
                    seconds: (sum.duration_ns > 0).then(|| sum.duration_ns as f64 / NS),
                }
            })
            .collect()
    }

    /// The stack with the frame that frame pointers pass over: a leaf function such as libc's
    /// `mmap` sets up no frame, so that its caller is known from the top of the stack only.
    fn addresses(&self, key: &StackKey) -> Vec<u64> {
        let mut addresses = key.frames.clone();
        let owner = (key.process, key.program);
        let is_code = self.locations.contains_key(&(owner, key.top));
        if is_code && !addresses.is_empty() && addresses.get(1) != Some(&key.top) {
            addresses.insert(1, key.top);
        }
        // Where frame pointers are missing, the walk ends in data.
        let known = |address: &u64| self.locations.contains_key(&(owner, *address));
        while addresses.len() > 1 && !addresses.last().is_some_and(known) {
            addresses.pop();
        }
        addresses
    }
}
