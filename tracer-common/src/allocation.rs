use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a program asks its allocator for. Functions that differ in their name only are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum AllocationCall {
    /// `malloc(size)`
    Malloc = 0,
    /// `calloc(number, size)`
    Calloc = 1,
    /// `realloc(block, size)`
    Realloc = 2,
    /// `reallocarray(block, number, size)`
    Reallocarray = 3,
    /// `posix_memalign(place, alignment, size)`
    PosixMemalign = 4,
    /// `aligned_alloc(alignment, size)`
    AlignedAlloc = 5,
    /// `valloc(size)`
    Valloc = 6,
    /// `pvalloc(size)`
    Pvalloc = 7,
    /// `free(block)`
    Free = 8,
    /// `operator new(size, …)`, where it does not end in `malloc`.
    New = 9,
    /// `operator delete(block, …)`, where it does not end in `free`.
    Delete = 10,
    /// jemalloc's `mallocx(size, flags)`
    Mallocx = 11,
    /// jemalloc's `rallocx(block, size, flags)`
    Rallocx = 12,
    /// jemalloc's `dallocx(block, flags)` and `sdallocx`
    Dallocx = 13,
    /// `memalign(alignment, size)`, where it is another function than `aligned_alloc`.
    Memalign = 14,
}

impl AllocationCall {
    /// Every call, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::Malloc,
        Self::Calloc,
        Self::Realloc,
        Self::Reallocarray,
        Self::PosixMemalign,
        Self::AlignedAlloc,
        Self::Valloc,
        Self::Pvalloc,
        Self::Free,
        Self::New,
        Self::Delete,
        Self::Mallocx,
        Self::Rallocx,
        Self::Dallocx,
        Self::Memalign,
    ];

    /// The call with this number, if there is one.
    #[must_use]
    pub fn from_u32(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|call| *call as u32 == value)
    }

    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malloc => "malloc",
            Self::Calloc => "calloc",
            Self::Realloc => "realloc",
            Self::Reallocarray => "reallocarray",
            Self::PosixMemalign => "posix_memalign",
            Self::AlignedAlloc => "aligned_alloc",
            Self::Valloc => "valloc",
            Self::Pvalloc => "pvalloc",
            Self::Free => "free",
            Self::New => "operator new",
            Self::Delete => "operator delete",
            Self::Mallocx => "mallocx",
            Self::Rallocx => "rallocx",
            Self::Dallocx => "dallocx",
            Self::Memalign => "memalign",
        }
    }

    /// How many of its first arguments matter here.
    #[must_use]
    pub const fn arguments(self) -> usize {
        match self {
            Self::Reallocarray | Self::PosixMemalign => 3,
            Self::Calloc | Self::Realloc | Self::AlignedAlloc | Self::Rallocx | Self::Memalign => 2,
            _ => 1,
        }
    }

    /// Bytes that it asks for; `None`: it gives back.
    #[must_use]
    pub const fn bytes(self, arguments: [u64; 3]) -> Option<u64> {
        let [first, second, third] = arguments;
        match self {
            Self::Malloc | Self::Valloc | Self::Pvalloc | Self::New | Self::Mallocx => Some(first),
            Self::Calloc => Some(first.wrapping_mul(second)),
            Self::Realloc | Self::AlignedAlloc | Self::Rallocx | Self::Memalign => Some(second),
            Self::Reallocarray => Some(second.wrapping_mul(third)),
            Self::PosixMemalign => Some(third),
            Self::Free | Self::Delete | Self::Dallocx => None,
        }
    }

    /// The block that it gives back, if only for another one; `None`: it takes none. 0 is no block.
    #[must_use]
    pub const fn block(self, arguments: [u64; 3]) -> Option<u64> {
        let [first, ..] = arguments;
        match self {
            Self::Free | Self::Delete | Self::Dallocx => Some(first),
            _ if self.resizes() => Some(first),
            _ => None,
        }
    }

    /// Whether it asks for nothing, and only gives a block back.
    #[must_use]
    pub const fn gives_back(self) -> bool {
        self.bytes([0; 3]).is_none()
    }

    /// Whether it wants a block to have another size.
    #[must_use]
    pub const fn resizes(self) -> bool {
        matches!(self, Self::Realloc | Self::Reallocarray | Self::Rallocx)
    }

    /// Whether this call may end with a jump to the other, which is then the same call of the program.
    #[must_use]
    pub const fn may_end_in(self, other: u32) -> bool {
        let (malloc, free) = (Self::Malloc as u32, Self::Free as u32);
        let aligned = [Self::AlignedAlloc as u32, Self::Memalign as u32];
        match self {
            Self::Realloc | Self::Rallocx => other == malloc || other == free,
            Self::Reallocarray => other == Self::Realloc as u32 || other == malloc || other == free,
            Self::Calloc | Self::New | Self::Mallocx => other == malloc,
            Self::PosixMemalign | Self::Valloc | Self::Pvalloc => {
                other == aligned[0] || other == aligned[1] || other == malloc
            }
            Self::AlignedAlloc => other == aligned[1] || other == malloc,
            Self::Memalign => other == aligned[0] || other == malloc,
            Self::Delete | Self::Dallocx => other == free,
            Self::Malloc | Self::Free => false,
        }
    }
}

