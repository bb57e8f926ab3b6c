use std::{collections::HashMap, sync::Arc};

use super::{
    Location,
    elf::{ElfFile, ElfNames},
};
use crate::aggregate::snapshot::Frame;

/// What the first address of a stack is. The others are return addresses, which can belong to
/// another line or even function than the call before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Innermost {
    /// The instruction itself, as in a stack that was taken at an interrupt or a fault.
    Instruction,
    /// A return address as well.
    ReturnAddress,
}

/// Places whose names are remembered at the most.
const PLACE_LIMIT: usize = 1 << 16;

/// A function and its source, without the place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) symbol: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
}

/// Names the places in programs. Not `Send`: it belongs to the thread that made it.
#[derive(Debug, Default)]
pub struct Symbolizer {
    elf: ElfNames,
    places: HashMap<(ElfFile, u64), Arc<[Name]>>,
}

impl Symbolizer {
    /// Knows nothing yet; files are read when they are needed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    #[cfg(test)]
    fn with_debug_directory(directory: std::path::PathBuf) -> Self {
        Self { elf: ElfNames::with_debug_directory(directory), ..Self::default() }
    }

    /// The frames of a stack, innermost first. `locations` belong to `addresses` one by one;
    /// functions that the compiler inlined have frames of their own, at the same place.
    ///
    /// What cannot be named stays without a name; nothing is an error.
    pub fn frames(
        &mut self,
        locations: &[Option<Location>],
        addresses: &[u64],
        innermost: Innermost,
    ) -> Vec<Frame> {
        // A file is looked up once per stack: it may change between two of them.
        let mut files = HashMap::new();
        let mut frames = Vec::with_capacity(addresses.len());
        for (index, &address) in addresses.iter().enumerate() {
            let Some(location) = locations.get(index).and_then(Option::as_ref) else {
                frames.push(Frame { offset: address, ..Frame::default() });
                continue;
            };
            let is_return = index > 0 || innermost == Innermost::ReturnAddress;
            let place = location.file_offset.saturating_sub(u64::from(is_return));
            let file = files
                .entry((location.source.as_deref(), &*location.module))
                .or_insert_with(|| ElfFile::find(location));
            let names = file.as_ref().map_or_else(unnamed, |file| self.names(file, place));
            frames.extend(names.iter().map(|name| frame(location, name)));
        }
        frames
    }

    fn names(&mut self, file: &ElfFile, place: u64) -> Arc<[Name]> {
        if let Some(names) = self.places.get(&(file.clone(), place)) {
            return Arc::clone(names);
        }
        if self.places.len() >= PLACE_LIMIT {
            self.places.clear();
        }
        let names: Arc<[Name]> = match self.elf.names(file, place) {
            Some(names) if !names.is_empty() => names.into(),
            _ => unnamed(),
        };
        self.places.insert((file.clone(), place), Arc::clone(&names));
        names
    }
}

fn unnamed() -> Arc<[Name]> {
    Arc::new([Name::default()])
}

fn frame(location: &Location, name: &Name) -> Frame {
    Frame {
        symbol: name.symbol.clone(),
        module: Some(location.module.display().to_string()),
        offset: location.file_offset,
        file: name.file.clone(),
        line: name.line,
    }
}

#[cfg(test)]
#[path = "symbolizer_tests.rs"]
mod tests;
