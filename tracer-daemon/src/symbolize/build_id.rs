//! Which build a file is, by the number that its linker wrote into it.

use std::fs::File;

use crate::elf::Elf;

/// Linkers write 8 to 32 bytes, or what they are told.
pub(crate) const MOST_BYTES: usize = 64;

/// In hexadecimal digits, as everybody writes it.
pub(super) fn in_hex(elf: &Elf<'_, File>) -> Option<String> {
    let id = elf.build_id().filter(|id| (1..=MOST_BYTES).contains(&id.len()))?;
    Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// That of a file.
pub(crate) fn build_id(file: &File) -> Option<String> {
    in_hex(&Elf::read(file)?)
}
