//! What the unwinding thread knows: which code the processes have mapped. The unwind tables and names of that
//! code a parser knows. Where an address lies must be found out while its process lives; what it is called
//! can wait for the end.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use super::{
    helper::{Failure, Helper},
    unwinder::BuildIds,
};
use crate::{
    aggregate::{
        snapshot::StackTotals,
        stacks::{Program, Sample, StackKey, StackSum},
    },
    census::ProcRoot,
    parser::message::{Addresses, Code, FileId, Mapping, Names, Stack},
    source::Readers,
    symbolize::{Location, Modules, Place, Symbolizer, unnamed},
    unwind::by_frame_pointers,
};

const NS: f64 = 1e9;
const VDSO: &str = "[vdso]";

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
    helper: Helper,
    images: HashMap<Program, Known>,
    locations: HashMap<(Program, u64), Place>,
    symbolizer: Symbolizer,
}

struct Known {
    modules: Modules,
    /// Its number for the parser.
    number: u32,
    /// The files of the mappings, one by one.
    files: Vec<Option<FileId>>,
    /// The parser that knows it.
    known_to: Option<u32>,
    /// When it is worth to look again.
    again: Instant,
}

impl Naming {
    /// Nothing known yet. Starts a parser, by this command.
    pub(super) fn new(root: ProcRoot, readers: Readers, parser: fn() -> Command) -> Self {
        Self {
            root,
            readers,
            helper: Helper::start(parser),
            images: HashMap::new(),
            locations: HashMap::new(),
            symbolizer: Symbolizer::default(),
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
            (Some(modules), known) => {
                let number = known.map(|known| known.number);
                if number.is_none() && self.images.len() >= MOST_PROGRAMS {
                    self.images.clear();
                }
                let number = number.unwrap_or(self.images.len() as u32);
                let known = Known { modules, number, files: Vec::new(), known_to: None, again };
                self.images.insert(program, known);
                // While its files are there.
                let _ = self.tell(program);
            }
            (None, Some(known)) => known.again = again,
            (None, None) => {}
        }
    }

    /// Has the parser know a program. The number that it has there; `None`: nobody knows it.
    fn tell(&mut self, program: Program) -> Result<Option<u32>, Failure> {
        loop {
            let Some(known) = self.images.get_mut(&program) else { return Ok(None) };
            let parser = self.helper.generation();
            if known.known_to == Some(parser) {
                return Ok(Some(known.number));
            }
            let (files, mappings) = mappings(&known.modules, &mut self.helper);
            if self.helper.generation() != parser {
                continue;
            }
            known.files = files;
            match self.helper.image(known.number, mappings) {
                Ok(()) => known.known_to = Some(parser),
                Err(Failure::Replaced) => {}
                Err(Failure::Unanswered) => return Err(Failure::Unanswered),
            }
        }
    }

    /// The addresses of stacks, innermost first; `None`: they cannot be told.
    pub(super) fn unwind(&mut self, samples: &[Sample]) -> Vec<Option<StackKey>> {
        for sample in samples {
            if !self.images.contains_key(&sample.program) {
                self.know(sample.program);
            }
        }
        let all: Vec<_> = samples.iter().collect();
        let mut found = self.addresses(&all);
        let now = Instant::now();
        let images = &self.images;
        let (again, samples_again): (Vec<_>, Vec<_>) = found
            .iter_mut()
            .zip(samples)
            .filter(|(addresses, sample)| {
                let unmapped = addresses.as_ref().is_some_and(|addresses| addresses.unmapped);
                unmapped && images.get(&sample.program).is_some_and(|known| now >= known.again)
            })
            .unzip();
        let programs: HashSet<Program> =
            samples_again.iter().map(|sample| sample.program).collect();
        programs.into_iter().for_each(|program| self.know(program));
        for (place, addresses) in again.into_iter().zip(self.addresses(&samples_again)) {
            *place = addresses;
        }
        let found = found.into_iter().zip(samples);
        found.map(|(addresses, sample)| Some(self.located(sample, addresses?.frames))).collect()
    }

    /// Has stacks unwound.
    fn addresses(&mut self, samples: &[&Sample]) -> Vec<Option<Addresses>> {
        loop {
            let parser = self.helper.generation();
            let numbers: Vec<_> = samples.iter().map(|sample| self.tell(sample.program)).collect();
            if self.helper.generation() != parser {
                continue;
            }
            let known = samples.iter().zip(&numbers);
            let stacks: Vec<_> = known
                .filter_map(|(sample, number)| Some(stack(sample, (*number).ok()??)))
                .collect();
            let none = stacks.is_empty();
            let answer = if none { Ok(Vec::new()) } else { self.helper.unwind(stacks) };
            let mut answers = match answer {
                Ok(answers) => answers.into_iter(),
                Err(Failure::Replaced) => continue,
                Err(Failure::Unanswered) => Vec::new().into_iter(),
            };
            let each = samples.iter().zip(numbers);
            return each
                .map(|(sample, number)| match number {
                    Ok(Some(_)) => answers.next(),
                    // Where frame pointers lead cannot be checked either.
                    Ok(None) => {
                        let frames = by_frame_pointers(&sample.stack).into_iter().take(1).collect();
                        Some(Addresses { frames, unmapped: true })
                    }
                    Err(_) => None,
                })
                .collect();
        }
    }

