//! In which order a process looks symbols up: the list that its dynamic linker keeps for debuggers
//! (`struct r_debug` of `<link.h>`, the same in glibc and musl).
//!
//! The list is in the target's memory, and the target may have written anything there.

use object::elf::{DT_DEBUG, DT_NULL, PT_DYNAMIC, PT_PHDR};

use super::memory::Memory;
use crate::census::ProcRoot;

/// Of `<elf.h>`: entries of the auxiliary vector.
const AT_PHDR: u64 = 3;
const AT_PHNUM: u64 = 5;

/// Bytes of a program header and of an entry of the dynamic section.
const PROGRAM_HEADER: u64 = 56;
const DYNAMIC_ENTRY: u64 = 16;

/// Large programs have hundreds of libraries.
const MOST_FILES: usize = 4096;
const MOST_HEADERS: u64 = 64;
const MOST_ENTRIES: u64 = 256;

/// Offsets in `r_debug` and `link_map`.
const R_MAP: u64 = 8;
const L_LD: u64 = 16;
const L_NEXT: u64 = 24;

/// An address within each file of a process (its dynamic section), in the order in which symbols are
/// looked up. Empty: the program is static, or has not been linked yet.
pub(super) fn search_order(root: &ProcRoot, pid: u32) -> Vec<u64> {
    let Some(memory) = Memory::open(root, pid) else { return Vec::new() };
    let Some(mut file) = first_file(root, pid, &memory) else { return Vec::new() };
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

/// The address of the list's first entry.
fn first_file(root: &ProcRoot, pid: u32, memory: &Memory) -> Option<u64> {
    let auxiliary = root.read(pid, "auxv").ok()?;
    let value = |key| {
        let (entries, _) = auxiliary.as_chunks::<16>();
        entries.iter().find_map(|entry| {
            let (numbers, _) = entry.as_chunks::<8>();
            (u64::from_le_bytes(numbers[0]) == key).then(|| u64::from_le_bytes(numbers[1]))
        })
    };
    let headers = value(AT_PHDR)?;
    let count = value(AT_PHNUM)?.min(MOST_HEADERS);
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
    memory.number_at(memory.number_at(debug.1, 8)?, R_MAP)
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
            .filter_map(|address| {
                areas.iter().find(|area| area.start <= *address && *address < area.end)
            })
            .filter_map(|area| area.path.clone())
            .collect();
        assert_eq!(files.first(), root.exe(pid).as_ref());
        assert!(files.iter().any(|file| file.ends_with("libc.so.6")), "{files:?}");
    }
}
