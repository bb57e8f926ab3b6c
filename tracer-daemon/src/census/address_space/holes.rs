use super::RequestFigures;
use crate::census::Area;

/// Addresses from here on are the kernel's; `[vsyscall]` lies there.
pub const KERNEL_HALF: u64 = 1 << 63;

/// Requests and areas are multiples of it.
const PAGE: u64 = 4096;

/// A stretch of addresses that no area takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// First address.
    pub start: u64,
    /// Address after the last one.
    pub end: u64,
}

impl Hole {
    /// Its length.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.end - self.start
    }
}

/// The holes that the kernel's search can give to an `mmap` without an address, in ascending
/// order. `areas` are in ascending order; `lowest` is `vm.mmap_min_addr`.
///
/// The search goes from `mmap_base` down to the lowest address (mm/mmap.c, `vm_unmapped_area` with
/// `VM_UNMAPPED_AREA_TOPDOWN`). `mmap_base` is nowhere to be read. It lies below the main
/// thread's stack, at the distance that the stack's limit asks for, and what is mapped first lies
/// right below it: the dynamic linker, or the vDSO of a static program. So the highest end of an
/// area below `[stack]` is taken for it; without a `[stack]`, that of any area of the process. (It is too
/// high where a program chose an address above `mmap_base` by itself.) The
/// gap between there and the stack is not searched and is no hole; the one below the first area
/// and the large one between heap and mappings are holes. Programs that search from below (the
/// legacy layout, with an unlimited stack) have the same holes, but pass others.
#[must_use]
pub fn holes(areas: &[Area], lowest: u64) -> Vec<Hole> {
    let mut floor = Floor::from(lowest);
    searched(areas).iter().filter_map(|area| floor.pass(area.start, area.end)).collect()
}

/// How far the areas have been passed, from below.
pub struct Floor(u64);

impl From<u64> for Floor {
    /// Nothing yet; areas may begin at `lowest`.
    fn from(lowest: u64) -> Self {
        Self(lowest.max(PAGE))
    }
}

impl Floor {
    /// Passes an area; returns the hole below it.
    pub fn pass(&mut self, start: u64, end: u64) -> Option<Hole> {
        let hole = (start > self.0).then_some(Hole { start: self.0, end: start });
        self.0 = self.0.max(end);
        hole
    }
}

/// The areas below `mmap_base`.
fn searched(areas: &[Area]) -> &[Area] {
    let is_stack = |area: &Area| area.path.as_ref().is_some_and(|path| *path == *"[stack]");
    let end = areas.iter().position(is_stack).unwrap_or_else(|| {
        areas.iter().position(|area| area.start >= KERNEL_HALF).unwrap_or(areas.len())
    });
    &areas[..end]
}

/// For each request the number of holes, from the top down, that are too small before the first
/// that fits; all of them if none does. For huge pages the kernel may look for more room than was
/// asked for (mm/huge_memory.c, `thp_get_unmapped_area`); that is left out.
pub(super) fn first_fits(holes: &[Hole], requests: &[u64]) -> Vec<RequestFigures> {
    // Only a hole that is larger than all above it can be the first that fits.
    let mut records: Vec<(u64, u64)> = Vec::new();
    for (above, hole) in (0..).zip(holes.iter().rev()) {
        if records.last().is_none_or(|&(largest, _)| hole.bytes() > largest) {
            records.push((hole.bytes(), above));
        }
    }
    let too_small = |bytes: u64| {
        let length = bytes.max(1).checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
        let first = records.partition_point(|&(largest, _)| largest < length);
        records.get(first).map_or(holes.len() as u64, |&(_, above)| above)
    };
    let requests = requests.iter();
    requests.map(|&bytes| RequestFigures { bytes, holes_too_small: too_small(bytes) }).collect()
}
