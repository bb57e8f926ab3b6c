//! What samples refer to by number, each row once.

use std::{collections::HashMap, hash::Hash};

use super::message::{Function, Line, Location, Mapping, Profile};
use crate::aggregate::snapshot::{Frame, Module};

pub(super) struct Tables {
    strings: Rows<String>,
    /// By file name.
    mappings: Rows<i64>,
    functions: Rows<Function>,
    locations: Rows<Location>,
    /// The end of what is known of each mapping.
    limits: HashMap<u64, u64>,
}

/// Different values in the order in which they came.
struct Rows<T>(HashMap<T, u64>);

impl<T: Eq + Hash> Rows<T> {
    fn new() -> Self {
        Self(HashMap::new())
    }

    /// The value's number, from 1.
    fn number(&mut self, value: T) -> u64 {
        let next = self.0.len() as u64 + 1;
        *self.0.entry(value).or_insert(next)
    }

    fn in_order(self) -> impl Iterator<Item = (T, u64)> {
        let mut rows: Vec<_> = self.0.into_iter().collect();
        rows.sort_by_key(|(_, number)| *number);
        rows.into_iter()
    }
}

impl Tables {
    /// Readers take the first file for the program.
    pub(super) fn new(program: Option<&str>) -> Self {
        let mut strings = Rows::new();
        // Row 0, to which whatever has no text refers.
        strings.number(String::new());
        let mut tables = Self {
            strings,
            mappings: Rows::new(),
            functions: Rows::new(),
            locations: Rows::new(),
            limits: HashMap::new(),
        };
        if let Some(program) = program {
            tables.mapping(program);
        }
        tables
    }

    pub(super) fn string(&mut self, text: &str) -> i64 {
        (self.strings.number(text.to_owned()) - 1).cast_signed()
    }

    /// The instructions of a stack.
    pub(super) fn locations(&mut self, frames: &[Frame]) -> Vec<u64> {
        let mut locations = Vec::new();
        let mut rest = frames;
        while let [first, ..] = rest {
            let (at_once, others) = rest.split_at(at_one_instruction(rest));
            locations.push(self.location(first, at_once));
            rest = others;
        }
        locations
    }

    fn mapping(&mut self, file: &str) -> u64 {
        let filename = self.string(file);
        self.mappings.number(filename)
    }

    fn location(&mut self, place: &Frame, frames: &[Frame]) -> u64 {
        let mapping_id = place.module.as_deref().map_or(0, |module| self.mapping(module));
        let limit = self.limits.entry(mapping_id).or_default();
        *limit = place.offset.saturating_add(1).max(*limit);
        let line = frames.iter().filter_map(|frame| self.line(frame)).collect();
        self.locations.number(Location { id: 0, mapping_id, address: place.offset, line })
    }

    fn line(&mut self, frame: &Frame) -> Option<Line> {
        let name = self.string(frame.symbol.as_deref()?);
        let filename = self.string(frame.file.as_deref().unwrap_or_default());
        let function = Function { id: 0, name, system_name: name, filename };
        let function_id = self.functions.number(function);
        Some(Line { function_id, line: frame.line.unwrap_or(0).into() })
    }

    /// Files have build-ids if `modules` tells them.
    pub(super) fn into_profile(mut self, modules: &[Module]) -> Profile {
        let mut build_ids = HashMap::new();
        for module in modules {
            if let Some(build_id) = &module.build_id {
                build_ids.insert(self.string(&module.module), self.string(build_id));
            }
        }
        let limits = self.limits;
        let mapping = |(filename, id)| Mapping {
            id,
            memory_limit: limits.get(&id).copied().unwrap_or_default(),
            filename,
            build_id: build_ids.get(&filename).copied().unwrap_or_default(),
            has_functions: true,
            has_filenames: true,
            has_line_numbers: true,
            has_inline_frames: true,
        };
        Profile {
            mapping: self.mappings.in_order().map(mapping).collect(),
            location: self.locations.in_order().map(|(row, id)| Location { id, ..row }).collect(),
            function: self.functions.in_order().map(|(row, id)| Function { id, ..row }).collect(),
            string_table: self.strings.in_order().map(|(text, _)| text).collect(),
            ..Profile::default()
        }
    }
}

/// Functions inlined into each other that are told apart; recordings may hold any number.
const MOST_INLINED: usize = 64;

/// How many frames, one at least, are of the same instruction: functions that were inlined there, and
/// the one that holds them. A function that comes again has called itself.
fn at_one_instruction(frames: &[Frame]) -> usize {
    let place = |at: usize| (&frames[at].module, frames[at].offset);
    let is_caller = |at: &usize| {
        let symbol = &frames[*at].symbol;
        place(*at) != place(0) || frames[..*at].iter().any(|frame| frame.symbol == *symbol)
    };
    let most = frames.len().min(MOST_INLINED);
    (1..most).find(is_caller).unwrap_or(most)
}
