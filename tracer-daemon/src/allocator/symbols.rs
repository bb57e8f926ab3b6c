//! Functions that a file defines, by name.

use std::collections::HashMap;

use object::{
    LittleEndian as Le,
    elf::{SHN_UNDEF, STT_FUNC, STT_GNU_IFUNC, Sym64},
    pod::slice_from_all_bytes,
};

use crate::elf::{Elf, Section, Source};

/// What the dynamic linker sees, and what a static program has instead unless it is stripped.
const TABLES: [(&[u8], &[u8]); 2] = [(b".dynsym", b".dynstr"), (b".symtab", b".strtab")];

/// A function of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol {
    /// Its address in the file's own terms.
    pub(super) address: u64,
    /// Bytes; 0 where the file does not say.
    pub(super) size: u64,
}

impl Symbol {
    /// The address behind it.
    pub(super) const fn end(self) -> u64 {
        self.address.saturating_add(self.size)
    }
}

/// Those of the `wanted` functions that the file defines.
pub(super) fn defined<'n, S: Source + ?Sized>(
    elf: &Elf<'_, S>,
    wanted: impl IntoIterator<Item = &'n str>,
) -> HashMap<&'n str, Symbol> {
    let wanted: HashMap<&[u8], &str> =
        wanted.into_iter().map(|name| (name.as_bytes(), name)).collect();
    let mut found = HashMap::new();
    for (symbols, names) in TABLES {
        let (Some(symbols), Some(names)) = (elf.named(symbols), elf.named(names)) else {
            continue;
        };
        for (name, symbol) in functions(&symbols, &names) {
            if let Some(name) = wanted.get(name) {
                found.entry(*name).or_insert(symbol);
            }
        }
    }
    found
}

fn functions<'a>(
    symbols: &'a Section,
    names: &'a Section,
) -> impl Iterator<Item = (&'a [u8], Symbol)> {
    let symbols = slice_from_all_bytes::<Sym64<Le>>(&symbols.bytes).unwrap_or_default();
    symbols.iter().filter_map(|symbol| {
        let is_function = matches!(symbol.st_type(), STT_FUNC | STT_GNU_IFUNC);
        if !is_function || symbol.st_shndx.get(Le) == SHN_UNDEF {
            return None;
        }
        let name = names.bytes.get(usize::try_from(symbol.st_name.get(Le)).ok()?..)?;
        let name = name.split(|byte| *byte == 0).next()?;
        Some((name, Symbol { address: symbol.st_value.get(Le), size: symbol.st_size.get(Le) }))
    })
}
