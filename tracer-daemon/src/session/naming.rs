//! What the unwinding thread knows: which code the processes have mapped, and the unwind tables and
//! names of that code. Where an address lies must be found out while its process lives; what it is
//! called can wait for the end.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use super::unwinder::BuildIds;
use crate::{
    aggregate::{
        snapshot::{Frame, StackTotals},
        stacks::{Program, Sample, StackKey, StackSum},
    },
    census::ProcRoot,
    source::Readers,
    symbolize::{Innermost, Location, Modules, Symbolizer, build_id},
    unwind::{Image, Library, StackCopy, by_frame_pointers},
};

const NS: f64 = 1e9;

/// Programs whose mappings are remembered.
const MOST_PROGRAMS: usize = 4096;
/// Addresses whose place is remembered.
const MOST_LOCATIONS: usize = 1 << 20;

/// Reading mappings takes the process's `mmap_lock`: at most this part of the time goes into it.
const SHARE_OF_READING: u32 = 20;
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// Where addresses lie, by process and program.
pub(super) struct Naming {
    root: ProcRoot,
    readers: Readers,
    library: Library,
    images: HashMap<Program, Known>,
    locations: HashMap<(Program, u64), Location>,
    symbolizer: Symbolizer,
}

struct Known {
    image: Image,
    /// When it is worth to look again.
    again: Instant,
}

impl Naming {
    /// Nothing known yet.
    pub(super) fn new(root: ProcRoot, readers: Readers) -> Self {
        Self {
            root,
            readers,
            library: Library::new(),
            images: HashMap::new(),
            locations: HashMap::new(),
            symbolizer: Symbolizer::new(),
        }
    }

    /// A process has mapped code, or is about to be traced.
    pub(super) fn refresh(&mut self, program: Program) {
        let now = Instant::now();
        // A short pause is not kept: a process that loads its libraries may be gone after it.
        let wait = self.images.get(&program).map_or(Duration::ZERO, |known| known.again - now);
        if wait <= SHORTEST_PAUSE {
            self.know(program);
        }
    }

    /// Reads what a process has mapped, and the unwind tables of that.
    fn know(&mut self, program: Program) {
        let begin = Instant::now();
        let process = program.0;
        // The pid may have another owner by now, whose files would give wrong names.
        let same = self
            .root
            .stat(process.pid)
            .is_ok_and(|stat| process.start_ticks == 0 || stat.start_ticks == process.start_ticks);
        let read = || Modules::read(&self.root, process.pid).ok();
        let read = if same { self.readers.during(read) } else { None };
        let took = begin.elapsed();
        let again = Instant::now() + (took * SHARE_OF_READING).max(SHORTEST_PAUSE);
        // One that is ending has no mappings any more; those that it had still tell more.
        match (read.filter(|modules| !modules.is_empty()), self.images.get_mut(&program)) {
            (Some(modules), _) => {
                if self.images.len() >= MOST_PROGRAMS {
                    self.images.clear();
                }
                let mut image = Image::new(modules);
                image.read_tables(&mut self.library);
                self.images.insert(program, Known { image, again });
            }
            (None, Some(known)) => known.again = again,
            (None, None) => {}
        }
    }

    /// The addresses of a stack, innermost first.
    pub(super) fn unwind(&mut self, sample: &Sample) -> StackKey {
        let (program, stack) = (sample.program, &*sample.stack);
        if !self.images.contains_key(&program) {
            self.know(program);
        }
        let (mut frames, unmapped) = self.frames(program, stack);
        let now = Instant::now();
        if unmapped && self.images.get(&program).is_some_and(|known| now >= known.again) {
            self.know(program);
            (frames, _) = self.frames(program, stack);
        }
        self.locate(program, &frames);
        StackKey { process: program.0, program: program.1, kind: sample.kind, frames }
    }

    fn frames(&mut self, program: Program, stack: &StackCopy) -> (Vec<u64>, bool) {
        match self.images.get_mut(&program) {
            Some(known) => known.image.unwind(stack, &mut self.library),
            // Where frame pointers lead cannot be checked either.
            None => (by_frame_pointers(stack).into_iter().take(1).collect(), true),
        }
    }

    /// Keeps where addresses lie: code may be unmapped, and others take its place.
    fn locate(&mut self, program: Program, frames: &[u64]) {
        let Some(known) = self.images.get(&program) else {
            return;
        };
        for &address in frames {
            if self.locations.len() < MOST_LOCATIONS
                && let Some(location) = known.image.locate(address)
            {
                self.locations.entry((program, address)).or_insert(location);
            }
        }
    }

    /// The build-ids of the files that addresses were found in, by the files' names. Two builds of one
    /// name are none, for a frame does not say which of them it is in.
    pub(super) fn build_ids(&self) -> BuildIds {
        let mut builds = BuildIds::new();
        let mut seen = HashSet::new();
        for location in self.locations.values() {
            if seen.insert((&location.module, &location.source)) {
                let build = build_id(location);
                builds
                    .entry(location.module.display().to_string())
                    .and_modify(|known| {
                        if *known != build {
                            *known = None;
                        }
                    })
                    .or_insert(build);
            }
        }
        builds
    }

    /// A stack with the places of its frames, and with their names if so wanted.
    pub(super) fn totals(&mut self, key: &StackKey, sum: StackSum, named: bool) -> StackTotals {
        let program = (key.process, key.program);
        let locations: Vec<_> = key
            .frames
            .iter()
            .map(|&address| self.locations.get(&(program, address)).cloned())
            .collect();
        let frames = if named {
            self.symbolizer.frames(&locations, &key.frames, Innermost::Instruction)
        } else {
            locations
                .iter()
                .zip(&key.frames)
                .map(|(place, &ip)| frame(place.as_ref(), ip))
                .collect()
        };
        StackTotals { frames, ..unnamed(key, sum) }
    }
}

/// A frame without a name.
fn frame(location: Option<&Location>, address: u64) -> Frame {
    Frame {
        module: location.map(|location| location.module.display().to_string()),
        offset: location.map_or(address, |location| location.file_offset),
        ..Frame::default()
    }
}

/// A stack without names and places.
pub(super) fn unnamed(key: &StackKey, sum: StackSum) -> StackTotals {
    StackTotals {
        kind: key.kind.name().to_owned(),
        place: key.kind.place().map(str::to_owned),
        frames: key.frames.iter().map(|&address| frame(None, address)).collect(),
        count: sum.count,
        bytes: sum.bytes,
        seconds: (sum.duration_ns > 0).then(|| sum.duration_ns as f64 / NS),
        blocks: None,
        resizes: None,
    }
}
