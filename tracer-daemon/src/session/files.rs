//! The files that a session's processes have mapped: each has one number, however many have it mapped, and
//! a parser is handed each once.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Seek},
    num::NonZeroU32,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::Path,
    sync::Arc,
};

use rustix::fs::{MemfdFlags, memfd_create};

use crate::{
    parser::{MOST_FILES, message::FileId},
    symbolize::{ElfFile, Identity, Location},
};

/// Bytes of files that the parser's user may not open, and that are copied for it.
const MOST_COPIED_BYTES: u64 = 128 << 20;
/// The permission of everybody to read.
const BY_OTHERS: u32 = 0o004;

/// Files by their numbers.
#[derive(Default)]
pub(super) struct Files {
    numbers: HashMap<Identity, FileId>,
    known: Vec<Known>,
    copied: u64,
}

struct Known {
    file: ElfFile,
    name: Arc<Path>,
    build_id: Option<String>,
    state: State,
}

/// Whether a parser may look at a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It has not been handed to this parser.
    New,
    /// It has.
    Kept,
    /// It was the end of one, or cannot be opened.
    Condemned,
}

impl Files {
    /// The number of the file at a location, if that can be found and there is room.
    pub(super) fn number(&mut self, location: &Location) -> Option<FileId> {
        let file = ElfFile::find(location)?;
        let identity = file.identity;
        if let Some(number) = self.numbers.get(&identity).copied() {
            // The process that it was first found in may be gone.
            if let Some(known) = self.get_mut(number) {
                known.file = file;
            }
            return Some(number);
        }
        if self.known.len() >= MOST_FILES {
            log::debug!("{}: no room for its names", location.module.display());
            return None;
        }
        let name = Arc::clone(&location.module);
        self.known.push(Known { file, name, build_id: None, state: State::New });
        let number = FileId(NonZeroU32::new(u32::try_from(self.known.len()).ok()?)?);
        self.numbers.insert(identity, number);
        Some(number)
    }

    /// Opens a file for the parser.
    pub(super) fn open(&mut self, id: FileId) -> Option<OwnedFd> {
        let file = self.get(id)?.file.open()?;
        let metadata = file.metadata().ok()?;
        if metadata.mode() & BY_OTHERS != 0 {
            return Some(file.into());
        }
        // The parser opens what it has been handed once more, which it may not with this one.
        let room = MOST_COPIED_BYTES - self.copied;
        let copy = (metadata.len() <= room).then(|| copy(&file, metadata.len()))?.ok()?;
        self.copied += metadata.len();
        Some(copy)
    }

    pub(super) fn state(&self, id: FileId) -> State {
        self.get(id).map_or(State::Condemned, |known| known.state)
    }

    /// A parser has it, and says which build it is.
    pub(super) fn keep(&mut self, id: FileId, build_id: Option<String>) {
        if let Some(known) = self.get_mut(id) {
            (known.build_id, known.state) = (build_id, State::Kept);
        }
    }

    /// No parser shall see it again. Returns its name.
    pub(super) fn condemn(&mut self, id: FileId) -> Option<Arc<Path>> {
        let known = self.get_mut(id)?;
        known.state = State::Condemned;
        Some(Arc::clone(&known.name))
    }

    /// There is another parser, which has none of them.
    pub(super) fn forget_kept(&mut self) {
        for known in self.known.iter_mut().filter(|known| known.state == State::Kept) {
            known.state = State::New;
        }
        self.copied = 0;
    }

    /// Which build a file is.
    pub(super) fn build_id(&self, id: FileId) -> Option<&String> {
        self.get(id)?.build_id.as_ref()
    }

    fn get(&self, id: FileId) -> Option<&Known> {
        self.known.get(id.0.get() as usize - 1)
    }

    fn get_mut(&mut self, id: FileId) -> Option<&mut Known> {
        self.known.get_mut(id.0.get() as usize - 1)
    }
}

/// In memory, where its permissions do not count.
fn copy(file: &File, length: u64) -> io::Result<OwnedFd> {
    let memory = File::from(memfd_create("alloctrace-copy", MemfdFlags::CLOEXEC)?);
    let mut from = io::Read::take(file, length);
    io::copy(&mut from, &mut &memory)?;
    (&memory).rewind()?;
    // Its own reopening of it is for reading.
    Ok(memory.into())
}
