//! How much of its memory an allocator uses for a request: a row for each family, from its source. Held
//! against the libraries themselves by `tests/live/size_rules.rs`.

use tracer_common::LARGEST_EXACT_SIZE;

use super::{Allocator, Family};

/// What a family of allocators takes for small requests of ordinary alignment.
#[derive(Clone, Copy, Debug)]
pub struct SizeRule {
    /// Whose rule it is.
    pub family: Family,
    /// In words.
    pub text: &'static str,
    holds_for: fn(&Allocator) -> bool,
    taken: fn(u64) -> u64,
}

/// Every rule that is known. Each leaves out the allocator's own tables, which no block has a part of.
const RULES: [SizeRule; 4] = [
    // malloc/malloc.c: request2size(), SIZE_SZ, MALLOC_ALIGNMENT and MINSIZE, the same in each version.
    SizeRule {
        family: Family::Glibc,
        text: "8 bytes before each block, then a multiple of 16, at least 32",
        holds_for: |_| true,
        taken: |asked| asked.saturating_add(8).next_multiple_of(16).max(32),
    },
    // jemalloc(3), table "Size classes": the same since 4.0.
    SizeRule {
        family: Family::Jemalloc,
        text: "8, multiples of 16 up to 128, then four classes for each doubling",
        holds_for: |allocator| version(allocator).is_some_and(|(major, _)| major >= 4),
        taken: four_for_each_doubling,
    },
    // src/common.cc: SizeMap::Init() with pages of 8 KiB.
    SizeRule {
        family: Family::Tcmalloc,
        text: "gperftools' classes: 8, multiples of 16 up to 256, then up to an eighth more",
        holds_for: |allocator| {
            version(allocator).is_some_and(|version| ((2, 5)..=(2, 10)).contains(&version))
        },
        taken: gperftools,
    },
    // src/page-queue.c: mi_bin() with MI_ALIGN2W. Libraries with guards add to each block.
    SizeRule {
        family: Family::Mimalloc,
        text: "8, multiples of 16 up to 128, then four classes for each doubling",
        holds_for: |allocator| {
            let file = allocator.module.file_name().unwrap_or_default().to_string_lossy();
            file.starts_with("libmimalloc.so.2")
        },
        taken: four_for_each_doubling,
    },
];

impl SizeRule {
    /// The rule of an allocator; `None`: its family or version is not known well enough.
    #[must_use]
    pub fn of(allocator: &Allocator) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.family == allocator.family && (rule.holds_for)(allocator))
    }

    /// Each family's.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        RULES.iter()
    }

    /// Bytes taken for a request; `None`: it is not a small one.
    #[must_use]
    pub fn taken(&self, asked: u64) -> Option<u64> {
        (asked <= LARGEST_EXACT_SIZE).then(|| (self.taken)(asked))
    }
}

/// The first two numbers of a version.
fn version(allocator: &Allocator) -> Option<(u32, u32)> {
    let mut parts = allocator.version.as_deref()?.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

fn four_for_each_doubling(asked: u64) -> u64 {
    match asked {
        0..=8 => 8,
        9..=128 => asked.next_multiple_of(16),
        _ => asked.next_multiple_of(asked.next_power_of_two() / 8),
    }
}

/// Classes of which as many fit into a span as of the next one are left out.
const GPERFTOOLS: [u64; 44] = [
    8, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320, 352,
    384, 416, 448, 480, 512, 576, 640, 704, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792, 2048,
    2304, 2560, 2816, 3072, 3328, 4096, 4608,
];

fn gperftools(asked: u64) -> u64 {
    let class = GPERFTOOLS.partition_point(|class| *class < asked);
    GPERFTOOLS.get(class).copied().unwrap_or(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocator(family: Family, version: Option<&str>, module: &str) -> Allocator {
        Allocator { family, version: version.map(str::to_owned), module: module.into() }
    }

    #[test]
    fn examples_of_each_rule() {
        let all = |asked| SizeRule::all().map(|rule| rule.taken(asked)).collect::<Vec<_>>();
        for (asked, taken) in [
            (0, [32, 8, 8, 8]),
            (10, [32, 16, 16, 16]),
            (24, [32, 32, 32, 32]),
            (26, [48, 32, 32, 32]),
            (129, [144, 160, 144, 160]),
            (1025, [1040, 1280, 1152, 1280]),
            (3329, [3344, 3584, 4096, 3584]),
            (4096, [4112, 4096, 4096, 4096]),
        ] {
            assert_eq!(all(asked), taken.map(Some), "{asked}");
        }
        assert_eq!(all(LARGEST_EXACT_SIZE + 1), [None; 4]);
    }

    #[test]
    fn nothing_is_guessed() {
        for (family, version, module, known) in [
            (Family::Glibc, None, "/bin/static", true),
            (Family::Jemalloc, Some("5.3.0"), "/bin/server", true),
            (Family::Jemalloc, Some("3.6.0"), "/lib/libjemalloc.so.1", false),
            (Family::Jemalloc, None, "/lib/libjemalloc.so.2", false),
            (Family::Tcmalloc, Some("2.10"), "/lib/libtcmalloc.so.4", true),
            (Family::Tcmalloc, Some("2.99"), "/lib/libtcmalloc.so.4", false),
            (Family::Tcmalloc, None, "/bin/google", false),
            (Family::Mimalloc, None, "/lib/libmimalloc.so.2.0", true),
            (Family::Mimalloc, None, "/lib/libmimalloc-secure.so.2.0", false),
            (Family::Musl, Some("1.2.3"), "/lib/ld-musl-x86_64.so.1", false),
            (Family::Unknown, None, "/bin/app", false),
        ] {
            let rule = SizeRule::of(&allocator(family, version, module));
            assert_eq!(rule.is_some(), known, "{family:?} {version:?} {module}");
        }
    }
}
