//! One reading of `/proc/PID/maps`, timed, and taken apart afterwards.

use std::{
    fs::File,
    io::{self, Read},
    time::Instant,
};

use super::{Area, CensusError, Image, ProcRoot, maps::parse};

/// Above what the kernel makes of 65,530 areas with names of 4,000 characters.
const TEXT_LIMIT: u64 = 272 << 20;

/// Room for the text of the first areas.
const FIRST_ROOM: usize = 256 << 10;

/// As much is asked for at once. The kernel hands out a page at a time.
const CHUNK: usize = 64 << 10;

/// Attempts to read a program that is not replaced by another meanwhile.
const ATTEMPTS: usize = 10;

/// The areas of a process as one reading of `/proc/PID/maps` gave them.
#[derive(Clone, Debug)]
pub struct AreaReading {
    /// In ascending order, none overlaps another. `[vsyscall]` is among them, which the kernel
    /// lists for every process and does not count against the limit.
    pub areas: Vec<Area>,
    /// The program that they belong to.
    pub image: Image,
    /// Areas that a process may have: `vm.max_map_count`.
    pub limit: Option<u64>,
    /// The lowest address that a mapping may have: `vm.mmap_min_addr`.
    pub lowest: u64,
    /// How long the calls that read the file took. The kernel holds the process's `mmap_lock`, or those of
    /// single areas, for no longer than that.
    pub read_seconds: f64,
    /// Areas that were dropped because they lay below the one before. The kernel fills a page with
    /// lines, lets go of the lock and goes on at the next address, so a list may be torn between
    /// pages (fs/proc/task_mmu.c, m_start).
    pub torn: u64,
    /// Lines that are not as in proc(5).
    pub unreadable: u64,
}

impl ProcRoot {
    /// Reads the areas of a process. Use sparingly: it takes the process's `mmap_lock`.
    ///
    /// # Errors
    /// If it has ended, has no address space, may not be looked at, or is replaced again and again.
    pub fn areas(&self, pid: u32) -> Result<AreaReading, CensusError> {
        for _ in 0..ATTEMPTS {
            let image = self.image(pid)?;
            let (text, read_seconds) = self.maps_text(pid)?;
            // The list of a program that is replaced, or ends, ends in the middle.
            if self.image(pid)? != image {
                continue;
            }
            if text.is_empty() {
                return Err(CensusError::NoAddressSpace(pid));
            }
            if !image.is_loaded() {
                std::thread::yield_now();
                continue;
            }
            return Ok(self.taken_apart(&text, image, read_seconds));
        }
        Err(CensusError::Changing(pid))
    }

    /// Areas that a process may have, `vm.max_map_count`.
    #[must_use]
    pub fn area_limit(&self) -> Option<u64> {
        self.setting("max_map_count")
    }

    /// The text, and how long the reads took.
    fn maps_text(&self, pid: u32) -> Result<(Vec<u8>, f64), CensusError> {
        let path = self.file(pid, "maps");
        File::open(&path)
            .and_then(|file| read_timed(file.take(TEXT_LIMIT)))
            .map_err(|error| self.failure(pid, &path, error))
    }

    fn taken_apart(&self, text: &[u8], image: Image, read_seconds: f64) -> AreaReading {
        let mut reading = AreaReading {
            areas: Vec::with_capacity(text.len() / 64),
            image,
            limit: self.area_limit(),
            lowest: self.lowest_address(),
            read_seconds,
            torn: 0,
            unreadable: 0,
        };
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            // A line without an end was cut off, and so may be its name.
            let area = line.strip_suffix(b"\n").and_then(parse);
            let floor = reading.areas.last().map_or(0, |area| area.end);
            match area {
                Some(area) if area.start >= floor => reading.areas.push(area),
                Some(_) => reading.torn += 1,
                None => reading.unreadable += 1,
            }
        }
        reading
    }

    /// The lowest address that a mapping may have, `vm.mmap_min_addr`.
    pub(super) fn lowest_address(&self) -> u64 {
        self.setting("mmap_min_addr").unwrap_or(0)
    }

    /// A number of `/proc/sys/vm`.
    fn setting(&self, name: &str) -> Option<u64> {
        let path = self.path().join("proc/sys/vm").join(name);
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    }
}

