//! Where the probes on a process's allocator go.

use std::{collections::HashMap, path::Path, sync::Arc};

use tracer_common::{AllocationCall, ProbeCost, Site, SiteKey};

use super::{
    Allocator,
    find::{Found, find_file, same_file},
    hook::{self, Hook},
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
    let (mut places, mut refused) = (Vec::new(), Vec::new());
    for function in functions {
        let place = offset_of(&code, function.symbol.address).and_then(|offset| {
            let Hook { offset: inside, pushed, emulated } = hook(&found, &function, offset)?;
            let file_offset = offset + inside;
            let address = address_in_process(&found, areas, file_offset)?;
            let (call, pushed) = (function.call as u32, u32::try_from(pushed).ok()?);
            let key = SiteKey { address, pid, reserved: 0 };
            let cost = (if emulated { ProbeCost::Emulated } else { ProbeCost::Stepped }) as u32;
            let site = Site { call, pushed, code_start, code_end, cost, reserved: 0 };
            Some(Place { call: function.call, file_offset, key, site })
        });
        match place {
            Some(place) => places.push(place),
            None => refused.push(function.name),
        }
    }
    Some(Places { allocator: found.allocator, file: found.path, places, refused })
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

fn hook(found: &Found<'_>, function: &Function, offset: u64) -> Option<Hook> {
    let size = function.symbol.size;
    let code = (1..=MOST_CODE).contains(&size).then(|| found.file.read(offset, size))??;
    hook::choose(&code, function.call.arguments())
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
    }
}
