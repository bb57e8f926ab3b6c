//! Where the probes on a process's allocator go.

use std::{collections::HashMap, fs::File, os::fd::AsRawFd, path::PathBuf, sync::Arc};

use tracer_common::{AllocationCall, HitCounter, Site, SiteKey};

use super::{
    Allocator, Family,
    extent::extent,
    find::{Found, find_file, same_file},
    functions::FUNCTIONS,
    hook::{self, Exits, Hook},
    memory::Memory,
    results::{Leaving, results},
    symbols::{Symbol, defined},
};
use crate::{
    census::{Area, ProcRoot},
    elf::{Elf, Segment, Source},
};

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

/// A file's code as it lies in a process.
struct Mapped<'a> {
    root: &'a ProcRoot,
    found: &'a Found<'a>,
    areas: &'a [Area],
    code: &'a [Segment],
    pid: u32,
    code_start: u64,
    code_end: u64,
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
    let code = elf.code();
    let address_of = |address| address_in_process(found, areas, offset_of(&code, address)?);
    let starts = functions.iter().map(|function| function.symbol.address);
    let ends = functions.iter().map(|function| function.symbol.address + function.symbol.size);
    let (code_start, code_end) = (address_of(starts.min()?)?, address_of(ends.max()?)?);
    let mapped = Mapped { root, found, areas, code: &code, pid, code_start, code_end };
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
    let beyond = |call, address| match mapped.destination(address) {
        Some(to) => Some(Leaving { returns: Vec::new(), jumps: vec![to.wrapping_sub(address)] }),
        None => mapped.leaving(call, address, extent(&elf, address)?),
    };
    let (results, untold) = results(leaving, beyond);
    let (allocator, file) = (found.allocator.clone(), Arc::clone(&found.file));
    Some(Places { allocator, file, places, refused, results, untold })
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

    /// Where a function leads that jumps to where the dynamic linker says, if that is in the file.
    fn destination(&self, address: u64) -> Option<u64> {
        let in_process = |offset| address_in_process(self.found, self.areas, offset);
        let offset = offset_of(self.code, address)?;
        let slot = hook::slot(&self.found.file.read(offset, hook::STUB)?)?;
        let begin = in_process(offset)?;
        let to = Memory::open(self.root, self.pid)?.number_at(begin, slot)?;
        let file_address = to.wrapping_sub(begin).wrapping_add(address);
        (in_process(offset_of(self.code, file_address)?)? == to).then_some(file_address)
    }

    fn place(&self, call: AllocationCall, offset: u64, hook: Hook) -> Option<Place> {
        let file_offset = offset + hook.offset;
        let address = address_in_process(self.found, self.areas, file_offset)?;
        let pushed = u32::try_from(hook.pushed).ok()?;
        let key = SiteKey { address, pid: self.pid, reserved: 0 };
        let (code_start, code_end) = (self.code_start, self.code_end);
        let counter = HitCounter::of(call, hook.emulated) as u32;
        let has_headers = u32::from(self.found.allocator.family == Family::Glibc);
        let site = Site { call: call as u32, pushed, code_start, code_end, counter, has_headers };
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
        assert!(place.is_emulated());
        assert!((place.site.code_start..place.site.code_end).contains(&own));
        let results = found.results.iter().filter(|place| place.site.call == malloc);
        assert!(results.clone().count() > 0 && !found.untold.contains(&"malloc"));
        let code = place.site.code_start..place.site.code_end;
        assert!(results.into_iter().all(|place| code.contains(&place.key.address)));
    }
}