/// Classes of sizes, by powers of two.
pub const SIZE_CLASSES: usize = 64;

/// The class of a size: it is at most 2 to the power of its class, and more than half of that.
#[must_use]
#[inline(always)]
pub const fn size_class(bytes: u64) -> usize {
    let class = if bytes <= 1 { 0 } else { 64 - (bytes - 1).leading_zeros() as usize };
    if class < SIZE_CLASSES { class } else { SIZE_CLASSES - 1 }
}

/// Calls while the probes were on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AllocationCounter {
    /// How many.
    pub calls: u64,
    /// Bytes asked for.
    pub bytes: u64,
    /// Calls that gave a block back, if only for another one: `free(NULL)` does not.
    pub ended: u64,
    /// Calls that got nothing of what they asked for, while results were seen.
    pub failures: u64,
    /// Calls by [`size_class`] of what they asked for.
    pub sizes: [u64; SIZE_CLASSES],
}

impl AllocationCounter {
    /// No calls.
    pub const NONE: Self =
        Self { calls: 0, bytes: 0, ended: 0, failures: 0, sizes: [0; SIZE_CLASSES] };
}

/// Sizes up to this one are counted one by one.
pub const LARGEST_EXACT_SIZE: u64 = 4096;

/// Calls that ask for exactly so many bytes, for some sizes that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ExactSizes {
    /// One size each.
    pub calls: [u64; Self::SIZES],
}

impl ExactSizes {
    /// Sizes in one of these.
    pub const SIZES: usize = 64;
    /// So many of these have the sizes of a call, up to [`LARGEST_EXACT_SIZE`].
    pub const PER_CALL: u32 = LARGEST_EXACT_SIZE as u32 / Self::SIZES as u32 + 1;
    /// So many have those of all calls.
    pub const SHARD: u32 = Self::PER_CALL * AllocationCall::ALL.len() as u32;
    /// CPUs share what is counted by so many: else a machine with hundreds would need half a megabyte
    /// for each. A power of two.
    pub const MOST_SHARDS: u32 = 8;

    /// Where in the table the size is counted, and where there.
    #[must_use]
    #[inline(always)]
    pub const fn place(shard: u32, call: u32, bytes: u32) -> (u32, usize) {
        let entry = shard * Self::SHARD + call * Self::PER_CALL + bytes / Self::SIZES as u32;
        (entry, bytes as usize % Self::SIZES)
    }
}

/// Where a probe lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SiteKey {
    /// The instruction's address.
    pub address: u64,
    /// In which process.
    pub pid: u32,
    /// Always 0.
    pub reserved: u32,
}

impl SiteKey {
    /// Where no probe lies.
    pub const NONE: Self = Self { address: 0, pid: 0, reserved: 0 };
    /// Slots in the table of places.
    pub const SLOTS: u32 = 1 << Self::SLOT_BITS;
    /// A place is in one of so many slots.
    pub const TRIES: u32 = 8;

    const SLOT_BITS: u32 = 10;

    /// The slot to look at first, second, … (Fibonacci hashing, then those that follow). The table is an array,
    /// which a kernel program reads without calling the kernel, and far from full.
    #[must_use]
    #[inline(always)]
    pub const fn slot(self, attempt: u32) -> u32 {
        let mixed = (self.address ^ (self.pid as u64) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed >> (64 - Self::SLOT_BITS)) as u32).wrapping_add(attempt) % Self::SLOTS
    }
}

