//! The slots by which a file's code reaches functions that another file may replace.

use std::collections::HashMap;

use object::{
    LittleEndian as Le,
    elf::{R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT, Rela64, SHN_UNDEF, STT_FUNC, Sym64},
    pod::slice_from_all_bytes,
};

use crate::elf::{Elf, Source};

/// For those that the linker fills at once, and at the first call.
const TABLES: [&[u8]; 2] = [b".rela.dyn", b".rela.plt"];

/// The addresses of slots, with those of the functions that the file itself has for them.
pub(super) fn slots<S: Source + ?Sized>(elf: &Elf<'_, S>) -> HashMap<u64, u64> {
    let Some(symbols) = elf.named(b".dynsym") else { return HashMap::new() };
    let symbols = slice_from_all_bytes::<Sym64<Le>>(&symbols.bytes).unwrap_or_default();
    let mut slots = HashMap::new();
    for table in TABLES.into_iter().filter_map(|name| elf.named(name)) {
        let entries = slice_from_all_bytes::<Rela64<Le>>(&table.bytes).unwrap_or_default();
        slots.extend(entries.iter().filter_map(|entry| {
            let is_slot = matches!(entry.r_type(Le, false), R_X86_64_JUMP_SLOT | R_X86_64_GLOB_DAT);
            let symbol = symbols.get(entry.r_sym(Le, false) as usize).filter(|_| is_slot)?;
            // Of one that is chosen while the program starts (STT_GNU_IFUNC), the address is that of the choice.
            let is_here = symbol.st_type() == STT_FUNC && symbol.st_shndx.get(Le) != SHN_UNDEF;
            is_here.then(|| (entry.r_offset.get(Le), symbol.st_value.get(Le)))
        }));
    }
    slots
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use std::fs::File;

    use super::*;
    use crate::{allocator::symbols::defined, census::ProcRoot};

    #[test]
    fn libc_reaches_its_own_malloc_by_a_slot() {
        let areas = ProcRoot::default().maps(std::process::id()).unwrap();
        let is_libc = |path: &&std::path::PathBuf| path.ends_with("libc.so.6");
        let libc = areas.iter().filter_map(|area| area.path.as_ref()).find(is_libc).unwrap();
        let file = File::open(libc).unwrap();
        let elf = Elf::read(&file).unwrap();
        let malloc = defined(&elf, ["malloc"])["malloc"].address;
        assert!(slots(&elf).values().any(|function| *function == malloc));
    }
}
