//! Which of a process's files its calls of `malloc` reach: the first in the order of look-up that
//! defines it.

use std::{collections::HashSet, fs::File, sync::Arc};

use super::{Allocator, Family, search_order::search_order, symbols::defined};
use crate::{
    census::{Area, ProcRoot},
    elf::{Elf, Source},
    symbolize::{ElfFile, Location, Modules},
};

/// Its definition decides.
const MALLOC: &str = "malloc";

/// A section of every Go program.
const GO_BUILD: &[u8] = b".go.buildinfo";

/// Finds the allocator of a process whose areas were read a moment ago. `None`: nothing that can be
/// read tells, as with a stripped static program.
#[must_use]
pub fn find(root: &ProcRoot, pid: u32, areas: &[Area]) -> Option<Allocator> {
    find_file(root, pid, areas).map(|found| found.allocator)
}

/// An allocator and the very file that it is in.
pub(super) struct Found<'a> {
    pub(super) allocator: Allocator,
    pub(super) file: Arc<File>,
    /// A piece of its code.
    pub(super) area: &'a Area,
}

/// The same with its file. Where files have an order, one that cannot be read leaves open whether it comes first.
pub(super) fn find_file<'a>(root: &ProcRoot, pid: u32, areas: &'a [Area]) -> Option<Found<'a>> {
    let modules = Modules::from_areas(root, pid, areas);
    let order = search_order(root, pid);
    let files = if order.is_empty() { all_code(areas) } else { in_order(&order, areas) };
    for area in files {
        let Some(location) = modules.locate(area.start) else { continue };
        let file = ElfFile::find(&location).and_then(|file| file.open());
        match file.as_ref().and_then(Elf::read).filter(Elf::has_sections) {
            Some(elf) => {
                if let Some(allocator) = allocator(&elf, &location) {
                    return Some(Found { allocator, file: file?.into(), area });
                }
            }
            // The kernel's library is no file.
            _ if order.is_empty() || !location.module.is_absolute() => {}
            _ => return None,
        }
    }
    None
}

/// The code of each file in the order in which symbols are looked up.
fn in_order<'a>(order: &[u64], areas: &'a [Area]) -> Vec<&'a Area> {
    let file_at = |address: &u64| {
        let area = areas.iter().find(|area| area.contains(*address))?;
        areas.iter().find(|other| other.executable && same_file(area, other))
    };
    order.iter().filter_map(file_at).collect()
}

/// Without such an order the program itself, which is the lowest, then the others.
fn all_code(areas: &[Area]) -> Vec<&Area> {
    let mut seen = HashSet::new();
    let code = areas.iter().filter(|area| area.executable && area.path.is_some());
    code.filter(|area| seen.insert((&area.path, area.inode))).collect()
}

pub(super) fn same_file(one: &Area, other: &Area) -> bool {
    one.path.is_some() && (&one.path, one.inode) == (&other.path, other.inode)
}

fn allocator(elf: &Elf<'_, File>, location: &Location) -> Option<Allocator> {
    let symbols = defined(elf, Family::marks().chain([MALLOC]));
    let family = match Family::of(|name| symbols.contains_key(name)) {
        // Which is there when all symbols are stripped.
        Family::Unknown if elf.named(GO_BUILD).is_some() => Family::Go,
        family => family,
    };
    if !symbols.contains_key(MALLOC) && family != Family::Go {
        return None;
    }
    let version = version(family, elf);
    Some(Allocator { family, version, module: location.module.to_path_buf() })
}

fn version<S: Source + ?Sized>(family: Family, elf: &Elf<'_, S>) -> Option<String> {
    family.version(&elf.named(b".rodata")?.bytes)
}
