use std::{collections::HashMap, fs::File, os::unix::fs::FileExt, path::Path, sync::Arc};

use gimli::UnwindContext;

use super::{image::guarded, tables::Tables};
use crate::{
    census::ProcRoot,
    parser::message::{Code, FileId},
};

/// Bytes of unwind tables that are kept. What comes after has none: its stacks end early.
const MOST_BYTES: usize = 256 << 20;
/// Bytes of the kernel's own library; it has two pages.
const MOST_VDSO_BYTES: u64 = 64 << 10;
const VDSO: &str = "[vdso]";

/// The tables of the library that the kernel maps into every 64-bit program.
pub struct Vdso(Option<Arc<Tables>>);

impl Vdso {
    /// From this process's own copy.
    #[must_use]
    pub fn read() -> Self {
        Self(vdso(&ProcRoot::default()).map(Arc::new))
    }
}

/// Unwind tables, read once for each file and shared by all processes that have it mapped.
pub struct Library {
    files: HashMap<FileId, Option<Arc<Tables>>>,
    bytes: usize,
    vdso: Option<Arc<Tables>>,
    /// Hears of each file before its tables are looked at.
    at_hand: Box<dyn Fn(FileId)>,
    pub(super) context: UnwindContext<usize>,
}

impl Library {
    /// Without files. `at_hand` hears of each before its tables are looked at.
    #[must_use]
    pub fn new(vdso: Vdso, at_hand: impl Fn(FileId) + 'static) -> Self {
        Self {
            files: HashMap::new(),
            bytes: 0,
            vdso: vdso.0,
            at_hand: Box::new(at_hand),
            context: UnwindContext::new(),
        }
    }

    /// Reads the tables of a file, if it has some and there is room.
    pub fn add(&mut self, id: FileId, file: &File) {
        // Reading is guarded like stepping: what it meets is the same.
        let room = self.bytes < MOST_BYTES;
        let tables = room.then(|| guarded(|| Tables::read(file)).flatten()).flatten().map(Arc::new);
        self.bytes += tables.as_ref().map_or(0, |tables| tables.bytes());
        self.files.insert(id, tables);
    }

    /// The tables for code, and its place in their file.
    pub(super) fn tables(&self, code: Code) -> Option<(Arc<Tables>, u64)> {
        match code {
            Code::Elsewhere => None,
            Code::Vdso(offset) => Some((self.vdso.clone()?, offset)),
            Code::File(id, offset) => {
                (self.at_hand)(id);
                Some((self.files.get(&id)?.clone()?, offset))
            }
        }
    }

    /// Never uses tables again that were the end of an unwinder.
    pub(super) fn condemn(&mut self, code: Code) {
        if let Code::File(id, _) = code {
            self.files.insert(id, None);
        }
        self.context = UnwindContext::new();
    }
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
