//! A made-up `/proc` for tests.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{fs, os::unix::fs::symlink, path::Path};

use super::ProcRoot;

pub(crate) struct FakeProc {
    directory: tempfile::TempDir,
}

impl FakeProc {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn root(&self) -> ProcRoot {
        ProcRoot::new(self.directory.path())
    }

    /// Writes a file below `/proc`.
    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        let path = self.place(name);
        fs::write(path, content).unwrap();
    }

    pub(crate) fn link(&self, name: &str, target: impl AsRef<Path>) {
        symlink(target, self.place(name)).unwrap();
    }

    fn place(&self, name: &str) -> std::path::PathBuf {
        let path = self.directory.path().join("proc").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }
}
