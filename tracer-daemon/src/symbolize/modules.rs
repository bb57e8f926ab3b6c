use std::{collections::HashMap, path::Path, sync::Arc};

use super::elf_file::Source;
use crate::census::{Area, CensusError, ProcRoot};

/// A place in a file that a process has mapped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The file as the process sees it, or a name in brackets such as `[vdso]`.
    pub module: Arc<Path>,
    /// Bytes from the beginning of the file.
    pub file_offset: u64,
    /// Where this process can open the file while the other lives.
    pub(crate) source: Option<Source>,
    /// The file had been removed or replaced: what `module` names now is another one.
    pub(crate) deleted: bool,
    /// Its inode number, to be compared before a file of that name is taken for it.
    pub(crate) inode: u64,
}

/// The executable mappings of a process at one moment.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    /// In ascending order.
    mappings: Vec<Mapping>,
}

#[derive(Clone, Debug)]
struct Mapping {
    start: u64,
    end: u64,
    /// The place of `start`; absent for code that is in no file, such as a JIT compiler's.
    location: Option<Location>,
}

impl Modules {
    /// Reads `/proc/PID/maps`, which takes the process's `mmap_lock`.
    ///
    /// # Errors
    /// As [`ProcRoot::maps`].
    pub fn read(proc_root: &ProcRoot, pid: u32) -> Result<Self, CensusError> {
        let areas = proc_root.maps(pid)?;
        Ok(Self::from_areas(proc_root, pid, &areas))
    }

    /// The same from mappings that have been read already, in ascending order.
    #[must_use]
    pub fn from_areas(proc_root: &ProcRoot, pid: u32, areas: &[Area]) -> Self {
        let mut files = HashMap::new();
        let mappings = areas
            .iter()
            .filter(|area| area.executable)
            .map(|area| Mapping {
                start: area.start,
                end: area.end,
                location: files
                    .entry((&area.path, area.inode, area.deleted))
                    .or_insert_with(|| file(proc_root, pid, area))
                    .clone()
                    .map(|file| Location { file_offset: area.offset, ..file }),
            })
            .collect();
        Self { mappings }
    }

    /// The file and place behind an address of code; `None` if there is no code or no file.
    #[must_use]
    pub fn locate(&self, address: u64) -> Option<Location> {
        Some(self.locate_in(address)?.1)
    }

    /// Whether code can run at this address.
    #[must_use]
    pub fn is_executable(&self, address: u64) -> bool {
        self.index(address).is_some()
    }

    /// Whether there is no code at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.mappings.is_empty()
    }

    /// Where each begins and ends, in ascending order, and the place of its beginning.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64, Option<&Location>)> {
        self.mappings.iter().map(|mapping| (mapping.start, mapping.end, mapping.location.as_ref()))
    }

    /// The same, and the number of the mapping.
    pub(crate) fn locate_in(&self, address: u64) -> Option<(usize, Location)> {
        let index = self.index(address)?;
        let mapping = self.mappings.get(index)?;
        let mut location = mapping.location.clone()?;
        location.file_offset = location.file_offset.checked_add(address - mapping.start)?;
        Some((index, location))
    }

    fn index(&self, address: u64) -> Option<usize> {
        let index = self.mappings.partition_point(|m| m.start <= address).checked_sub(1)?;
        (address < self.mappings.get(index)?.end).then_some(index)
    }
}

/// The beginning of the file that an area shows.
fn file(proc_root: &ProcRoot, pid: u32, area: &Area) -> Option<Location> {
    let path = area.path.as_deref()?;
    Some(Location {
        module: path.into(),
        file_offset: 0,
        source: source(proc_root, pid, area, path),
        deleted: area.deleted,
        inode: area.inode,
    })
}

/// A path that leads to the very file. A mount namespace has paths of its own; in another root of the same
/// namespace they are shown to us as ours. For a file that has been removed, or mounted over, only
/// `map_files` leads there, which wants `CAP_CHECKPOINT_RESTORE`.
fn source(proc_root: &ProcRoot, pid: u32, area: &Area, path: &Path) -> Option<Source> {
    let link = format!("map_files/{:x}-{:x}", area.start, area.end);
    let itself = Source::Itself(proc_root.file(pid, &link).into());
    if area.deleted {
        return Some(itself);
    }
    path.strip_prefix("/").ok()?;
    let named = Source::Beneath { root: proc_root.file(pid, "root").into(), path: path.into() };
    let ours = Source::ours(path);
    let is_it = |source: &Source| source.inode() == Some(area.inode);
    Some(match () {
        () if is_it(&named) => named,
        () if is_it(&ours) => ours,
        () if itself.inode().is_some() => itself,
        () => named,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn modules(maps: &str) -> Modules {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("proc/1")).unwrap();
        std::fs::write(root.path().join("proc/1/maps"), maps).unwrap();
        Modules::read(&ProcRoot::new(root.path()), 1).unwrap()
    }

    const MAPS: &str = "\
1000-2000 r--p 00000000 fe:00 7 /bin/a b
2000-4000 r-xp 00001000 fe:00 7 /bin/a b
5000-6000 r-xp 00000000 00:00 0 
7000-8000 r-xp 00000000 fe:00 8 /bin/old (deleted)
ffffffffffffe000-fffffffffffff000 r-xp fffffffffffff000 00:00 0 [vdso]
";

    #[test]
    fn code_in_files_has_a_place() {
        let modules = modules(MAPS);
        let location = modules.locate(0x3010).unwrap();
        assert_eq!(&*location.module, Path::new("/bin/a b"));
        assert_eq!(location.file_offset, 0x2010);
        let Some(Source::Beneath { root, path }) = location.source else {
            unreachable!("a file of its own root is found there")
        };
        assert!(root.ends_with("proc/1/root") && path.ends_with("bin/a b"));
        let replaced = modules.locate(0x7000).unwrap();
        assert_eq!(&*replaced.module, Path::new("/bin/old"));
        let Some(Source::Itself(link)) = replaced.source else {
            unreachable!("a removed file has no path")
        };
        assert!(link.ends_with("map_files/7000-8000"));
    }

    #[test]
    fn the_edges_are_exact() {
        let modules = modules(MAPS);
        for (address, executable) in [
            (0, false),
            (0x1fff, false),
            (0x2000, true),
            (0x3fff, true),
            (0x4000, false),
            (0x5000, true),
            (u64::MAX, false),
        ] {
            assert_eq!(modules.is_executable(address), executable, "{address:x}");
        }
        assert_eq!(modules.locate(0x5000), None);
        assert!(modules.locate(0xffff_ffff_ffff_efff).is_some());
    }

    #[test]
    fn a_place_beyond_all_numbers_is_none() {
        let modules = modules("1000-3000 r-xp fffffffffffff000 00:00 0 [vdso]\n");
        assert!(modules.locate(0x1fff).is_some());
        assert_eq!(modules.locate(0x2000), None);
    }

    #[test]
    fn a_file_and_its_predecessor_are_two() {
        let modules =
            modules("1000-2000 r-xp 0 fe:00 7 /bin/a (deleted)\n2000-3000 r-xp 0 fe:00 8 /bin/a\n");
        let (old, new) = (modules.locate(0x1000), modules.locate(0x2000));
        assert_eq!(old.as_ref().unwrap().module, new.as_ref().unwrap().module);
        assert_ne!(old.unwrap().source, new.unwrap().source);
    }
}
