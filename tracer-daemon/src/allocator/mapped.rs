//! An allocator's file as it lies in a process.

use std::{
    collections::HashMap,
    fs::File,
    ops::{Range, RangeInclusive},
};

use tracer_common::{AllocationCall, HitCounter, Site, SiteKey};

use super::{
    Family,
    find::{Found, same_file},
    hook::{self, Exits, Hook},
    memory::Memory,
    places::Place,
    results::Leaving,
    slots::slots,
};
use crate::{
    census::{Area, ProcRoot},
    elf::{Elf, Segment, Source},
};

/// Bytes of code of a function that are looked at; jemalloc's largest has ten thousand.
const MOST_CODE: u64 = 64 << 10;

/// Bytes of all functions and what lies between them; jemalloc's are half a megabyte.
const MOST_CODE_OF_ALL: u64 = 1 << 20;

/// A file's code as it lies in a process. Addresses are the file's own, unless they are said to be the process's.
pub(super) struct Mapped<'a> {
    found: &'a Found<'a>,
    areas: &'a [Area],
    code: Vec<Segment>,
    pid: u32,
    memory: Option<Memory>,
    slots: HashMap<u64, u64>,
    /// Between the process's addresses and the file's.
    distance: u64,
    /// The functions, and what lies between them.
    functions: Range<u64>,
}

/// Where a function begins that has a probe.
pub(super) struct Entry {
    /// Whoever goes there passes the probe.
    pub(super) addresses: RangeInclusive<u64>,
    pub(super) call: AllocationCall,
}

impl<'a> Mapped<'a> {
    /// Of a file that has its functions in this part of its code. `None`: the process does not have it there.
    pub(super) fn new(
        root: &ProcRoot,
        pid: u32,
        areas: &'a [Area],
        (found, elf): (&'a Found<'a>, &Elf<'_, File>),
        functions: Range<u64>,
    ) -> Option<Self> {
        let (code, memory, slots) = (elf.code(), Memory::open(root, pid), slots(elf));
        let mut mapped = Self { found, areas, code, pid, memory, slots, distance: 0, functions };
        let start = mapped.functions.start;
        let in_process = mapped.in_process(mapped.offset_of(start)?)?;
        mapped.distance = in_process.wrapping_sub(start);
        Some(mapped)
    }

    /// The code of a function, and where it is in the file.
    pub(super) fn read(&self, address: u64, size: u64) -> Option<(u64, Box<[u8]>)> {
        self.read_at_most(MOST_CODE, address, size)
    }

    fn read_at_most(&self, most: u64, address: u64, size: u64) -> Option<(u64, Box<[u8]>)> {
        let offset = self.offset_of(address)?;
        let code = (1..=most).contains(&size).then(|| self.found.file.read(offset, size))??;
        Some((offset, code))
    }

    /// How a function leaves, with places.
    pub(super) fn leaving(&self, call: AllocationCall, address: u64, size: u64) -> Option<Leaving> {
        let (offset, code) = self.read(address, size)?;
        let Exits { returns, jumps } = hook::exits(&code)?;
        let places = returns.into_iter().map(|hook| self.place(call, offset, hook));
        Some(Leaving { returns: places.collect::<Option<_>>()?, jumps })
    }

    /// The places from which the functions themselves go to one. `None`: there may be others.
    pub(super) fn branches(&self, entries: &[Entry]) -> Option<Vec<Place>> {
        let Range { start, end } = self.functions;
        let (offset, code) = self.read_at_most(MOST_CODE_OF_ALL, start, end.checked_sub(start)?)?;
        let starts: Vec<_> = entries.iter().map(|entry| *entry.addresses.start()).collect();
        let entry_at = |to| entries.iter().find(|entry| entry.addresses.contains(&to));
        let is_entry = |to| entry_at(to).is_some();
        let stub = |to| self.own(self.stub_slot(to)?);
        let found = hook::branches(&code, start, &starts, is_entry, stub, |slot| self.own(slot))?;
        let place = |going: hook::Going| {
            let hook = Hook { offset: going.from - start, pushed: 0, emulated: true };
            let place = self.place(entry_at(going.to)?.call, offset, hook)?;
            let site = Site { call: Site::NO_CALL, branch: going.branch as u32, ..place.site };
            Some(Place { site, ..place })
        };
        found.into_iter().map(place).collect()
    }

    /// The function of the file's own that a slot leads to, or will once the dynamic linker has filled it: the
    /// allocator's mostly come first in the order of look-up. `None`: another file's has replaced it.
    fn own(&self, slot: u64) -> Option<u64> {
        let own = *self.slots.get(&slot)?;
        let is_replaced = self.content(slot).is_some_and(|to| {
            let mut code = self.areas.iter().filter(|area| area.executable && area.contains(to));
            code.any(|area| !same_file(area, self.found.area))
        });
        (!is_replaced).then_some(own)
    }

    /// What stands in a slot, an address of the process's.
    fn content(&self, slot: u64) -> Option<u64> {
        self.memory.as_ref()?.number_at(slot.wrapping_add(self.distance), 0)
    }

    /// The slot by which the function there jumps, if that is all that it does.
    fn stub_slot(&self, address: u64) -> Option<u64> {
        let code = self.found.file.read(self.offset_of(address)?, hook::STUB)?;
        Some(address.wrapping_add(hook::slot(&code)?))
    }

    /// Where a function leads that jumps to where the dynamic linker says, if that is in the file.
    pub(super) fn destination(&self, address: u64) -> Option<u64> {
        let slot = self.stub_slot(address)?;
        // What it may choose among several of its own functions, as glibc does with memset, it has chosen.
        let chosen = || Some(self.content(slot)?.wrapping_sub(self.distance));
        let to = self.own(slot).or_else(chosen)?;
        self.offset_of(to).map(|_| to)
    }

    /// A place in the function that begins at this offset of the file.
    pub(super) fn place(&self, call: AllocationCall, offset: u64, hook: Hook) -> Option<Place> {
        let file_offset = offset + hook.offset;
        let address = self.in_process(file_offset)?;
        let pushed = u32::try_from(hook.pushed).ok()?;
        let key = SiteKey { address, pid: self.pid, reserved: 0 };
        let site = Site {
            call: call as u32,
            pushed,
            code_start: self.functions.start.wrapping_add(self.distance),
            code_end: self.functions.end.wrapping_add(self.distance),
            counter: HitCounter::of(call, hook.emulated) as u32,
            has_headers: u32::from(self.found.allocator.family == Family::Glibc),
            branch: 0,
            sees_branches: 0,
        };
        Some(Place { call, file_offset, key, site })
    }

    fn offset_of(&self, address: u64) -> Option<u64> {
        self.code.iter().find_map(|segment| segment.offset_of(address))
    }

    /// Where the process has a place of the file.
    fn in_process(&self, offset: u64) -> Option<u64> {
        let is_its = |area: &&Area| area.executable && same_file(area, self.found.area);
        self.areas.iter().filter(is_its).find_map(|area| {
            let inside = offset.checked_sub(area.offset).filter(|inside| *inside < area.bytes())?;
            Some(area.start + inside)
        })
    }
}
