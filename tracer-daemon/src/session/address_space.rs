//! The address space of the target: counted when the window begins, read when it has ended, and a
//! few times in between, for a process that ends cannot be read any more. Each reading takes the
//! target's `mmap_lock`, so that each pause is ten times as long as the one before.

use std::time::{Duration, Instant};

use tracer_common::ProcessId;

use crate::{
    aggregate::snapshot::Mappings,
    allocator::{self, Allocator},
    census::{
        Area, AreaReading, Image, ProcRoot,
        address_space::{AddressSpace, Growth, census},
    },
    source::Readers,
};

/// Sizes of the window's mappings for which the holes are searched.
const REQUESTS: usize = 8;

/// The first reading within the window comes after so long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const NEXT_PAUSE: u32 = 10;

/// What was read so far.
pub(super) struct AddressSpaceWatch {
    readers: Readers,
    /// Sizes that the user wants to know about.
    requests: Vec<u64>,
    first: Option<First>,
    last: Option<(AreaReading, Instant)>,
    allocator: Option<(Image, Allocator)>,
    pause: Duration,
    again: Instant,
}

/// The beginning.
struct First {
    areas: u64,
    image: Image,
    at: Instant,
}

impl AddressSpaceWatch {
    /// Nothing read yet.
    pub(super) fn new(readers: Readers, requests: Vec<u64>) -> Self {
        let again = Instant::now() + FIRST_PAUSE;
        Self {
            readers,
            requests,
            first: None,
            last: None,
            allocator: None,
            pause: FIRST_PAUSE,
            again,
        }
    }

    /// Counts the areas. To be called before the window begins, and after an exec that belongs to
    /// its beginning.
    pub(super) fn begin(&mut self, root: &ProcRoot, pid: u32) {
        self.first = self.readers.during(|| count(root, pid));
        self.again = Instant::now() + self.pause;
    }

    /// Reads the areas if it is time.
    pub(super) fn tick(&mut self, root: &ProcRoot, process: ProcessId, now: Instant) {
        if now >= self.again {
            self.read(root, process);
            self.pause *= NEXT_PAUSE;
            self.again = now + self.pause;
        }
    }

    /// Reads the areas.
    pub(super) fn read(&mut self, root: &ProcRoot, process: ProcessId) {
        let at = Instant::now();
        if let Some(reading) = self.reading(root, process) {
            self.find_allocator(root, process.pid, &reading);
            self.last = Some((reading, at));
        }
    }

    /// The areas as they are; `None`: the process has ended.
    pub(super) fn reading(&self, root: &ProcRoot, process: ProcessId) -> Option<AreaReading> {
        match self.readers.during(|| root.areas(process.pid)) {
            // The pid may have another owner by now.
            Ok(reading) => (reading.image.start_ticks == process.start_ticks).then_some(reading),
            Err(error) => {
                log::debug!("no census: {error}");
                None
            }
        }
    }

    /// Whose `malloc` the process has, as far as the readings so far tell.
    pub(super) fn allocator(&self) -> Option<&Allocator> {
        self.allocator.as_ref().map(|(_, allocator)| allocator)
    }

    /// Once for each program that the process executes: it means to open its files.
    fn find_allocator(&mut self, root: &ProcRoot, pid: u32, reading: &AreaReading) {
        if self.allocator.as_ref().is_none_or(|(image, _)| *image != reading.image) {
            // It follows the dynamic linker's list through the target's memory.
            let found = self.readers.during(|| allocator::find(root, pid, &reading.areas));
            self.allocator = found.map(|allocator| (reading.image, allocator));
        }
    }

    /// The areas of the last reading; none: the process ended before the first.
    pub(super) fn areas(&self) -> &[Area] {
        self.last.as_ref().map_or(&[], |(reading, _)| &reading.areas)
    }

    /// The figures of the last reading, with the user's requests and those of the window; `None`: the
    /// process ended before the first.
    pub(super) fn figures(&self, mappings: Option<&Mappings>) -> Option<AddressSpace> {
        let (reading, at) = self.last.as_ref()?;
        let sizes = mappings.map_or(&[][..], |mappings| &mappings.sizes);
        let mut requests = self.requests.clone();
        let seen = sizes.iter().take(REQUESTS).map(|size| size.bytes);
        requests.extend(seen.filter(|bytes| !self.requests.contains(bytes)));
        // Another program's address space did not grow into this one.
        let first = self.first.as_ref().filter(|first| first.image == reading.image);
        let growth = first.map(|first| Growth {
            areas_before: first.areas,
            seconds: (*at - first.at).as_secs_f64(),
        });
        Some(AddressSpace { growth, ..census(reading, &requests) })
    }
}

fn count(root: &ProcRoot, pid: u32) -> Option<First> {
    let image = root.image(pid).ok()?;
    let at = Instant::now();
    let areas = root.count_areas(pid).ok()?.areas;
    (root.image(pid).ok()? == image).then_some(First { areas, image, at })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use crate::aggregate::snapshot::SizeCycles;

    #[test]
    fn this_process_has_both_ends_and_the_requests_of_the_window() {
        let (root, pid) = (ProcRoot::default(), std::process::id());
        let start_ticks = root.stat(pid).unwrap().start_ticks;
        let mut watch = AddressSpaceWatch::new(Readers::default(), vec![1 << 30, 8192]);
        assert_eq!(watch.figures(None), None);
        watch.begin(&root, pid);
        watch.read(&root, ProcessId::new(pid, start_ticks + 1));
        assert_eq!(watch.figures(None), None, "it is another process");
        watch.read(&root, ProcessId::new(pid, start_ticks));
        let sizes = (1..20).map(|pages| SizeCycles { bytes: pages << 12, cycles: 1 }).collect();
        let mappings = Mappings { sizes, ..Mappings::default() };
        let space = watch.figures(Some(&mappings)).unwrap();
        assert!(watch.allocator().unwrap().to_string().starts_with("glibc 2."));
        assert!(space.growth.unwrap().areas_before > 10);
        let bytes: Vec<_> = space.requests.iter().map(|request| request.bytes).collect();
        assert_eq!(bytes[..4], [1 << 30, 8192, 4096, 12288]);
        assert_eq!(bytes.len(), 2 + REQUESTS - 1, "8192 is there once");
    }
}
