//! The unwind tables of a file: for each place in its code, where the caller's registers are.

use std::collections::HashMap;

use gimli::{
    BaseAddresses, CommonInformationEntry, DebugFrame, EhFrame, EhFrameHdr, Error, LittleEndian,
    UnwindContext, UnwindOffset, UnwindSection,
};

use super::{
    copy::StackCopy,
    frame::{Bytes, Frame, MOST_ENTRY_BYTES, Step},
    registers::Registers,
};
use crate::elf::{Elf, Section, Segment, Source};

/// Functions of a table without an index that are put into one.
const MOST_FUNCTIONS: usize = 1 << 21;

/// The tables of one file.
pub(super) struct Tables {
    code: Vec<Segment>,
    /// In the order in which they are asked.
    frames: Vec<FrameTable>,
}

struct FrameTable {
    kind: Kind,
    section: Box<[u8]>,
    bases: BaseAddresses,
}

enum Kind {
    /// `.eh_frame` with its index.
    Indexed { index: Box<[u8]> },
    /// `.eh_frame` without.
    Eh(Functions),
    /// `.debug_frame`.
    Debug(Functions),
}

/// First addresses of functions, in ascending order, and where in the section their entries are.
type Functions = Vec<(u64, usize)>;

impl Tables {
    /// Those of a file; `None` if it is no program, or has no tables within the limits.
    pub(super) fn read(source: &(impl Source + ?Sized)) -> Option<Self> {
        let elf = Elf::read(source)?;
        let frames: Vec<FrameTable> = eh_frame(&elf).into_iter().chain(debug_frame(&elf)).collect();
        (!frames.is_empty()).then(|| Self { code: elf.code(), frames })
    }

    /// Bytes of memory that they take.
    pub(super) fn bytes(&self) -> usize {
        let of = |table: &FrameTable| {
            table.section.len()
                + match &table.kind {
                    Kind::Indexed { index } => index.len(),
                    Kind::Eh(functions) | Kind::Debug(functions) => {
                        functions.len() * size_of::<(u64, usize)>()
                    }
                }
        };
        self.frames.iter().map(of).sum()
    }

    /// From a frame whose code is at a place in the file to its caller.
    pub(super) fn step(
        &self,
        offset: u64,
        registers: &Registers,
        stack: &StackCopy,
        context: &mut UnwindContext<usize>,
    ) -> Step {
        let Some(address) = self.code.iter().find_map(|segment| segment.address_of(offset)) else {
            return Step::Unknown;
        };
        for table in &self.frames {
            let step = table.step(address, registers, stack, context);
            if step != Step::Unknown {
                return step;
            }
        }
        Step::Unknown
    }
}

fn eh_frame<S: Source + ?Sized>(elf: &Elf<'_, S>) -> Option<FrameTable> {
    let indexed = elf.eh_frame_hdr().and_then(|index| {
        let bases = BaseAddresses::default().set_eh_frame_hdr(index.address);
        let header = EhFrameHdr::new(&index.bytes, LittleEndian).parse(&bases, 8).ok()?;
        let section = elf.at_address(header.eh_frame_ptr().direct().ok()?)?;
        Some((header.table().is_some().then(|| index.bytes.clone()), section, bases))
    });
    let (index, section, bases) = match indexed {
        Some((index, section, bases)) => (index, section, bases),
        None => (None, elf.named(b".eh_frame")?, BaseAddresses::default()),
    };
    let Section { address, bytes } = section;
    let bases = bases.set_eh_frame(address);
    let kind = match index {
        Some(index) => Kind::Indexed { index },
        None => Kind::Eh(functions(&eh_section(&bytes), &bases)?),
    };
    Some(FrameTable { kind, section: bytes, bases })
}

fn debug_frame<S: Source + ?Sized>(elf: &Elf<'_, S>) -> Option<FrameTable> {
    let Section { bytes, .. } = elf.named(b".debug_frame")?;
    let bases = BaseAddresses::default();
    let kind = Kind::Debug(functions(&debug_section(&bytes), &bases)?);
    Some(FrameTable { kind, section: bytes, bases })
}

fn eh_section(bytes: &[u8]) -> EhFrame<Bytes<'_>> {
    let mut section = EhFrame::new(bytes, LittleEndian);
    section.set_address_size(8);
    section
}

fn debug_section(bytes: &[u8]) -> DebugFrame<Bytes<'_>> {
    let mut section = DebugFrame::new(bytes, LittleEndian);
    section.set_address_size(8);
    section
}

/// Makes an index. Each common entry is read once: a file could have every function point at one of
/// megabytes.
fn functions<'a, Unwind>(section: &Unwind, bases: &BaseAddresses) -> Option<Functions>
where
    Unwind: UnwindSection<Bytes<'a>>,
    Unwind::Offset: UnwindOffset<usize>,
{
    let mut common: HashMap<usize, CommonInformationEntry<Bytes<'a>>> = HashMap::new();
    let mut functions = Functions::new();
    let mut entries = section.entries(bases);
    while functions.len() < MOST_FUNCTIONS {
        // What comes behind damage is not to be found.
        match entries.next() {
            Ok(Some(gimli::CieOrFde::Cie(entry))) if entry.entry_len() <= MOST_ENTRY_BYTES => {
                common.insert(entry.offset(), entry);
            }
            Ok(Some(gimli::CieOrFde::Cie(_))) => {}
            Ok(Some(gimli::CieOrFde::Fde(entry))) => {
                let parsed = entry.parse(|_, _, offset| {
                    common.get(&UnwindOffset::into(offset)).cloned().ok_or(Error::NotCieId(0))
                });
                if let Ok(function) = parsed {
                    functions.push((function.initial_address(), function.offset()));
                }
            }
            Ok(None) | Err(_) => break,
        }
    }
    functions.sort_unstable();
    (!functions.is_empty()).then_some(functions)
}

/// Where the entry of the function is that holds an address, if any does.
fn entry_of(functions: &Functions, address: u64) -> Option<usize> {
    let after = functions.partition_point(|(start, _)| *start <= address);
    Some(functions.get(after.checked_sub(1)?)?.1)
}

impl FrameTable {
    fn step(
        &self,
        address: u64,
        registers: &Registers,
        stack: &StackCopy,
        context: &mut UnwindContext<usize>,
    ) -> Step {
        let frame = Frame { bases: &self.bases, address, registers, stack };
        let step = match &self.kind {
            Kind::Indexed { index } => self
                .indexed(index, address)
                .and_then(|offset| frame.step(&eh_section(&self.section), offset, context)),
            Kind::Eh(functions) => entry_of(functions, address)
                .and_then(|offset| frame.step(&eh_section(&self.section), offset, context)),
            Kind::Debug(functions) => entry_of(functions, address)
                .and_then(|offset| frame.step(&debug_section(&self.section), offset, context)),
        };
        step.unwrap_or(Step::Unknown)
    }

    fn indexed(&self, index: &[u8], address: u64) -> Option<usize> {
        let header = EhFrameHdr::new(index, LittleEndian).parse(&self.bases, 8).ok()?;
        let table = header.table()?;
        let entry = table.lookup(address, &self.bases).ok()?.direct().ok()?;
        let section = header.eh_frame_ptr().direct().ok()?;
        usize::try_from(entry.checked_sub(section)?).ok()
    }
}
