//! Reading what a process has in its memory.

use std::{fs::File, os::unix::fs::FileExt};

use crate::census::ProcRoot;

/// The memory of a process.
pub(super) struct Memory(File);

impl Memory {
    pub(super) fn open(root: &ProcRoot, pid: u32) -> Option<Self> {
        File::open(root.file(pid, "mem")).ok().map(Self)
    }

    /// The eight bytes that lie `offset` behind an address. `None`: the process has none there.
    pub(super) fn number_at(&self, address: u64, offset: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, address.checked_add(offset)?).ok()?;
        Some(u64::from_le_bytes(bytes))
    }
}
