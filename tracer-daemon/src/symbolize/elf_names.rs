//! The only place that knows blazesym.

use std::{
    collections::HashMap,
    fs::File,
    os::fd::AsRawFd,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use blazesym::symbolize::{
    CodeInfo, Input, Sym, Symbolizer as Blazesym,
    source::{Elf, Source},
};

use super::debug_file::{DEBUG_DIRECTORY, DebugFile};
use crate::parser::message::{FileId, Name};

/// Files that are indexed at the most.
const FILE_LIMIT: usize = 256;

/// One unit of debug information may be beyond the parser and the others not; after so many
/// failures a file's symbol table has to do.
const DEBUG_FAILURE_LIMIT: u32 = 16;

/// Names from the symbol tables and debug information of files.
#[derive(Debug)]
pub(crate) struct ElfNames {
    blazesym: Blazesym,
    debug_directory: PathBuf,
    known: HashMap<FileId, Known>,
}

#[derive(Debug)]
struct Known {
    /// What was stripped off it.
    debug: Option<DebugFile>,
    /// How often its debug information could not be read.
    failures: u32,
}

impl Default for ElfNames {
    fn default() -> Self {
        Self::with_debug_directory(DEBUG_DIRECTORY.into())
    }
}

impl ElfNames {
    pub(super) fn with_debug_directory(debug_directory: PathBuf) -> Self {
        Self { blazesym: Blazesym::new(), debug_directory, known: HashMap::new() }
    }

    /// What runs at a place in a file that stays open, inlined functions first.
    pub(crate) fn names(&mut self, id: FileId, file: &File, offset: u64) -> Option<Vec<Name>> {
        if self.known.len() >= FILE_LIMIT {
            *self = Self::with_debug_directory(std::mem::take(&mut self.debug_directory));
        }
        let directory = &self.debug_directory;
        let known = self
            .known
            .entry(id)
            .or_insert_with(|| Known { debug: DebugFile::find(file, directory), failures: 0 });
        let stripped_off = known
            .debug
            .as_ref()
            .and_then(|debug| Some((debug.path.clone(), debug.address_of(offset)?)));
        let failures = known.failures;
        // The file that was opened, whatever is in its place now.
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        if failures < DEBUG_FAILURE_LIMIT {
            let found = match &stripped_off {
                Some((path, address)) => self.look_up(path, Input::VirtOffset(*address), true),
                None => self.look_up(&path, Input::FileOffset(offset), true),
            };
            match found {
                Ok(None) if stripped_off.is_some() => {}
                Ok(names) => return names,
                Err(()) => {
                    self.known.entry(id).and_modify(|known| known.failures += 1);
                }
            }
        }
        self.look_up(&path, Input::FileOffset(offset), false).ok().flatten()
    }

    fn look_up(
        &mut self,
        path: &Path,
        place: Input<u64>,
        debug_syms: bool,
    ) -> Result<Option<Vec<Name>>, ()> {
        let mut elf = Elf::new(path);
        elf.debug_syms = debug_syms;
        let source = Source::Elf(elf);
        // A file made to hurt might find a panic in the parsers; it costs its names, not all others'.
        let found = catch_unwind(AssertUnwindSafe(|| {
            self.blazesym
                .symbolize_single(&source, place)
                .map(|symbolized| symbolized.into_sym().map(|sym| names_of(&sym)))
        }));
        match found {
            Ok(names) => names.map_err(drop),
            Err(_) => {
                self.blazesym = Blazesym::new();
                Err(())
            }
        }
    }
}
fn names_of(sym: &Sym<'_>) -> Vec<Name> {
    let outermost = name(&sym.name, sym.code_info.as_deref());
    let inlined = sym.inlined.iter().rev();
    inlined
        .map(|function| name(&function.name, function.code_info.as_ref()))
        .chain([outermost])
        .collect()
}

fn name(symbol: &str, source: Option<&CodeInfo<'_>>) -> Name {
    Name {
        // Debug information may leave it out.
        symbol: Some(symbol.to_owned()).filter(|symbol| !symbol.is_empty()),
        file: source.map(|source| source.to_path().display().to_string()),
        line: source.and_then(|source| source.line),
    }
}
