//! In which order a process looks symbols up: the list that its dynamic linker keeps for debuggers
//! (`struct r_debug` of `<link.h>`, the same in glibc and musl), and whether that is whole.
//!
//! The list is in the target's memory, and the target may have written anything there.

use object::elf::{DT_DEBUG, DT_NULL, PT_DYNAMIC, PT_PHDR};

use super::{auxiliary::Auxiliary, memory::Memory};
use crate::census::ProcRoot;

/// Bytes of a program header and of an entry of the dynamic section.
const PROGRAM_HEADER: u64 = 56;
const DYNAMIC_ENTRY: u64 = 16;

/// Large programs have hundreds of libraries.
const MOST_FILES: usize = 4096;
const MOST_HEADERS: u64 = 64;
const MOST_ENTRIES: u64 = 256;

/// Of `<link.h>`: no file is being added or removed.
const RT_CONSISTENT: u32 = 0;

/// Offsets in `r_debug` and `link_map`.
const R_MAP: u64 = 8;
const R_STATE: u64 = 24;
const L_LD: u64 = 16;
const L_NEXT: u64 = 24;

/// An address within each file of a process (its dynamic section), in the order in which symbols are
/// looked up. Empty: the program is static, or has not been linked yet.
pub(super) fn search_order(root: &ProcRoot, pid: u32) -> Vec<u64> {
    let Some(memory) = Memory::open(root, pid) else { return Vec::new() };
    let first = debug(root, pid, &memory).and_then(|debug| memory.number_at(debug, R_MAP));
    let Some(mut file) = first else { return Vec::new() };
    let mut order = Vec::new();
    while file != 0 && order.len() < MOST_FILES {
        let (Some(dynamic), Some(next)) =
            (memory.number_at(file, L_LD), memory.number_at(file, L_NEXT))
        else {
            break;
        };
        order.push(dynamic);
        file = next;
    }
    order
}

/// Whether the dynamic linker says that the list is whole.
pub(super) fn is_whole(root: &ProcRoot, pid: u32) -> bool {
    let state = Memory::open(root, pid)
        .and_then(|memory| memory.number_at(debug(root, pid, &memory)?, R_STATE));
    state.is_some_and(|state| state as u32 == RT_CONSISTENT)
}

/// The address of the `r_debug`.
fn debug(root: &ProcRoot, pid: u32, memory: &Memory) -> Option<u64> {
    let auxiliary = Auxiliary::read(root, pid)?;
    let headers = auxiliary.value(Auxiliary::PROGRAM_HEADERS)?;
    let count = auxiliary.value(Auxiliary::PROGRAM_HEADER_COUNT)?.min(MOST_HEADERS);
    let address_of = |kind: u32| {
        (0..count).find_map(|index| {
            let header = headers.checked_add(index * PROGRAM_HEADER)?;
            let found = memory.number_at(header, 0)? as u32;
            (found == kind).then(|| memory.number_at(header, 16))?
        })
    };
    let bias = headers.wrapping_sub(address_of(PT_PHDR.0)?);
    let dynamic = bias.wrapping_add(address_of(PT_DYNAMIC.0)?);
    let debug = (0..MOST_ENTRIES)
        .map_while(|index| {
            let entry = dynamic.checked_add(index * DYNAMIC_ENTRY)?;
            let tag = memory.number_at(entry, 0)?;
            (tag != DT_NULL.0 as u64).then_some((tag, entry))
        })
        .find(|(tag, _)| *tag == DT_DEBUG.0 as u64)?;
    memory.number_at(debug.1, 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_comes_first_and_libc_is_in_the_list() {
        let (root, pid) = (ProcRoot::default(), std::process::id());
        let order = search_order(&root, pid);
        let areas = root.maps(pid).unwrap_or_default();
        let files: Vec<_> = order
            .iter()
            .filter_map(|address| areas.iter().find(|area| area.contains(*address)))
            .filter_map(|area| area.path.clone())
            .collect();
        assert!(is_whole(&root, pid));
        assert_eq!(files.first(), root.exe(pid).as_ref());
        assert!(files.iter().any(|file| file.ends_with("libc.so.6")), "{files:?}");
    }
}
