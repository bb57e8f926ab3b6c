//! Which build a file is, by the number that its linker wrote into it.

use std::fs::File;

use super::{ElfFile, Location};
use crate::elf::Elf;

/// Linkers write 8 to 32 bytes, or what they are told.
const MOST_BYTES: usize = 64;

/// In hexadecimal digits, as everybody writes it.
pub(super) fn in_hex(elf: &Elf<'_, File>) -> Option<String> {
    let id = elf.build_id().filter(|id| (1..=MOST_BYTES).contains(&id.len()))?;
    Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// That of the very file that is mapped there: none, rather than that of one that replaced it since.
pub(crate) fn build_id(location: &Location) -> Option<String> {
    let file = ElfFile::find(location).filter(|file| file.has_inode(location.inode))?;
    in_hex(&Elf::read(&file.open()?)?)
}
