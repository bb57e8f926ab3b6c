//! How many areas and holes a process has, from a reading in bounded memory.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
};

use super::{
    CensusError, ProcRoot,
    address_space::{Floor, KERNEL_HALF},
    maps::range,
};

/// As much is read at once. The kernel hands out a page at a time.
const CHUNK: usize = 64 << 10;

/// Above the list of 65,530 areas with names of ordinary length; a longer one is not worth the
/// time that reading it takes.
const LIMIT: u64 = 64 << 20;

/// How many areas a process has, and what lies between them. Of a list above 64 MiB, that of its
/// first 64 MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AreaCount {
    /// Lines of `/proc/PID/maps`.
    pub areas: u64,
    /// As [`super::address_space::holes`] has them.
    pub holes: u64,
}

impl ProcRoot {
    /// Counts the areas of a process. It takes the same lock as a reading of them.
    ///
    /// # Errors
    /// If it has ended or may not be looked at.
    pub fn count_areas(&self, pid: u32) -> Result<AreaCount, CensusError> {
        let path = self.file(pid, "maps");
        let lowest = self.lowest_address();
        File::open(&path)
            .and_then(|file| count(BufReader::with_capacity(CHUNK, file.take(LIMIT)), lowest))
            .map_err(|error| self.failure(pid, &path, error))
    }
}

fn count(mut file: impl BufRead, lowest: u64) -> io::Result<AreaCount> {
    let mut count = AreaCount::default();
    let mut floor = Some(Floor::from(lowest));
    let mut line = Vec::new();
    while file.read_until(b'\n', &mut line)? > 0 {
        count.areas += 1;
        match range(&line) {
            Some((start, _)) if start >= KERNEL_HALF || is_stack(&line) => floor = None,
            Some((start, end)) => {
                let hole = floor.as_mut().and_then(|floor| floor.pass(start, end));
                count.holes += u64::from(hole.is_some());
            }
            None => {}
        }
        line.clear();
    }
    Ok(count)
}

/// The kernel's own name, which no file can have: the name of a file begins with a slash.
fn is_stack(line: &[u8]) -> bool {
    line.trim_ascii_end().ends_with(b" [stack]") && !line.contains(&b'/')
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::{super::address_space::holes, *};

    fn counted(maps: &[u8]) -> AreaCount {
        count(maps, 4096).unwrap()
    }

    #[test]
    fn holes_end_at_the_stack() {
        let maps = b"1000-2000 rw-p 0 00:00 0 \n\
            3000-4000 r--p 0 fe:00 7 /a [stack]\n\
            4000-5000 r--p 0 fe:00 7 /a\n\
            6000-7000 rw-p 0 00:00 0 \n\
            9000-a000 rw-p 0 00:00 0    [stack]\n\
            c000-d000 r-xp 0 00:00 0    [vdso]\n";
        assert_eq!(counted(maps), AreaCount { areas: 6, holes: 2 });
        assert_eq!(counted(b""), AreaCount::default());
    }

    #[test]
    fn hostile_lines_are_areas_without_holes() {
        let mut maps = b"nonsense\n2000-3000 r--p 0 fe:00 12 /".to_vec();
        maps.extend([b'x'; 100_000]);
        maps.extend(b"\n\n\xff\xfe\n2000-1000 rw-p 0 00:00 0 \n5000-6000 rw-p");
        assert_eq!(counted(&maps), AreaCount { areas: 6, holes: 2 });
    }

    #[test]
    fn this_process_is_counted_as_the_census_has_it() {
        let (root, pid) = (ProcRoot::default(), std::process::id());
        let (count, reading) = (root.count_areas(pid).unwrap(), root.areas(pid).unwrap());
        assert!(count.areas.abs_diff(reading.areas.len() as u64) < 10, "{count:?}");
        let holes = holes(&reading.areas, reading.lowest).len() as u64;
        assert!(holes > 2 && count.holes.abs_diff(holes) < 10, "{count:?}, {holes}");
        assert!(matches!(root.count_areas(u32::MAX), Err(CensusError::NoSuchProcess(_))));
    }
}
