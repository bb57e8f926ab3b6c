use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

use super::{CensusError, ProcRoot, process::DELETED};

/// A line of `/proc/PID/maps`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Area {
    /// First address.
    pub start: u64,
    /// Address after the last one.
    pub end: u64,
    /// Place in the file that `start` shows, in bytes.
    pub offset: u64,
    /// May be read.
    pub readable: bool,
    /// May be written.
    pub writable: bool,
    /// May be executed.
    pub executable: bool,
    /// Writes reach the file or whoever else maps it (`MAP_SHARED`).
    pub shared: bool,
    /// Major and minor number of the file's device; an inode number means nothing without it.
    pub device: (u32, u32),
    /// Inode number of the file; 0: no file.
    pub inode: u64,
    /// The file as the process sees it, or a name in brackets such as `[heap]`.
    pub path: Option<PathBuf>,
    /// The file had been removed or replaced; the mark is not part of `path`.
    pub deleted: bool,
}

impl Area {
    /// Its length in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }
}

impl ProcRoot {
    /// The mappings of a process in ascending order; none for kernel threads. Reading them takes
    /// the process's `mmap_lock`: use sparingly.
    ///
    /// # Errors
    /// If it has ended, may not be looked at, or the file is not as in proc(5).
    pub fn maps(&self, pid: u32) -> Result<Vec<Area>, CensusError> {
        let content = self.read(pid, "maps")?;
        content
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                parse(line).ok_or_else(|| {
                    let line = String::from_utf8_lossy(line);
                    self.malformed(pid, "maps", format!("line {line:?}"))
                })
            })
            .collect()
    }
}

/// `START-END PERMISSIONS OFFSET DEVICE INODE   PATH`
pub(super) fn parse(line: &[u8]) -> Option<Area> {
    let mut rest = line;
    let (start, end) = range(line)?;
    next_word(&mut rest)?;
    let permissions = next_word(&mut rest)?.as_bytes();
    let offset = next_word(&mut rest)?;
    let device = next_word(&mut rest)?;
    let inode = next_word(&mut rest)?;
    let (major, minor) = device.split_once(':')?;
    let (path, deleted) = file_name(rest);
    let area = Area {
        start,
        end,
        offset: u64::from_str_radix(offset, 16).ok()?,
        readable: permissions.first() == Some(&b'r'),
        writable: permissions.get(1) == Some(&b'w'),
        executable: permissions.get(2) == Some(&b'x'),
        shared: permissions.get(3) == Some(&b's'),
        device: (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?),
        inode: inode.parse().ok()?,
        path,
        deleted,
    };
    Some(area)
}

/// The addresses of a line: the first, and the one after the last.
pub(super) fn range(line: &[u8]) -> Option<(u64, u64)> {
    let (start, end) = next_word(&mut &*line)?.split_once('-')?;
    let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    (start < end).then_some((start, end))
}

/// Takes the first word off; what the kernel writes before the path is ASCII.
fn next_word<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let end = rest.iter().position(|&b| b == b' ').unwrap_or(rest.len());
    let (word, tail) = rest.split_at(end);
    *rest = tail.strip_prefix(b" ").unwrap_or(tail);
    std::str::from_utf8(word).ok().filter(|word| !word.is_empty())
}

/// The path is padded on the left; newlines in it, and nothing else, are written as `\012`.
fn file_name(padded: &[u8]) -> (Option<PathBuf>, bool) {
    let bytes = padded.trim_ascii_start();
    let (bytes, deleted) = match bytes.strip_suffix(DELETED) {
        Some(name) => (name, true),
        None => (bytes, false),
    };
    if bytes.is_empty() {
        return (None, deleted);
    }
    let mut name = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(br"\012") {
            name.push(b'\n');
            rest = after;
        } else {
            name.push(byte);
            rest = tail;
        }
    }
    (Some(OsString::from_vec(name).into()), deleted)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::{super::fake::FakeProc, *};

    fn path_of(tail: &[u8]) -> (Option<PathBuf>, bool) {
        let mut line = b"1000-2000 r-xp 00003000 fe:00 12 ".to_vec();
        line.extend(tail);
        let area = parse(&line).unwrap();
        (area.path, area.deleted)
    }

    #[test]
    fn a_line_is_taken_apart() {
        let area =
            parse(b"7f00a000-7f00c000 r-xp 0001e000 fe:00 247030       /usr/bin/cat").unwrap();
        assert_eq!((area.start, area.end), (0x7f00_a000, 0x7f00_c000));
        assert_eq!((area.offset, area.inode, area.device), (0x1e000, 247_030, (0xfe, 0)));
        assert!(!area.shared);
        assert!(parse(b"1000-2000 rw-s 0 00:01 7 /dev/zero (deleted)").unwrap().shared);
        assert!(area.readable && !area.writable && area.executable && !area.deleted);
        assert_eq!(area.path, Some("/usr/bin/cat".into()));
    }

    #[test]
    fn names_may_hold_anything() {
        for (tail, path, deleted) in [
            (b"".as_slice(), None, false),
            (b"[heap]", Some("[heap]"), false),
            (b"   /a b/c", Some("/a b/c"), false),
            (b"/a (deleted)", Some("/a"), true),
            (b"/a (deleted) (deleted)", Some("/a (deleted)"), true),
            (br"/new\012line", Some("/new\nline"), false),
            (br"/back\slash\01", Some(r"/back\slash\01"), false),
            (b"/SYSV", Some("/SYSV"), false),
        ] {
            assert_eq!(path_of(tail), (path.map(PathBuf::from), deleted));
        }
        assert!(path_of(b"/\xff").0.is_some());
    }

    #[test]
    fn broken_lines_are_refused() {
        for line in [
            b"".as_slice(),
            b"1000",
            b"1000-2000",
            b"2000-1000 r-xp 0 0:0 0",
            b"x-2000 r-xp 0 0:0 0",
            b"1000-2000 r-xp 0 0:0",
            b"1000-2000 r-xp 0 00 0",
            b"1000-2000 r-xp 0 x:0 0",
            b"1000-2000 r-xp 0 0:0 ",
            b"1000-2000 \xff 0 0:0 0",
            b"10000000000000000-20000000000000000 r-xp 0 0:0 0",
        ] {
            assert_eq!(parse(line), None, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn files_are_read_line_by_line() {
        let fake = FakeProc::new();
        fake.write("1/maps", b"1000-2000 rw-p 0 00:00 0 \n2000-3000 r-xp 0 00:00 0 [vdso]\n");
        fake.write("2/maps", b"");
        fake.write("3/maps", b"nonsense\n");
        assert_eq!(fake.root().maps(1).unwrap().len(), 2);
        assert!(fake.root().maps(2).unwrap().is_empty());
        assert!(matches!(fake.root().maps(3), Err(CensusError::Malformed { .. })));
        assert!(!ProcRoot::default().maps(std::process::id()).unwrap().is_empty());
    }
}
