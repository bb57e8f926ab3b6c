//! Which file the parser has in hand, where the session can read it when the parser is no more.

use std::{
    fs::File,
    io,
    num::NonZeroU32,
    os::{fd::OwnedFd, unix::fs::FileExt},
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create},
    mm::{MapFlags, ProtFlags, mmap},
};

use super::message::FileId;

const BYTES: usize = size_of::<u32>();

/// The session's end.
pub(super) struct Board(File);

impl Board {
    /// A new one, with nothing on it.
    pub(super) fn new() -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = memfd_create("alloctrace-board", flags)?;
        ftruncate(&memory, BYTES as u64)?;
        fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(Self(memory.into()))
    }

    /// To be handed to the parser.
    pub(super) fn file(&self) -> &File {
        &self.0
    }

    /// What the parser has in hand, or had when it ended.
    pub(super) fn read(&self) -> Option<FileId> {
        let mut word = [0; BYTES];
        self.0.read_exact_at(&mut word, 0).ok()?;
        NonZeroU32::new(u32::from_ne_bytes(word)).map(FileId)
    }
}

/// The parser's end.
pub(super) struct Chalk(&'static AtomicU32);

impl Chalk {
    /// For the board that was handed over.
    pub(super) fn new(board: &OwnedFd) -> io::Result<Self> {
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping, at a place of the kernel's choice, of memory whose size is sealed. It
        // stays as long as the process, is aligned to a page, and is an atomic to whoever looks.
        let word = unsafe {
            let place = mmap(std::ptr::null_mut(), BYTES, access, flags, board, 0)?;
            AtomicU32::from_ptr(place.cast())
        };
        Ok(Self(word))
    }

    /// From now on it is this file.
    pub(super) fn write(&self, file: FileId) {
        self.0.store(file.0.get(), Ordering::Relaxed);
    }

    /// No file is in hand.
    pub(super) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}
