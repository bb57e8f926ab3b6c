use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{
    copy::StackCopy,
    frame::Step,
    library::Library,
    registers::Registers,
    tables::Tables,
    walk::{Code, walk},
};
use crate::symbolize::{Location, Modules};

/// The code of a process as it was mapped at one moment, with the tables of its files.
pub struct Image {
    modules: Modules,
    /// By the number of the mapping.
    tables: Vec<Known>,
}

#[derive(Clone)]
enum Known {
    NotYet,
    Tables(Option<Arc<Tables>>),
}

impl Image {
    /// Of these mappings.
    #[must_use]
    pub fn new(modules: Modules) -> Self {
        Self { tables: vec![Known::NotYet; modules.len()], modules }
    }

    /// Whether code can run at this address.
    #[must_use]
    pub fn is_executable(&self, address: u64) -> bool {
        self.modules.is_executable(address)
    }

    /// The file and place behind an address of code.
    #[must_use]
    pub fn locate(&self, address: u64) -> Option<Location> {
        self.modules.locate(address)
    }

    /// Reads the tables of all its files, while they are there.
    pub fn read_tables(&mut self, library: &mut Library) {
        for index in 0..self.tables.len() {
            self.tables(index, library);
        }
    }

    /// The addresses of a stack, innermost first. `unmapped` tells whether an address was met that
    /// lies in no code: either the stack is not what it seems, or code was mapped since.
    pub fn unwind(&mut self, stack: &StackCopy, library: &mut Library) -> (Vec<u64>, bool) {
        let mut reader = Reader { image: self, library, unmapped: false };
        let frames = walk(&mut reader, stack);
        let first = frames.first().is_some_and(|first| !reader.image.is_executable(*first));
        (frames, reader.unmapped || first)
    }

    fn tables(&mut self, index: usize, library: &mut Library) -> Option<Arc<Tables>> {
        let place = self.tables.get_mut(index)?;
        if let Known::Tables(known) = place {
            return known.clone();
        }
        let location = self.modules.file(index);
        let tables = location.and_then(|location| library.tables(location));
        *place = Known::Tables(tables.clone());
        tables
    }
}

struct Reader<'a> {
    image: &'a mut Image,
    library: &'a mut Library,
    unmapped: bool,
}

impl Code for Reader<'_> {
    fn is_code(&mut self, address: u64) -> bool {
        let known = self.image.is_executable(address);
        self.unmapped |= !known;
        known
    }

    fn step(&mut self, address: u64, registers: &Registers, stack: &StackCopy) -> Step {
        let Some((index, location)) = self.image.modules.find(address) else {
            return Step::Unknown;
        };
        let Some((tables, location)) = self.image.tables(index, self.library).zip(location) else {
            return Step::Unknown;
        };
        let context = &mut self.library.context;
        guarded(|| tables.step(location.file_offset, registers, stack, context)).unwrap_or_else(
            || {
                log::debug!("{}: its unwind tables are not used again", location.module.display());
                self.library.condemn(&tables);
                self.image.tables[index] = Known::Tables(None);
                Step::Unknown
            },
        )
    }
}

/// A file made to hurt might find a panic in the parser: that costs its tables, not the tracer.
pub(super) fn guarded<T>(parse: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(parse)).ok()
}
