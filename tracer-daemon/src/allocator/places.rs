//! Where the probes on a process's allocator go.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use tracer_common::{AllocationCall, ProbeCost, Site, SiteKey};

use super::{
    Allocator, Family,
    extent::extent,
    find::{Found, find_file, same_file},
    functions::FUNCTIONS,
    hook::{self, Exits, Hook},
    symbols::{Symbol, defined},
};
use crate::{
    census::{Area, ProcRoot},
    elf::{Elf, Segment, Source},
};

/// Bytes of code of a function that are looked at; jemalloc's largest has ten thousand.
const MOST_CODE: u64 = 64 << 10;

/// Functions by which a call may leave one; more are not looked at.
const MOST_JUMPS: usize = 16;

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
#[derive(Clone, Debug)]
struct Leaving {
    returns: Vec<Place>,
    jumps: Vec<u64>,
}

/// A file's code as it lies in a process.
struct Mapped<'a> {
    found: &'a Found<'a>,
    areas: &'a [Area],
    code: &'a [Segment],
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
    let mapped = Mapped { found: &found, areas, code: &code, pid, code_start, code_end };
    let (mut places, mut refused) = (Vec::new(), Vec::new());
    let mut leaving = Vec::new();
    for function in functions {
        let Symbol { address, size } = function.symbol;
        let read = mapped.read(address, size);
        let place = read.as_ref().and_then(|(offset, code)| {
            mapped.place(function.call, *offset, hook::choose(code, function.call.arguments())?)
        });
        let is_counted = place.is_some();
        match place {
            Some(place) => places.push(place),
            None => refused.push(function.name),
        }
        let exits = is_counted.then(|| mapped.leaving(function.call, address, size)).flatten();
        leaving.push((function, exits));
    }
    let beyond = |call, address| mapped.leaving(call, address, extent(&elf, address)?);
    let (results, untold) = results(leaving, beyond);
    let (allocator, file) = (found.allocator.clone(), Arc::clone(&found.path));
    Some(Places { allocator, file, places, refused, results, untold })
}

/// The places of functions that return blocks, and the functions that return some where nobody looks. `beyond`
/// finds how one leaves that is not among them.
fn results(
    functions: Vec<(Function, Option<Leaving>)>,
    beyond: impl Fn(AllocationCall, u64) -> Option<Leaving>,
) -> (Vec<Place>, Vec<&'static str>) {
    let (mut known, mut asking) = (HashMap::new(), Vec::new());
    for (function, exits) in functions {
        known.insert(function.symbol.address, exits);
        if function.call.bytes([0; 3]).is_some() {
            asking.push(function);
        }
    }
    let (mut told, mut untold) = (BTreeSet::new(), Vec::new());
    for Function { name, call, symbol } in asking {
        let look = |address| beyond(call, address);
        match ends(symbol.address, &mut known, look).filter(|_| call.returns_block()) {
            Some(functions) => told.extend(functions),
            None => untold.push(name),
        }
    }
    let exits = told.iter().filter_map(|address| known.get(address)?.as_ref());
    (exits.flat_map(|exits| exits.returns.clone()).collect(), untold)
}

/// The functions in which a call may end that begins in one: it, and those that it jumps to. A call that ends in
/// another function returns there with the same stack pointer. `None`: not all are known.
fn ends(
    begin: u64,
    known: &mut HashMap<u64, Option<Leaving>>,
    look: impl Fn(u64) -> Option<Leaving>,
) -> Option<HashSet<u64>> {
    let (mut seen, mut next) = (HashSet::new(), vec![begin]);
    while let Some(address) = next.pop() {
        if !seen.insert(address) {
            continue;
        }
        if seen.len() > MOST_JUMPS {
            return None;
        }
        let leaving = known.entry(address).or_insert_with(|| look(address)).as_ref()?;
        next.extend(leaving.jumps.iter().map(|to| address.wrapping_add(*to)));
    }
    Some(seen)
}

impl Mapped<'_> {
    /// The code of a function, and where it is in the file.
    fn read(&self, address: u64, size: u64) -> Option<(u64, Box<[u8]>)> {
        let offset = offset_of(self.code, address)?;
        let code =
            (1..=MOST_CODE).contains(&size).then(|| self.found.file.read(offset, size))??;
        Some((offset, code))
    }

    fn leaving(&self, call: AllocationCall, address: u64, size: u64) -> Option<Leaving> {
        let (offset, code) = self.read(address, size)?;
        let Exits { returns, jumps } = hook::exits(&code)?;
        let places = returns.into_iter().map(|hook| self.place(call, offset, hook));
        Some(Leaving { returns: places.collect::<Option<_>>()?, jumps })
    }

    fn place(&self, call: AllocationCall, offset: u64, hook: Hook) -> Option<Place> {
        let file_offset = offset + hook.offset;
        let address = address_in_process(self.found, self.areas, file_offset)?;
        let pushed = u32::try_from(hook.pushed).ok()?;
        let key = SiteKey { address, pid: self.pid, reserved: 0 };
        let (code_start, code_end) = (self.code_start, self.code_end);
        let cost = if hook.emulated { ProbeCost::Emulated } else { ProbeCost::Stepped } as u32;
        let has_headers = u32::from(self.found.allocator.family == Family::Glibc);
        let site = Site { call: call as u32, pushed, code_start, code_end, cost, has_headers };
        Some(Place { call, file_offset, key, site })
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
        let leaving = |jumps: &[u64]| Some(Leaving { returns: Vec::new(), jumps: jumps.to_vec() });
        let back = 0_u64.wrapping_sub(50);
        let known =
            [(100, leaving(&[back])), (50, leaving(&[])), (200, leaving(&[7])), (300, None)];
        let ends = |begin, look: fn(u64) -> Option<Leaving>| {
            ends(begin, &mut HashMap::from(known.clone()), look)
        };
        assert_eq!(ends(100, |_| None), Some(HashSet::from([100, 50])));
        assert_eq!(ends(200, |_| None), None);
        assert_eq!(ends(300, |_| None), None);
        let found = |address| (address == 207).then(|| Leaving { returns: vec![], jumps: vec![0] });
        assert_eq!(ends(200, found), Some(HashSet::from([200, 207])), "to itself in the end");
        let endless = |_| Some(Leaving { returns: vec![], jumps: vec![1] });
        assert_eq!(ends(400, endless), None);
    }
}
