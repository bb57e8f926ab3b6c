//! Where the probes on a process's allocator go.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use tracer_common::{AllocationCall, ProbeCost, Site, SiteKey};

use super::{
    Allocator,
    find::{Found, find_file, same_file},
    hook::{self, Exits, Hook},
    symbols::{Symbol, defined},
};
use crate::{
    census::{Area, ProcRoot},
    elf::{Elf, Segment, Source},
};

/// A function of an allocator, and what a call of it is. Of several names for one function the first
/// counts. `operator new` and `delete` are looked for in the file that has `malloc`: those of others,
/// such as libstdc++'s, end in `malloc` and `free`.
const FUNCTIONS: [(&str, AllocationCall); 31] = [
    ("malloc", AllocationCall::Malloc),
    ("calloc", AllocationCall::Calloc),
    ("realloc", AllocationCall::Realloc),
    ("reallocarray", AllocationCall::Reallocarray),
    ("posix_memalign", AllocationCall::PosixMemalign),
    ("aligned_alloc", AllocationCall::AlignedAlloc),
    ("memalign", AllocationCall::AlignedAlloc),
    ("valloc", AllocationCall::Valloc),
    ("pvalloc", AllocationCall::Pvalloc),
    ("free", AllocationCall::Free),
    ("cfree", AllocationCall::Free),
    // operator new(unsigned long), new[], and both with std::nothrow_t and std::align_val_t.
    ("_Znwm", AllocationCall::New),
    ("_Znam", AllocationCall::New),
    ("_ZnwmRKSt9nothrow_t", AllocationCall::New),
    ("_ZnamRKSt9nothrow_t", AllocationCall::New),
    ("_ZnwmSt11align_val_t", AllocationCall::New),
    ("_ZnamSt11align_val_t", AllocationCall::New),
    ("_ZnwmSt11align_val_tRKSt9nothrow_t", AllocationCall::New),
    ("_ZnamSt11align_val_tRKSt9nothrow_t", AllocationCall::New),
    ("_ZdlPv", AllocationCall::Delete),
    ("_ZdaPv", AllocationCall::Delete),
    ("_ZdlPvm", AllocationCall::Delete),
    ("_ZdaPvm", AllocationCall::Delete),
    ("_ZdlPvSt11align_val_t", AllocationCall::Delete),
    ("_ZdaPvSt11align_val_t", AllocationCall::Delete),
    ("_ZdlPvmSt11align_val_t", AllocationCall::Delete),
    ("_ZdaPvmSt11align_val_t", AllocationCall::Delete),
    ("mallocx", AllocationCall::Mallocx),
    ("rallocx", AllocationCall::Rallocx),
    ("dallocx", AllocationCall::Dallocx),
    ("sdallocx", AllocationCall::Dallocx),
];

/// Bytes of code of a function that are looked at; jemalloc's largest has ten thousand.
const MOST_CODE: u64 = 64 << 10;

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

/// The probes on a process's allocator.
#[derive(Clone, Debug)]
pub struct Places {
    /// The allocator.
    pub allocator: Allocator,
    /// A path to its file, while the process lives.
    pub file: Arc<Path>,
    /// Each function's.
    pub places: Vec<Place>,
    /// Functions in which no place is certain to be passed once by each call.
    pub refused: Vec<&'static str>,
    /// The places at which functions that return a block have it.
    pub results: Vec<Place>,
    /// Functions whose results are not all seen.
    pub untold: Vec<&'static str>,
}

/// How a function leaves: its places, and where it jumps to, from its beginning.
struct Leaving {
    returns: Vec<Place>,
    jumps: Vec<u64>,
}

/// A file's code as it lies in a process.
struct Mapped<'a> {
    found: &'a Found<'a>,
    areas: &'a [Area],
    pid: u32,
    code_start: u64,
    code_end: u64,
}

/// A function of the allocator's file.
struct Function {
    name: &'static str,
    call: AllocationCall,
    symbol: Symbol,
}

