//! Debug files by build-id. blazesym looks for them only where the program names one as well
//! (`.gnu_debuglink`), which not all that are stripped do.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use super::build_id::in_hex;
use crate::elf::{Elf, Segment};

/// Where distributions put them.
pub(super) const DEBUG_DIRECTORY: &str = "/usr/lib/debug";

/// What was kept of a program when it was stripped.
#[derive(Clone, Debug)]
pub(super) struct DebugFile {
    pub(super) path: PathBuf,
    code: Vec<Segment>,
}

impl DebugFile {
    /// That of a program, if there is one below `directory`.
    pub(super) fn find(program: &File, directory: &Path) -> Option<Self> {
        let elf = Elf::read(program)?;
        let id = in_hex(&elf)?;
        let (first, rest) = id.split_at_checked(2).filter(|(_, rest)| !rest.is_empty())?;
        let path = directory.join(format!(".build-id/{first}/{rest}.debug"));
        path.is_file().then(|| Self { path, code: elf.code() })
    }

    /// The address, in the file's own terms, of a place in the program.
    pub(super) fn address_of(&self, offset: u64) -> Option<u64> {
        self.code.iter().find_map(|segment| segment.address_of(offset))
    }
}