/// A slot of the table of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PlacedSite {
    /// Where; [`SiteKey::NONE`]: the slot is free.
    pub key: SiteKey,
    /// What.
    pub site: Site,
}

/// What a probe there sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Site {
    /// The [`AllocationCall`] that begins there; [`Self::NO_CALL`]: none does.
    pub call: u32,
    /// Bytes that the function has on the stack there.
    pub pushed: u32,
    /// The allocator's functions lie from here …
    pub code_start: u64,
    /// … to before here; a call from there is part of another.
    pub code_end: u64,
    /// A [`HitCounter`].
    pub counter: u32,
    /// 1: before each block stands a [`crate::ChunkHeader`].
    pub has_headers: u32,
    /// How the allocator itself goes from there to one of those functions, a [`Branch`]; 0: it does not.
    pub branch: u32,
    /// 1: wherever the allocator itself goes to this function, there is a probe that sees it.
    pub sees_branches: u32,
}

impl Site {
    /// Where no function begins.
    pub const NO_CALL: u32 = u32::MAX;
}

/// How code goes to the beginning of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Branch {
    /// The function returns to it.
    Call = 1,
    /// The function returns in its place.
    Jump = 2,
}

/// Hits are counted by what the kernel does at one, which is their price, and by whether the function only
/// gives a block back: probes on either half of the functions alone tell what the probes take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum HitCounter {
    /// The kernel does what the instruction would have done.
    Emulated = 0,
    /// It steps over a copy of the instruction, with a second trap.
    Stepped = 1,
    /// As [`Self::Emulated`], where a block is given back.
    EmulatedBack = 2,
    /// As [`Self::Stepped`], where a block is given back.
    SteppedBack = 3,
    /// The program copied the stack besides.
    Sampled = 4,
}

impl HitCounter {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::Emulated, Self::Stepped, Self::EmulatedBack, Self::SteppedBack, Self::Sampled];

    /// That of a probe in a function.
    #[must_use]
    pub const fn of(call: AllocationCall, is_emulated: bool) -> Self {
        match (call.gives_back(), is_emulated) {
            (false, true) => Self::Emulated,
            (false, false) => Self::Stepped,
            (true, true) => Self::EmulatedBack,
            (true, false) => Self::SteppedBack,
        }
    }
}

crate::shared!(AllocationCounter, ExactSizes, SiteKey, Site, PlacedSite);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_ends_with_a_power_of_two() {
        for (bytes, class) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (1 << 20, 20)] {
            assert_eq!(size_class(bytes), class, "{bytes}");
        }
        assert_eq!(size_class(u64::MAX), SIZE_CLASSES - 1);
    }

    #[test]
    fn each_exact_size_has_a_place_of_its_own() {
        let calls = AllocationCall::ALL.len() as u32;
        let mut next = (0, 0);
        for shard in 0..ExactSizes::MOST_SHARDS {
            for call in 0..calls {
                next = (shard * ExactSizes::SHARD + call * ExactSizes::PER_CALL, 0);
                for bytes in 0..=LARGEST_EXACT_SIZE as u32 {
                    assert_eq!(ExactSizes::place(shard, call, bytes), next, "{bytes}");
                    next.1 += 1;
                    if next.1 == ExactSizes::SIZES {
                        next = (next.0 + 1, 0);
                    }
                }
            }
        }
        assert_eq!(next.0 + 1, ExactSizes::MOST_SHARDS * ExactSizes::SHARD);
    }

    #[test]
    fn places_are_spread_over_the_table() {
        // A function every few hundred bytes, in two processes: no slot is wanted by more than fit.
        let mut wanted = [0; SiteKey::SLOTS as usize];
        for pid in [1, 4_194_303] {
            for function in 0..100 {
                let address = 0x7f12_3456_7930 + function * 0x1f0;
                let key = SiteKey { address, pid, reserved: 0 };
                wanted[key.slot(0) as usize] += 1;
                let slots = (0..SiteKey::TRIES).map(|attempt| key.slot(attempt));
                assert!(slots.clone().all(|slot| slot < SiteKey::SLOTS));
                assert!(
                    slots.clone().all(|slot| slots.clone().filter(|one| *one == slot).count() == 1)
                );
            }
        }
        assert!(wanted.iter().all(|wanted| *wanted <= 3));
    }
}
