use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{
    copy::StackCopy,
    frame::Step,
    library::Library,
    registers::Registers,
    walk::{Code as Program, walk},
};
use crate::parser::message::{Code, Mapping};

/// The code of a process as it was mapped at one moment.
pub struct Image {
    /// In ascending order.
    mappings: Vec<Mapping>,
}

impl Image {
    /// Of these mappings, in ascending order.
    #[must_use]
    pub fn new(mappings: Vec<Mapping>) -> Self {
        Self { mappings }
    }

    /// The addresses of a stack, innermost first. `unmapped` tells whether an address was met that
    /// lies in no code: either the stack is not what it seems, or code was mapped since.
    pub fn unwind(&self, stack: &StackCopy, library: &mut Library) -> (Vec<u64>, bool) {
        let mut reader = Reader { image: self, library, unmapped: false };
        let frames = walk(&mut reader, stack);
        let first = frames.first().is_some_and(|first| self.mapping(*first).is_none());
        (frames, reader.unmapped || first)
    }

    fn mapping(&self, address: u64) -> Option<&Mapping> {
        let after = self.mappings.partition_point(|mapping| mapping.start <= address);
        self.mappings.get(after.checked_sub(1)?).filter(|mapping| address < mapping.end)
    }

    /// What lies at an address.
    pub(super) fn code(&self, address: u64) -> Option<Code> {
        let mapping = self.mapping(address)?;
        let inside = address - mapping.start;
        Some(match mapping.code {
            Code::Elsewhere => Code::Elsewhere,
            Code::Vdso(offset) => Code::Vdso(offset.checked_add(inside)?),
            Code::File(id, offset) => Code::File(id, offset.checked_add(inside)?),
        })
    }
}

struct Reader<'a> {
    image: &'a Image,
    library: &'a mut Library,
    unmapped: bool,
}

impl Program for Reader<'_> {
    fn is_code(&mut self, address: u64) -> bool {
        let known = self.image.mapping(address).is_some();
        self.unmapped |= !known;
        known
    }

    fn step(&mut self, address: u64, registers: &Registers, stack: &StackCopy) -> Step {
        let Some(code) = self.image.code(address) else { return Step::Unknown };
        let Some((tables, offset)) = self.library.tables(code) else { return Step::Unknown };
        let context = &mut self.library.context;
        guarded(|| tables.step(offset, registers, stack, context)).unwrap_or_else(|| {
            self.library.condemn(code);
            Step::Unknown
        })
    }
}

/// A file made to hurt might find a panic in the parser: that costs its tables, not all others'.
pub(super) fn guarded<T>(parse: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(parse)).ok()
}
