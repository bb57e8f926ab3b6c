use std::{collections::HashMap, fs::File, os::unix::fs::FileExt, path::Path, sync::Arc};

use gimli::UnwindContext;

use super::tables::Tables;
use crate::{
    census::ProcRoot,
    symbolize::{ElfFile, Location},
};

/// Bytes of unwind tables that are kept. What comes after has none: its stacks end early.
const MOST_BYTES: usize = 256 << 20;
/// Files whose tables, or the lack of them, are remembered.
const MOST_FILES: usize = 4096;
/// Bytes of the kernel's own library; it has two pages.
const MOST_VDSO_BYTES: u64 = 64 << 10;
const VDSO: &str = "[vdso]";

/// Unwind tables, read once for each file and shared by all processes that have it mapped.
pub struct Library {
    files: HashMap<ElfFile, Option<Arc<Tables>>>,
    bytes: usize,
    vdso: Option<Arc<Tables>>,
    pub(super) context: UnwindContext<usize>,
}

impl Default for Library {
    fn default() -> Self {
        Self::new()
    }
}

impl Library {
    /// Empty; files are read when they are needed.
    #[must_use]
    pub fn new() -> Self {
        Self {
            files: HashMap::new(),
            bytes: 0,
            // The kernel maps the same into every 64-bit program.
            vdso: vdso(&ProcRoot::default()).map(Arc::new),
            context: UnwindContext::new(),
        }
    }

    /// The tables of the file at a location; `None` if it cannot be opened, has none, or there are
    /// too many already.
    pub(super) fn tables(&mut self, location: &Location) -> Option<Arc<Tables>> {
        if &*location.module == Path::new(VDSO) {
            return self.vdso.clone();
        }
        let file = ElfFile::find(location)?;
        if let Some(known) = self.files.get(&file) {
            return known.clone();
        }
        if self.files.len() >= MOST_FILES || self.bytes >= MOST_BYTES {
            log::debug!("{}: no room for its unwind tables", location.module.display());
            return None;
        }
        let tables = file.open().and_then(|open| read(location, &open)).map(Arc::new);
        self.bytes += tables.as_ref().map_or(0, |tables| tables.bytes());
        self.files.insert(file, tables.clone());
        tables
    }

    /// Never uses tables again that were the end of an unwinder.
    pub(super) fn condemn(&mut self, tables: &Arc<Tables>) {
        for known in self.files.values_mut() {
            if known.as_ref().is_some_and(|known| Arc::ptr_eq(known, tables)) {
                *known = None;
            }
        }
        self.context = UnwindContext::new();
    }
}

/// Reading is guarded like stepping: what it meets is the same.
fn read(location: &Location, file: &File) -> Option<Tables> {
    let tables = super::image::guarded(|| Tables::read(file)).flatten();
    if tables.is_none() {
        log::debug!("{}: no unwind tables that can be used", location.module.display());
    }
    tables
}

fn vdso(root: &ProcRoot) -> Option<Tables> {
    let own = std::process::id();
    let areas = root.maps(own).ok()?;
    let area = areas.into_iter().find(|area| area.path.as_deref() == Some(Path::new(VDSO)))?;
    let size = usize::try_from((area.end - area.start).min(MOST_VDSO_BYTES)).ok()?;
    let mut bytes = vec![0; size];
    File::open(root.file(own, "mem")).ok()?.read_exact_at(&mut bytes, area.start).ok()?;
    Tables::read(&*bytes)
}