    /// Keeps where addresses lie: code may be unmapped, and others take its place.
    fn located(&mut self, sample: &Sample, frames: Vec<u64>) -> StackKey {
        let program = sample.program;
        if let Some(known) = self.images.get(&program) {
            for &address in &frames {
                if self.locations.len() < MOST_LOCATIONS
                    && let Some(place) = known.place(address)
                {
                    self.locations.entry((program, address)).or_insert(place);
                }
            }
        }
        StackKey { process: program.0, program: program.1, kind: sample.kind, frames }
    }

    /// The build-ids of the files that addresses were found in, by the files' names. Two builds of one
    /// name are none, for a frame does not say which of them it is in.
    pub(super) fn build_ids(&self) -> BuildIds {
        let mut builds = BuildIds::new();
        let mut seen = HashSet::new();
        for place in self.locations.values() {
            if seen.insert((&place.module, place.file)) {
                let build = place.file.and_then(|file| self.helper.files.build_id(file)).cloned();
                builds
                    .entry(place.module.display().to_string())
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

    /// Somebody wants names, and takes no more than is good for both.
    pub(super) fn begin_answer(&mut self) {
        self.symbolizer.begin_answer();
    }

    /// A stack with the places of its frames, and with their names if so wanted.
    pub(super) fn totals(&mut self, key: &StackKey, sum: StackSum, named: bool) -> StackTotals {
        let program = (key.process, key.program);
        let places: Vec<_> = key
            .frames
            .iter()
            .map(|&address| self.locations.get(&(program, address)).cloned())
            .collect();
        let frames = if named {
            self.symbolizer.frames(&places, &key.frames, |code| names(&mut self.helper, code))
        } else {
            let each = places.iter().zip(&key.frames);
            each.map(|(place, &address)| unnamed(place.as_ref(), address)).collect()
        };
        StackTotals { frames, ..without_names(key, sum) }
    }
}

impl Known {
    /// What lies at an address.
    fn place(&self, address: u64) -> Option<Place> {
        let (index, Location { module, file_offset, .. }) = self.modules.locate_in(address)?;
        let file = self.files.get(index).copied().flatten();
        Some(Place { module, offset: file_offset, file })
    }
}

/// What a parser is told of a process's code, and the files of that.
fn mappings(modules: &Modules, helper: &mut Helper) -> (Vec<Option<FileId>>, Vec<Mapping>) {
    let mut known = HashMap::new();
    let all = modules.iter().map(|(start, end, location)| {
        let file = location.and_then(|location| {
            let key = (&location.module, &location.source);
            *known.entry(key).or_insert_with(|| helper.file(location))
        });
        let code = match (location, file) {
            (Some(location), Some(file)) => Code::File(file, location.file_offset),
            (Some(location), None) if &*location.module == Path::new(VDSO) => {
                Code::Vdso(location.file_offset)
            }
            _ => Code::Elsewhere,
        };
        (file, Mapping { start, end, code })
    });
    all.unzip()
}

fn stack(sample: &Sample, image: u32) -> Stack<'_> {
    let registers = zerocopy::transmute!(sample.stack.registers);
    Stack { image, registers, bytes: Cow::Borrowed(&sample.stack.bytes) }
}

/// The names of places in files.
fn names(helper: &mut Helper, code: &[(FileId, u64)]) -> Option<Vec<Names>> {
    loop {
        let parser = helper.generation();
        let asked: Vec<_> = code.iter().copied().filter(|(file, _)| helper.has(*file)).collect();
        if helper.generation() != parser {
            continue;
        }
        let found = if asked.is_empty() { Ok(Vec::new()) } else { helper.name(asked.clone()) };
        match found {
            Ok(found) => {
                let mut found: HashMap<_, _> = asked.into_iter().zip(found).collect();
                let each = code.iter().map(|place| found.remove(place).unwrap_or_default());
                return Some(each.collect());
            }
            Err(Failure::Replaced) => {}
            Err(Failure::Unanswered) => return None,
        }
    }
}

/// A stack without names and places.
pub(super) fn without_names(key: &StackKey, sum: StackSum) -> StackTotals {
    StackTotals {
        kind: key.kind.name().to_owned(),
        place: key.kind.place().map(str::to_owned),
        frames: key.frames.iter().map(|&address| unnamed(None, address)).collect(),
        count: sum.count,
        bytes: sum.bytes,
        seconds: (sum.duration_ns > 0).then(|| sum.duration_ns as f64 / NS),
        blocks: None,
        resizes: None,
    }
}