/// Through a piece of memory that is there already: else each read would wait for a fresh page.
fn read_timed(mut file: impl Read) -> io::Result<(Vec<u8>, f64)> {
    let mut text = Vec::with_capacity(FIRST_ROOM);
    let mut chunk = vec![0; CHUNK];
    let mut seconds = 0.0;
    loop {
        let began = Instant::now();
        let read = file.read(&mut chunk);
        seconds += began.elapsed().as_secs_f64();
        match read {
            Ok(0) => return Ok((text, seconds)),
            Ok(length) => text.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::{super::fake::FakeProc, *};

    const STAT: &[u8] =
        b"7 (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 99 1 1 1 5 6 7 0 0 0 0 0 0 \
        0 0 0 17 0 0 0 0 0 0 1 2 3 8 9 5 6 0\n";

    fn fake(maps: &[u8]) -> FakeProc {
        let fake = FakeProc::new();
        fake.write("7/stat", STAT);
        fake.write("7/maps", maps);
        fake.write("sys/vm/max_map_count", b"65530\n");
        fake.write("sys/vm/mmap_min_addr", b"65536\n");
        fake
    }

    #[test]
    fn the_settings_come_with_the_areas() {
        let fake = fake(b"1000-2000 rw-p 0 00:00 0 \n3000-4000 r-xp 0 00:00 0 [vdso]\n");
        let reading = fake.root().areas(7).unwrap();
        assert_eq!(reading.areas.len(), 2);
        assert_eq!((reading.limit, reading.lowest), (Some(65530), 65536));
        assert_eq!((reading.torn, reading.unreadable), (0, 0));
    }

    #[test]
    fn what_goes_backwards_is_dropped_and_counted() {
        let fake = fake(
            b"1000-3000 rw-p 0 0:0 0 \n1000-3000 rw-p 0 0:0 0 \n2000-5000 rw-p 0 0:0 0 \n\
              3000-4000 rw-p 0 0:0 0 \n",
        );
        let reading = fake.root().areas(7).unwrap();
        assert_eq!((reading.areas.len(), reading.torn), (2, 2));
    }

    #[test]
    fn hostile_lines_cost_themselves_only() {
        let mut maps = b"nonsense\n1000-2000 r--p 0 fe:00 12 /".to_vec();
        maps.extend([b'x'; 4000]);
        maps.extend(b"\n2000-3000 r--p 0 fe:00 13 /new\\012line (deleted)\n\n\xff\xfe\n");
        maps.extend(b"3000-4000 rw-p 0 00:00 0 \n4000-50");
        let reading = fake(&maps).root().areas(7).unwrap();
        assert_eq!((reading.areas.len(), reading.unreadable, reading.torn), (3, 4, 0));
        assert!(reading.areas[1].deleted);
    }

    #[test]
    fn failures_are_told_apart() {
        let fake = fake(b"");
        fake.write(
            "9/stat",
            String::from_utf8_lossy(STAT).replacen(" 1 1 1 5 6", " 1 1 1 0 6", 1).as_bytes(),
        );
        fake.write("9/maps", b"1000-2000 rw-p 0 00:00 0 [stack]\n");
        let root = fake.root();
        assert!(matches!(root.areas(9), Err(CensusError::Changing(9))), "an exec under way");
        assert!(matches!(root.areas(7), Err(CensusError::NoAddressSpace(7))));
        assert!(matches!(root.areas(8), Err(CensusError::NoSuchProcess(8))));
    }

    #[test]
    fn this_process_can_be_read() {
        let (root, pid) = (ProcRoot::default(), std::process::id());
        let reading = root.areas(pid).unwrap();
        assert_eq!(reading.unreadable, 0);
        assert!(reading.areas.len() > 10 && reading.read_seconds > 0.0);
        assert!(reading.limit.is_some());
    }
}
