//! Sampled look-ups: why they were made, and by which way through the kernel.

use std::collections::{BTreeMap, HashMap};

use tracer_common::{Lookup, ProcessId};

use super::{
    addresses::Addresses,
    kernel_path::{KernelNames, Path},
    snapshot::{LookupMapping, LookupPath},
    stacks::Program,
};
use crate::census::Area;

/// Different stacks that are kept; one beyond counts as unkept.
const MOST_STACKS: usize = 8192;
/// Frames of a stack that tell it from others.
const FRAMES: usize = 8;
/// Ways that a snapshot has of each function.
const SHOWN: usize = 5;
/// Asked for by none of the calls that are measured.
const OTHER: &str = "other";

/// Look-ups that the samples stand for.
#[derive(Clone, Debug, Default)]
pub struct Lookups {
    why: BTreeMap<(Lookup, &'static str), u64>,
    stacks: HashMap<(Lookup, Vec<u64>), u64>,
    addresses: BTreeMap<Lookup, Addresses>,
}

impl Lookups {
    /// A sample that stands for `weight` look-ups.
    pub fn add(&mut self, function: Lookup, path: Path, frames: &[u64], weight: u64) {
        *self.why.entry((function, path.asked.unwrap_or(OTHER))).or_default() += weight;
        let key = (function, frames[..frames.len().min(FRAMES)].to_vec());
        if self.stacks.len() < MOST_STACKS || self.stacks.contains_key(&key) {
            *self.stacks.entry(key).or_default() += weight;
        }
    }

    /// The address that a sample was for.
    pub fn add_address(&mut self, function: Lookup, program: Program, address: u64) {
        self.addresses.entry(function).or_default().add(program, address);
    }

    /// The mappings that a function looked up most. `areas` are those of the last program of
    /// `process`, in ascending order.
    #[must_use]
    pub fn mappings(
        &self,
        function: Lookup,
        process: ProcessId,
        areas: &[Area],
    ) -> Vec<LookupMapping> {
        let addresses = self.addresses.get(&function);
        addresses.map_or_else(Vec::new, |addresses| addresses.mappings(process, areas))
    }

    /// Shares of a function's look-ups by what the kernel had been asked for; they add up to 1.
    #[must_use]
    pub fn why(&self, function: Lookup) -> BTreeMap<String, f64> {
        let mine = || self.why.iter().filter(|((of, _), _)| *of == function);
        let total: u64 = mine().map(|(_, weight)| weight).sum();
        mine().map(|((_, why), n)| ((*why).to_owned(), *n as f64 / total as f64)).collect()
    }

    /// The most frequent ways to a function, as shares of its look-ups.
    #[must_use]
    pub fn paths(&self, function: Lookup, names: &impl KernelNames) -> Vec<LookupPath> {
        let mut by_path: BTreeMap<Vec<String>, u64> = BTreeMap::new();
        let mut total = 0;
        for ((_, frames), weight) in self.stacks.iter().filter(|((of, _), _)| *of == function) {
            *by_path.entry(callers(function, frames, names)).or_default() += weight;
            total += weight;
        }
        let mut paths: Vec<_> = by_path
            .into_iter()
            .map(|(frames, weight)| LookupPath { frames, share: weight as f64 / total as f64 })
            .collect();
        paths.sort_by(|a, b| b.share.total_cmp(&a.share));
        paths.truncate(SHOWN);
        paths
    }
}

/// The functions on the way to the look-up, innermost first. The tracer's own frames come first
/// on some backends, and the function itself on others.
fn callers(function: Lookup, frames: &[u64], names: &impl KernelNames) -> Vec<String> {
    let known = frames.iter().filter_map(|frame| names.name(*frame));
    known
        .filter(|name| *name != function.name() && !is_tracer(name))
        .take(3)
        .map(str::to_owned)
        .collect()
}

fn is_tracer(name: &str) -> bool {
    ["bpf_", "kprobe_", "ftrace_", "__bpf_", "trace_call_bpf", "__traceiter", "perf_trace_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::kernel_path::{FAULT, tests::Names};

    #[test]
    fn shares_add_up_and_ways_are_named() {
        const NAMES: Names = Names(&["bpf_prog_1", "find_vma", "do_user_addr_fault", "do_mmap"]);
        let mut lookups = Lookups::default();
        let fault = Path { asked: Some(FAULT), ..Path::default() };
        lookups.add(Lookup::FindVma, fault, &[0, 1, 2], 30);
        lookups.add(Lookup::FindVma, fault, &[1, 2], 30);
        lookups.add(Lookup::FindVma, Path::default(), &[3], 20);
        lookups.add(Lookup::FindVmaPrev, Path::default(), &[3], 7);
        let why = lookups.why(Lookup::FindVma);
        assert_eq!((why[FAULT], why[OTHER]), (0.75, 0.25));
        let paths = lookups.paths(Lookup::FindVma, &NAMES);
        assert_eq!(paths[0], LookupPath { frames: vec!["do_user_addr_fault".into()], share: 0.75 });
        assert_eq!(paths.len(), 2);
    }
}
