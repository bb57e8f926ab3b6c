use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
    path::{Path, PathBuf},
};

/// Why something about a process is not known.
#[derive(Debug, thiserror::Error)]
pub enum CensusError {
    /// It has ended.
    #[error("no process {0}")]
    NoSuchProcess(u32),
    /// The kernel does not let this user know.
    #[error("not permitted to read {0}")]
    NotPermitted(PathBuf),
    /// It has ended and waits for its parent, or is a thread of the kernel.
    #[error("process {0} has no address space: it has ended, or is a thread of the kernel")]
    NoAddressSpace(u32),
    /// It was executing another program at each attempt to read it.
    #[error("process {0} is executing another program; try again")]
    Changing(u32),
    /// The file does not look as documented in proc(5).
    #[error("{file}: {why}")]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Any other failure, such as a file that this kernel does not have.
    #[error("cannot read {file}: {source}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The processes below a root path. [`Default`] is `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcRoot {
    root: PathBuf,
}

impl Default for ProcRoot {
    fn default() -> Self {
        Self::new("/")
    }
}

/// Above what the kernel makes of a process with as many mappings as it allows by default.
const FILE_LIMIT: u64 = 256 << 20;

impl ProcRoot {
    /// The processes in `<root>/proc`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The root path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Bytes that the machine can give without swapping, as the kernel estimates them.
    #[must_use]
    pub fn memory_available(&self) -> Option<u64> {
        let text = fs::read_to_string(self.root.join("proc/meminfo")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        kib.checked_mul(1024)
    }

    /// All processes, in ascending order; none if there is no `/proc`.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        numbers_in(&self.root.join("proc")).unwrap_or_default()
    }

    /// The threads of a process, in ascending order.
    ///
    /// # Errors
    /// If the process has ended or may not be looked at.
    pub fn thread_ids(&self, pid: u32) -> Result<Vec<u32>, CensusError> {
        let directory = self.file(pid, "task");
        numbers_in(&directory).map_err(|error| self.failure(pid, &directory, error))
    }

    pub(crate) fn file(&self, pid: u32, name: &str) -> PathBuf {
        let mut path = self.root.join("proc");
        path.push(pid.to_string());
        path.push(name);
        path
    }

    pub(crate) fn read(&self, pid: u32, name: &str) -> Result<Vec<u8>, CensusError> {
        self.read_at_most(pid, name, FILE_LIMIT)
    }

    pub(crate) fn read_at_most(
        &self,
        pid: u32,
        name: &str,
        limit: u64,
    ) -> Result<Vec<u8>, CensusError> {
        let path = self.file(pid, name);
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .map_err(|error| self.failure(pid, &path, error))?;
        Ok(bytes)
    }

    pub(crate) fn malformed(&self, pid: u32, name: &str, why: impl Into<String>) -> CensusError {
        CensusError::Malformed { file: self.file(pid, name), why: why.into() }
    }

    pub(crate) fn failure(&self, pid: u32, path: &Path, source: io::Error) -> CensusError {
        match source.kind() {
            ErrorKind::PermissionDenied => CensusError::NotPermitted(path.to_owned()),
            // ESRCH: it ended between opening and reading.
            _ if source.raw_os_error() == Some(libc::ESRCH) => CensusError::NoSuchProcess(pid),
            ErrorKind::NotFound if !self.file(pid, "").exists() => CensusError::NoSuchProcess(pid),
            _ => CensusError::Unreadable { file: path.to_owned(), source },
        }
    }
}

/// The entries of a directory whose names are numbers.
fn numbers_in(directory: &Path) -> io::Result<Vec<u32>> {
    let mut numbers: Vec<u32> = fs::read_dir(directory)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::{super::fake::FakeProc, *};

    #[test]
    fn processes_and_threads_are_numbers() {
        let fake = FakeProc::new();
        for name in ["7/stat", "12/stat", "12/task/12/stat", "12/task/13/stat"] {
            fake.write(name, b"");
        }
        fake.write("self-like/stat", b"");
        assert_eq!(fake.root().pids(), [7, 12]);
        assert_eq!(fake.root().thread_ids(12).unwrap(), [12, 13]);
    }

    #[test]
    fn a_missing_process_is_told_from_a_missing_file() {
        let fake = FakeProc::new();
        fake.write("7/stat", b"");
        let root = fake.root();
        assert!(matches!(root.read(8, "stat"), Err(CensusError::NoSuchProcess(8))));
        assert!(matches!(root.read(7, "schedstat"), Err(CensusError::Unreadable { .. })));
        assert!(matches!(root.thread_ids(8), Err(CensusError::NoSuchProcess(8))));
    }

    #[test]
    fn without_proc_there_are_no_processes() {
        assert!(ProcRoot::new("/nonexistent").pids().is_empty());
    }

    #[test]
    fn this_process_is_among_those_of_the_machine() {
        assert!(ProcRoot::default().pids().contains(&std::process::id()));
    }
}
