//! Where the probes on a process's allocator go.

use std::{collections::HashMap, fs::File, os::fd::AsRawFd, path::PathBuf, sync::Arc};

use tracer_common::{AllocationCall, HitCounter, Site, SiteKey};

use super::{
    Allocator, Family,
    extent::extent,
    find::{Found, find_file},
    functions::FUNCTIONS,
    hook,
    mapped::{Entry, Mapped},
    results::{Leaving, results},
    symbols::{Symbol, defined},
};
use crate::{
    census::{Area, ProcRoot},
    elf::{Elf, Source},
};

/// A probe on a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The function.
    pub call: AllocationCall,
    /// Where in the file.
    pub file_offset: u64,
    /// Where in the process.
    pub key: SiteKey,
    /// What it sees.
    pub site: Site,
}

impl Place {
    /// Whether the kernel emulates the instruction.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        self.site.counter == HitCounter::of(self.call, true) as u32
    }
}

/// The probes on a process's allocator.
#[derive(Clone, Debug)]
pub struct Places {
    /// The allocator.
    pub allocator: Allocator,
    /// Its file.
    file: Arc<File>,
    /// Each function's.
    pub places: Vec<Place>,
    /// Those from which the allocator itself goes to one of the functions. None at all are there where not all are
    /// known; then the functions' probes look where a call returns to.
    pub branches: Vec<Place>,
    /// Functions in which no place is certain to be passed once by each call.
    pub refused: Vec<&'static str>,
    /// The places at which functions that return a block have it.
    pub results: Vec<Place>,
    /// Functions whose results are not all seen.
    pub untold: Vec<&'static str>,
}

impl Places {
    /// A path to the very file, as long as this lives, whatever is where it was found.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    /// All by which calls are counted.
    pub fn of_calls(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().chain(&self.branches)
    }
}

/// Why there are no probes, and what to do instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlaces {
    /// Its allocator is not known.
    Unknown,
    /// It is the Go runtime's.
    Go,
}

impl NoPlaces {
    /// What is in the way.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::Unknown => "no file of the process tells its allocator",
            Self::Go => "Go's runtime hands out memory without malloc",
        }
    }

    /// What helps.
    #[must_use]
    pub const fn instead(self) -> &'static str {
        match self {
            Self::Unknown => "a static program tells if it keeps its symbols (is not stripped)",
            Self::Go => "its own heap profile says which code asks for it (net/http/pprof)",
        }
    }
}

/// A function of the allocator's file.
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) call: AllocationCall,
    pub(super) symbol: Symbol,
}

/// Finds the places for a process whose areas were read a moment ago.
///
/// # Errors
/// When there are none.
pub fn places(root: &ProcRoot, pid: u32, areas: &[Area]) -> Result<Places, NoPlaces> {
    let found = find_file(root, pid, areas).ok_or(NoPlaces::Unknown)?;
    if found.allocator.family == Family::Go {
        return Err(NoPlaces::Go);
    }
    places_in(root, pid, areas, &found).ok_or(NoPlaces::Unknown)
}

fn places_in(root: &ProcRoot, pid: u32, areas: &[Area], found: &Found<'_>) -> Option<Places> {
    let elf = Elf::read(&*found.file)?;
    let functions = functions(&elf);
    let starts = functions.iter().map(|function| function.symbol.address);
    let ends = functions.iter().map(|function| function.symbol.end());
    let mapped = Mapped::new(root, pid, areas, (found, &elf), starts.min()?..ends.max()?)?;
    let (mut places, mut entries, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    let mut leaving = Vec::new();
    for function in functions {
        let Symbol { address, size } = function.symbol;
        let exits = match begin(&mapped, &function) {
            Some((place, entry)) => {
                places.push(place);
                entries.push(entry);
                mapped.leaving(function.call, address, size)
            }
            None => {
                refused.push(function.name);
                None
            }
        };
        leaving.push((function, exits));
    }
    let beyond = |call, address| match mapped.destination(address) {
        Some(to) => Some(Leaving { returns: Vec::new(), jumps: vec![to.wrapping_sub(address)] }),
        None => mapped.leaving(call, address, extent(&elf, address)?),
    };
    let (results, untold) = results(leaving, beyond);
    let branches = mapped.branches(&entries).map(|all| merge(&mut places, all));
    let (allocator, file) = (found.allocator.clone(), Arc::clone(&found.file));
    let branches = branches.unwrap_or_default();
    Some(Places { allocator, file, places, branches, refused, results, untold })
}

/// Where a function's calls are counted.
fn begin(mapped: &Mapped<'_>, function: &Function) -> Option<(Place, Entry)> {
    let (call, Symbol { address, size }) = (function.call, function.symbol);
    let (offset, code) = mapped.read(address, size)?;
    let hook = hook::choose(&code, call.arguments())?;
    let addresses = address..=address.saturating_add(hook.offset);
    Some((mapped.place(call, offset, hook)?, Entry { addresses, call }))
}

/// Makes the probes on functions rely on those on branches. Returns those that are not one and the same.
fn merge(places: &mut [Place], mut branches: Vec<Place>) -> Vec<Place> {
    for place in places {
        place.site.sees_branches = 1;
        let is_same = |branch: &Place| branch.file_offset == place.file_offset;
        if let Some(at) = branches.iter().position(is_same) {
            place.site.branch = branches.swap_remove(at).site.branch;
        }
    }
    branches
}

/// The functions that a file has, each once.
fn functions<S: Source + ?Sized>(elf: &Elf<'_, S>) -> Vec<Function> {
    let symbols = defined(elf, FUNCTIONS.iter().map(|(name, _)| *name));
    let mut known = HashMap::new();
    FUNCTIONS
        .iter()
        .filter_map(|(name, call)| {
            let symbol = *symbols.get(name)?;
            known.insert(symbol.address, ()).is_none().then_some(Function {
                name,
                call: *call,
                symbol,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use tracer_common::Branch;

    use super::*;

    #[test]
    fn this_process_has_places_in_its_own_malloc() {
        let (root, pid) = (ProcRoot::default(), std::process::id());
        let areas = root.areas(pid).unwrap().areas;
        let found = places(&root, pid, &areas).unwrap();
        assert_eq!(found.refused, <[&str; 0]>::default());
        let malloc = AllocationCall::Malloc as u32;
        let place = found.places.iter().find(|place| place.site.call == malloc).unwrap();
        let own = libc::malloc as *const () as u64;
        assert!((own..own + 64).contains(&place.key.address));
        assert!(place.is_emulated());
        assert!((place.site.code_start..place.site.code_end).contains(&own));
        // realloc of nothing jumps to malloc, and ends in free; what a thread kept is freed by calls.
        assert!(found.places.iter().all(|place| place.site.sees_branches == 1));
        let kinds = found.branches.iter().map(|branch| (branch.site.branch, branch.call));
        let kinds: Vec<_> = kinds.collect();
        assert!(kinds.contains(&(Branch::Jump as u32, AllocationCall::Malloc)), "{kinds:?}");
        assert!(kinds.contains(&(Branch::Call as u32, AllocationCall::Free)), "{kinds:?}");
        let results = found.results.iter().filter(|place| place.site.call == malloc);
        assert!(results.clone().count() > 0 && !found.untold.contains(&"malloc"));
        let code = place.site.code_start..place.site.code_end;
        assert!(results.into_iter().all(|place| code.contains(&place.key.address)));
    }
}
