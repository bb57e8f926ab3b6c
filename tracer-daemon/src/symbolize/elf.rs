//! The only place that knows blazesym.

use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use blazesym::symbolize::{
    CodeInfo, Input, Sym, Symbolizer as Blazesym,
    source::{Elf, Source},
};

use super::{
    Location,
    debug_file::{DEBUG_DIRECTORY, DebugFile},
    symbolizer::Name,
};

/// Files that are kept open and indexed at the most.
const FILE_LIMIT: usize = 256;

/// One unit of debug information may be beyond the parser and the others not; after so many
/// failures a file's symbol table has to do.
const DEBUG_FAILURE_LIMIT: u32 = 16;

/// A file that can be opened, and which one it is.
#[derive(Clone, Debug)]
pub(crate) struct ElfFile {
    path: Arc<Path>,
    identity: Identity,
}

/// Tells a file from all others, also from what it was before it was written to: device, inode,
/// length, and time of the last change in seconds and nanoseconds.
type Identity = (u64, u64, u64, i64, i64);

/// The path does not count: it names the process, which ends before its programs change.
impl PartialEq for ElfFile {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Eq for ElfFile {}

impl std::hash::Hash for ElfFile {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.identity.hash(state);
    }
}

impl ElfFile {
    /// The file of a location as its process sees it, or once that has ended as we do.
    pub(crate) fn find(location: &Location) -> Option<Self> {
        if let Some(file) = location.source.clone().and_then(Self::at) {
            return Some(file);
        }
        if location.deleted || !location.module.is_absolute() {
            return None;
        }
        // The process may have lived in a container, with another file of this name.
        Self::at(Arc::clone(&location.module)).filter(|file| file.has_inode(location.inode))
    }

    fn at(path: Arc<Path>) -> Option<Self> {
        let identity = identity(&fs::metadata(&path).ok()?)?;
        Some(Self { path, identity })
    }

    /// Whether it is the one that a process has mapped.
    pub(crate) fn has_inode(&self, inode: u64) -> bool {
        self.identity.1 == inode
    }

    /// Opens the very file, or none. It does not wait, whatever has been put in its place since.
    pub(crate) fn open(&self) -> Option<File> {
        let mut options = File::options();
        let file = options.read(true).custom_flags(libc::O_NONBLOCK).open(&self.path).ok()?;
        (identity(&file.metadata().ok()?)? == self.identity).then_some(file)
    }
}

/// `None`: opening anything else than a regular file, such as a FIFO put in its place, might never
/// return.
fn identity(metadata: &fs::Metadata) -> Option<Identity> {
    metadata.is_file().then(|| {
        (metadata.dev(), metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec())
    })
}

/// Names from the symbol tables and debug information of files.
#[derive(Debug)]
pub(crate) struct ElfNames {
    blazesym: Blazesym,
    debug_directory: PathBuf,
    /// Files, and what was stripped off them.
    known: HashMap<ElfFile, Option<DebugFile>>,
    /// How often their debug information could not be read.
    debug_failures: HashMap<ElfFile, u32>,
}

impl Default for ElfNames {
    fn default() -> Self {
        Self::with_debug_directory(DEBUG_DIRECTORY.into())
    }
}

impl ElfNames {
    pub(super) fn with_debug_directory(debug_directory: PathBuf) -> Self {
        Self {
            blazesym: Blazesym::new(),
            debug_directory,
            known: HashMap::new(),
            debug_failures: HashMap::new(),
        }
    }

    /// What runs at a place in a file, inlined functions first.
    pub(crate) fn names(&mut self, file: &ElfFile, offset: u64) -> Option<Vec<Name>> {
        if self.known.len() >= FILE_LIMIT {
            *self = Self::with_debug_directory(std::mem::take(&mut self.debug_directory));
        }
        let failures = self.debug_failures.get(file).copied().unwrap_or(0);
        if failures < DEBUG_FAILURE_LIMIT {
            let stripped_off = self.stripped_off(file, offset);
            let found = match &stripped_off {
                Some((path, address)) => self.look_up(path, Input::VirtOffset(*address), true),
                None => self.look_up(&file.path, Input::FileOffset(offset), true),
            };
            match found {
                Ok(None) if stripped_off.is_some() => {}
                Ok(names) => return names,
                Err(why) => {
                    log::debug!("{}, {offset:#x}: {why}", file.path.display());
                    self.debug_failures.insert(file.clone(), failures + 1);
                }
            }
        }
        self.look_up(&file.path, Input::FileOffset(offset), false).unwrap_or_else(|why| {
            log::debug!("{}, {offset:#x}: {why}", file.path.display());
            None
        })
    }

    /// The debug file, and the address there.
    fn stripped_off(&mut self, file: &ElfFile, offset: u64) -> Option<(PathBuf, u64)> {
        if !self.known.contains_key(file) {
            let open = file.open();
            let found = open.and_then(|open| DebugFile::find(&open, &self.debug_directory));
            self.known.insert(file.clone(), found);
        }
        let debug = self.known.get(file)?.as_ref()?;
        Some((debug.path.clone(), debug.address_of(offset)?))
    }

    fn look_up(
        &mut self,
        path: &Path,
        place: Input<u64>,
        debug_syms: bool,
    ) -> Result<Option<Vec<Name>>, String> {
        let mut elf = Elf::new(path);
        elf.debug_syms = debug_syms;
        let source = Source::Elf(elf);
        // A file made to hurt might find a panic in the parsers; it costs names, not the daemon.
        let found = catch_unwind(AssertUnwindSafe(|| {
            self.blazesym
                .symbolize_single(&source, place)
                .map(|symbolized| symbolized.into_sym().map(|sym| names_of(&sym)))
                .map_err(|error| error.to_string())
        }));
        found.unwrap_or_else(|_| {
            self.blazesym = Blazesym::new();
            Err("cannot be parsed".to_owned())
        })
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
        symbol: Some(symbol.to_owned()),
        file: source.map(|source| source.to_path().display().to_string()),
        line: source.and_then(|source| source.line),
    }
}