/// Finds the places for a process whose areas were read a moment ago. `None`: its allocator is not
/// known.
#[must_use]
pub fn places(root: &ProcRoot, pid: u32, areas: &[Area]) -> Option<Places> {
    let found = find_file(root, pid, areas)?;
    let elf = Elf::read(&found.file)?;
    let functions = functions(&elf);
    let code = elf.code();
    let address_of = |address| address_in_process(&found, areas, offset_of(&code, address)?);
    let starts = functions.iter().map(|function| function.symbol.address);
    let ends = functions.iter().map(|function| function.symbol.address + function.symbol.size);
    let (code_start, code_end) = (address_of(starts.min()?)?, address_of(ends.max()?)?);
    let mapped = Mapped { found: &found, areas, pid, code_start, code_end };
    let (mut places, mut refused) = (Vec::new(), Vec::new());
    let mut leaving = Vec::new();
    for function in functions {
        let offset = offset_of(&code, function.symbol.address);
        let read = offset.and_then(|offset| Some((offset, mapped.read(&function, offset)?)));
        let place = read.as_ref().and_then(|(offset, code)| {
            mapped.place(&function, *offset, hook::choose(code, function.call.arguments())?)
        });
        let exits = read.filter(|_| place.is_some()).and_then(|(offset, code)| {
            let Exits { returns, jumps } = hook::exits(&code)?;
            let places = returns.into_iter().map(|hook| mapped.place(&function, offset, hook));
            Some(Leaving { returns: places.collect::<Option<_>>()?, jumps })
        });
        match place {
            Some(place) => places.push(place),
            None => refused.push(function.name),
        }
        leaving.push((function, exits));
    }
    let (results, untold) = results(leaving);
    let (allocator, file) = (found.allocator.clone(), Arc::clone(&found.path));
    Some(Places { allocator, file, places, refused, results, untold })
}

/// The places of functions that return blocks, and the functions that return some elsewhere.
fn results(functions: Vec<(Function, Option<Leaving>)>) -> (Vec<Place>, Vec<&'static str>) {
    let begin = |function: &Function| function.symbol.address;
    let known = functions.iter().filter_map(|(one, exits)| Some((begin(one), exits.as_ref()?)));
    let jumps = known.map(|(begin, exits)| (begin, exits.jumps.clone())).collect();
    let (mut results, mut untold) = (Vec::new(), Vec::new());
    for (function, exits) in functions {
        let is_told = function.call.returns_block() && all_seen(begin(&function), &jumps);
        match exits {
            Some(exits) if is_told => results.extend(exits.returns),
            _ if function.call.bytes([0; 3]).is_some() => untold.push(function.name),
            _ => {}
        }
    }
    (results, untold)
}

/// Whether a function only returns, or jumps to others that do. A call that ends in another function returns
/// there with the same stack pointer.
fn all_seen(begin: u64, jumps: &HashMap<u64, Vec<u64>>) -> bool {
    let (mut seen, mut next) = (HashSet::new(), vec![begin]);
    while let Some(address) = next.pop() {
        let Some(jumps) = jumps.get(&address) else { return false };
        if seen.insert(address) {
            next.extend(jumps.iter().map(|to| address.wrapping_add(*to)));
        }
    }
    true
}

impl Mapped<'_> {
    fn read(&self, function: &Function, offset: u64) -> Option<Box<[u8]>> {
        let size = function.symbol.size;
        (1..=MOST_CODE).contains(&size).then(|| self.found.file.read(offset, size))?
    }

    fn place(&self, function: &Function, offset: u64, hook: Hook) -> Option<Place> {
        let file_offset = offset + hook.offset;
        let address = address_in_process(self.found, self.areas, file_offset)?;
        let (call, pushed) = (function.call as u32, u32::try_from(hook.pushed).ok()?);
        let key = SiteKey { address, pid: self.pid, reserved: 0 };
        let (code_start, code_end) = (self.code_start, self.code_end);
        let cost = if hook.emulated { ProbeCost::Emulated } else { ProbeCost::Stepped } as u32;
        let site = Site { call, pushed, code_start, code_end, cost, reserved: 0 };
        Some(Place { call: function.call, file_offset, key, site })
    }
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

fn offset_of(code: &[Segment], address: u64) -> Option<u64> {
    code.iter().find_map(|segment| segment.offset_of(address))
}

/// Where the process has a place of the allocator's file.
fn address_in_process(found: &Found<'_>, areas: &[Area], offset: u64) -> Option<u64> {
    let mut code = areas.iter().filter(|area| area.executable && same_file(area, found.area));
    code.find_map(|area| {
        let inside = offset.checked_sub(area.offset).filter(|inside| *inside < area.bytes())?;
        Some(area.start + inside)
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

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
        assert_eq!(place.site.cost, ProbeCost::Emulated as u32);
        assert!((place.site.code_start..place.site.code_end).contains(&own));
        let results = found.results.iter().filter(|place| place.site.call == malloc);
        assert!(results.clone().count() > 0 && !found.untold.contains(&"malloc"));
        let code = place.site.code_start..place.site.code_end;
        assert!(results.into_iter().all(|place| code.contains(&place.key.address)));
    }

    #[test]
    fn a_jump_must_lead_to_what_is_seen() {
        let jumps = [(100, vec![0_u64.wrapping_sub(50)]), (50, vec![]), (200, vec![7])];
        let jumps = HashMap::from(jumps);
        assert!(all_seen(50, &jumps) && all_seen(100, &jumps));
        assert!(!all_seen(200, &jumps) && !all_seen(300, &jumps));
        assert!(all_seen(1, &HashMap::from([(1, vec![0])])), "to itself");
    }
}
