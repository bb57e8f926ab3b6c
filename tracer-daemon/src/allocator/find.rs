//! Which of a process's files its calls of `malloc` reach: the first in the order of look-up that
//! defines it.

use std::{collections::HashSet, fs::File, path::Path, sync::Arc};

use super::{Allocator, Family, search_order::search_order, symbols::defined};
use crate::{
    census::{Area, ProcRoot},
    elf::{Elf, Source},
    symbolize::{ElfFile, Location, Modules},
};

/// Its definition decides.
const MALLOC: &str = "malloc";

/// Finds the allocator of a process whose areas were read a moment ago. `None`: nothing that can be
/// read tells, as with a stripped static program.
#[must_use]
pub fn find(root: &ProcRoot, pid: u32, areas: &[Area]) -> Option<Allocator> {
    find_file(root, pid, areas).map(|found| found.allocator)
}

/// An allocator and the very file that it is in.
pub(super) struct Found<'a> {
    pub(super) allocator: Allocator,
    pub(super) file: File,
    /// A path to the file, as long as the process lives.
    pub(super) path: Arc<Path>,
    /// A piece of its code.
    pub(super) area: &'a Area,
}

/// The same with its file.
pub(super) fn find_file<'a>(root: &ProcRoot, pid: u32, areas: &'a [Area]) -> Option<Found<'a>> {
    let modules = Modules::from_areas(root, pid, areas);
    in_search_order(root, pid, areas).into_iter().find_map(|area| {
        let location = modules.locate(area.start)?;
        let file = ElfFile::find(&location)?.open()?;
        let allocator = allocator(&file, &location)?;
        Some(Found { allocator, file, path: location.source?, area })
    })
}

/// The code of each file, in the order in which symbols are looked up; without such an order the
/// program itself, which is the lowest, then the others.
fn in_search_order<'a>(root: &ProcRoot, pid: u32, areas: &'a [Area]) -> Vec<&'a Area> {
    let file_at = |address: u64| {
        let area = areas.iter().find(|area| area.start <= address && address < area.end)?;
        areas.iter().find(|other| other.executable && same_file(area, other))
    };
    let order = search_order(root, pid);
    if order.is_empty() {
        let mut seen = HashSet::new();
        let code = areas.iter().filter(|area| area.executable && area.path.is_some());
        return code.filter(|area| seen.insert((&area.path, area.inode))).collect();
    }
    order.into_iter().filter_map(file_at).collect()
}

pub(super) fn same_file(one: &Area, other: &Area) -> bool {
    one.path.is_some() && (&one.path, one.inode) == (&other.path, other.inode)
}

fn allocator(file: &File, location: &Location) -> Option<Allocator> {
    let elf = Elf::read(file)?;
    let symbols = defined(&elf, Family::marks().chain([MALLOC]));
    let family = Family::of(|name| symbols.contains_key(name));
    if !symbols.contains_key(MALLOC) && family != Family::Go {
        return None;
    }
    let version = version(family, &elf);
    Some(Allocator { family, version, module: location.module.to_path_buf() })
}

fn version<S: Source + ?Sized>(family: Family, elf: &Elf<'_, S>) -> Option<String> {
    family.version(&elf.named(b".rodata")?.bytes)
}
