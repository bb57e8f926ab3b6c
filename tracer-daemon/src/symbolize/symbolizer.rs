use std::{collections::HashMap, path::Path, sync::Arc};

use crate::{
    aggregate::snapshot::Frame,
    parser::message::{FileId, Name, Names},
};

/// Places whose names are remembered at the most.
const PLACE_LIMIT: usize = 1 << 16;
/// Bytes of names that are remembered, and that are handed out in one answer. What comes after has none: names
/// can be made to be long, and real ones have some ten megabytes.
const MOST_BYTES: usize = 128 << 20;

/// Where an address lies.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The file as its process sees it, or a name in brackets.
    pub(crate) module: Arc<Path>,
    /// Bytes from the beginning of the file.
    pub(crate) offset: u64,
    /// The file, if it can be read.
    pub(crate) file: Option<FileId>,
}

/// Makes frames of the places of stacks, with names that somebody else finds.
#[derive(Debug, Default)]
pub(crate) struct Symbolizer {
    places: HashMap<(FileId, u64), Arc<[Name]>>,
    /// Bytes of names in there.
    remembered: usize,
    /// Bytes of names in this answer.
    told: usize,
}

impl Symbolizer {
    /// Frames from here on are for somebody else.
    pub(crate) fn begin_answer(&mut self) {
        self.told = 0;
    }

    /// The frames of a stack, innermost first. `places` belong to `addresses` one by one; functions that
    /// the compiler inlined have frames of their own, at the same place. `find` is asked for the names of
    /// places in files, and answers for each or for none of them.
    ///
    /// What cannot be named stays without a name; nothing is an error.
    pub(crate) fn frames(
        &mut self,
        places: &[Option<Place>],
        addresses: &[u64],
        find: impl FnOnce(&[(FileId, u64)]) -> Option<Vec<Names>>,
    ) -> Vec<Frame> {
        self.learn(places, find);
        let mut frames = Vec::with_capacity(addresses.len());
        for (index, &address) in addresses.iter().enumerate() {
            let Some(place) = places.get(index).and_then(Option::as_ref) else {
                frames.push(unnamed(None, address));
                continue;
            };
            let names = code(index, place).and_then(|code| self.places.get(&code));
            match names.filter(|names| !names.is_empty()) {
                Some(names) if self.told < MOST_BYTES => {
                    self.told += names.iter().map(Name::bytes).sum::<usize>();
                    frames.extend(names.iter().map(|name| named(place, name)));
                }
                _ => frames.push(unnamed(Some(place), address)),
            }
        }
        frames
    }

    /// Has names found for what is new.
    fn learn(
        &mut self,
        places: &[Option<Place>],
        find: impl FnOnce(&[(FileId, u64)]) -> Option<Vec<Names>>,
    ) {
        if self.places.len() >= PLACE_LIMIT || self.remembered >= MOST_BYTES {
            self.places.clear();
            self.remembered = 0;
        }
        let all = places.iter().enumerate();
        let mut new: Vec<_> =
            all.filter_map(|(index, place)| code(index, place.as_ref()?)).collect();
        new.sort_unstable();
        new.dedup();
        new.retain(|code| !self.places.contains_key(code));
        if new.is_empty() || self.told >= MOST_BYTES {
            return;
        }
        let found = find(&new).unwrap_or_default();
        self.remembered += found.iter().flatten().map(Name::bytes).sum::<usize>();
        self.places.extend(new.into_iter().zip(found.into_iter().map(Arc::from)));
    }
}

/// The code that a frame is at. All but the innermost are at return addresses, which can belong to another
/// line or even function than the call before them.
fn code(index: usize, place: &Place) -> Option<(FileId, u64)> {
    Some((place.file?, place.offset.saturating_sub(u64::from(index > 0))))
}

/// A frame without a name.
pub(crate) fn unnamed(place: Option<&Place>, address: u64) -> Frame {
    Frame {
        module: place.map(|place| place.module.display().to_string()),
        offset: place.map_or(address, |place| place.offset),
        ..Frame::default()
    }
}

fn named(place: &Place, name: &Name) -> Frame {
    Frame {
        symbol: name.symbol.clone(),
        file: name.file.clone(),
        line: name.line,
        ..unnamed(Some(place), place.offset)
    }
}

#[cfg(test)]
#[path = "symbolizer_tests.rs"]
mod tests;
