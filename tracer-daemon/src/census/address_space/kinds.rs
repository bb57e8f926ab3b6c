use serde::{Deserialize, Serialize};

use crate::census::Area;

/// What an area is for, as far as `/proc/PID/maps` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The break: `[heap]`.
    Heap,
    /// A heap of one of glibc's arenas other than the main one, with its unused remainder.
    Arena,
    /// The main thread's stack, and other threads' stacks with their guards.
    Stack,
    /// Private memory without a file that is nothing of the above.
    Anonymous,
    /// A file, a device, or memory that processes share.
    File,
    /// Made by the kernel: `[vdso]`, `[vvar]`, `[vsyscall]`, …
    Special,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Heap, Self::Arena, Self::Stack, Self::Anonymous, Self::File, Self::Special];

    /// As in a recording.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Heap => "heap",
            Self::Arena => "arena",
            Self::Stack => "stack",
            Self::Anonymous => "anonymous",
            Self::File => "file",
            Self::Special => "special",
        }
    }
}

/// `HEAP_MAX_SIZE` of 64-bit machines, to which heaps of arenas are aligned (glibc,
/// malloc/arena.c, `new_heap`).
const ARENA_HEAP: u64 = 64 << 20;

/// A larger area without access is a reservation rather than a guard. glibc's guards are a page,
/// the Java machine's some pages.
const LARGEST_GUARD: u64 = 64 << 10;

/// `PTHREAD_STACK_MIN` on x86-64: no thread has a smaller stack.
const SMALLEST_STACK: u64 = 16 << 10;

/// The kind of each area. `areas` are in ascending order.
///
/// Two kinds have no name of their own and are told by their shape. An arena's heap: writable from
/// a 64 MiB boundary on, followed without a gap by memory without access up to the next boundary.
/// A thread's stack: writable memory right above a guard, which is a small area without access. A
/// stack whose guard is no area (glibc takes `MADV_GUARD_INSTALL` where it can) counts as
/// anonymous; blocks of allocators that put guards between them look like stacks.
#[must_use]
pub fn kinds(areas: &[Area]) -> Vec<Kind> {
    let mut kinds: Vec<_> = areas.iter().map(by_name).collect();
    mark_pairs(areas, &mut kinds, Kind::Arena, is_arena_heap);
    mark_pairs(areas, &mut kinds, Kind::Stack, is_guarded_stack);
    kinds
}

/// Neighbours of which neither has a kind of its own yet get one together.
fn mark_pairs(areas: &[Area], kinds: &mut [Kind], kind: Kind, is: fn(&Area, &Area) -> bool) {
    for (pair, index) in areas.windows(2).zip(0..) {
        let [lower, upper] = pair else { continue };
        let free = kinds[index..index + 2].iter().all(|&known| known == Kind::Anonymous);
        if free && lower.end == upper.start && is(lower, upper) {
            kinds[index..index + 2].fill(kind);
        }
    }
}

fn by_name(area: &Area) -> Kind {
    let name = area.path.as_ref().map(|path| path.as_os_str().as_encoded_bytes());
    let name = name.unwrap_or_default();
    let begins = |with: &str| name.starts_with(with.as_bytes());
    if area.inode != 0 || begins("/") {
        Kind::File
    } else if name.is_empty() {
        Kind::Anonymous
    } else if name == b"[heap]" {
        Kind::Heap
    } else if name == b"[stack]" || begins("[anon: glibc: pthread") {
        Kind::Stack
    } else if begins("[anon: glibc: malloc arena") {
        // glibc names its areas where glibc.mem.decorate_maps=1 asks for it.
        Kind::Arena
    } else if begins("[anon:") {
        Kind::Anonymous
    } else if begins("[") {
        Kind::Special
    } else {
        Kind::File
    }
}

fn is_plain(area: &Area) -> bool {
    area.path.is_none() && !area.shared
}

fn is_data(area: &Area) -> bool {
    is_plain(area) && area.readable && area.writable && !area.executable
}

fn is_closed(area: &Area) -> bool {
    is_plain(area) && !area.readable && !area.writable && !area.executable
}

fn is_arena_heap(lower: &Area, upper: &Area) -> bool {
    is_data(lower)
        && is_closed(upper)
        && lower.start.is_multiple_of(ARENA_HEAP)
        && lower.start.checked_add(ARENA_HEAP) == Some(upper.end)
}

fn is_guarded_stack(lower: &Area, upper: &Area) -> bool {
    is_closed(lower)
        && is_data(upper)
        && lower.bytes() <= LARGEST_GUARD
        && upper.bytes() >= SMALLEST_STACK.max(lower.bytes())
}
