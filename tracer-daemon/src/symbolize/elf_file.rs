//! Files of other processes, found and opened so that no link leads elsewhere and nothing but a file is
//! opened, whatever their owners put in their places.

use std::{
    fs::{File, Metadata},
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::Path,
    sync::Arc,
};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, open, openat2};

use super::Location;

/// Where a file can be found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// Below a root directory, which links do not lead out of.
    Beneath {
        /// The directory.
        root: Arc<Path>,
        /// The path there.
        path: Arc<Path>,
    },
    /// The kernel's own link to what is mapped.
    Itself(Arc<Path>),
}

impl Source {
    /// As this process sees it.
    pub(super) fn ours(path: &Path) -> Self {
        Self::Beneath { root: Path::new("/").into(), path: path.into() }
    }

    /// What is there, found and not opened.
    pub(super) fn look(&self) -> Option<(File, Metadata)> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let found = match self {
            Self::Beneath { root, path } => {
                let root = open(&**root, flags | OFlags::DIRECTORY, Mode::empty()).ok()?;
                let path = path.strip_prefix("/").unwrap_or(path);
                openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)
            }
            Self::Itself(link) => rustix::fs::openat(CWD, &**link, flags, Mode::empty()),
        };
        let found = File::from(found.ok()?);
        let metadata = found.metadata().ok()?;
        Some((found, metadata))
    }

    /// The inode number of what is there.
    pub(super) fn inode(&self) -> Option<u64> {
        self.look().map(|(_, metadata)| metadata.ino())
    }
}

/// A file that can be opened, and which one it is.
#[derive(Clone, Debug)]
pub(crate) struct ElfFile {
    source: Source,
    /// Tells it from all others.
    pub(crate) identity: Identity,
}

/// Tells a file from all others, also from what it was before it was written to: device, inode,
/// length, and time of the last change in seconds and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity(u64, u64, u64, i64, i64);

impl Identity {
    /// `None`: opening anything else than a regular file, such as a FIFO put in its place, might never
    /// return.
    fn of(metadata: &Metadata) -> Option<Self> {
        let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
        metadata
            .is_file()
            .then(|| Self(metadata.dev(), metadata.ino(), metadata.len(), seconds, nanoseconds))
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
        Self::at(Source::ours(&location.module)).filter(|file| file.has_inode(location.inode))
    }

    fn at(source: Source) -> Option<Self> {
        let identity = Identity::of(&source.look()?.1)?;
        Some(Self { source, identity })
    }

    /// Whether it is the one that a process has mapped.
    pub(crate) fn has_inode(&self, inode: u64) -> bool {
        self.identity.1 == inode
    }

    /// Opens the very file, or none.
    pub(crate) fn open(&self) -> Option<File> {
        let (found, metadata) = self.source.look()?;
        if Identity::of(&metadata)? != self.identity {
            return None;
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        // What was found, whatever is in its place now.
        let path = format!("/proc/self/fd/{}", found.as_raw_fd());
        open(path, flags, Mode::empty()).ok().map(File::from)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use std::{fs, os::unix::fs::symlink};

    use rustix::fs::{FileType, mknodat};

    use super::*;

    #[test]
    fn links_do_not_lead_out_of_a_root() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(directory.path().join("outside"), "outside").unwrap();
        fs::write(root.join("inside"), "inside").unwrap();
        symlink(directory.path().join("outside"), root.join("absolute")).unwrap();
        symlink("../outside", root.join("relative")).unwrap();
        symlink("/inside", root.join("link")).unwrap();
        let file = |name: &str| {
            let root: Arc<Path> = root.as_path().into();
            ElfFile::at(Source::Beneath { root, path: Path::new(name).into() })
        };
        for name in ["/absolute", "/relative", "/../outside"] {
            assert!(file(name).is_none(), "{name}");
        }
        assert_eq!(
            std::io::read_to_string(file("/link").unwrap().open().unwrap()).unwrap(),
            "inside"
        );
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "file").unwrap();
        let file = ElfFile::at(Source::ours(&path)).unwrap();
        assert!(file.open().is_some());
        fs::remove_file(&path).unwrap();
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert!(file.open().is_none() && ElfFile::at(Source::ours(&path)).is_none());
        assert!(ElfFile::at(Source::ours(Path::new("/dev/zero"))).is_none());
    }
}
