use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Header, SampleId};

/// What a call did that wants a block to have another size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Resize {
    /// There was no block: it is a new one.
    Fresh = 0,
    /// The block is where it was.
    InPlace = 1,
    /// It is elsewhere, and what was in it was copied.
    Moved = 2,
    /// Its pages are elsewhere, by `mremap`: nothing was copied.
    Remapped = 3,
    /// It was asked to have no bytes, and there is no block any more.
    Freed = 4,
    /// There was no memory; the block is as it was.
    Failed = 5,
}

impl Resize {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Fresh, Self::InPlace, Self::Moved, Self::Remapped, Self::Freed, Self::Failed];

    /// The one with this number, if there is one.
    #[must_use]
    pub fn from_u32(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|resize| *resize as u32 == value)
    }
}

/// What glibc keeps in the eight bytes before a block: its chunk's size, and flags in the low bits
/// (`mchunk_size` of malloc/malloc.c). 0: not known, for no chunk has no size.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct ChunkHeader(pub u64);

impl ChunkHeader {
    const IS_MMAPPED: u64 = 2;
    const FLAGS: u64 = 7;

    /// Whether the chunk has a mapping of its own.
    #[must_use]
    pub const fn is_mmapped(self) -> bool {
        self.0 & Self::IS_MMAPPED != 0
    }

    /// Bytes of the block; 0: not known. One with a mapping of its own has nobody behind it whose
    /// first field it could use.
    #[must_use]
    pub const fn usable(self) -> u64 {
        (self.0 & !Self::FLAGS).saturating_sub(if self.is_mmapped() { 16 } else { 8 })
    }
}

/// What a call of the allocator asks for, until its result is known.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Asked {
    /// Bytes.
    pub bytes: u64,
    /// Its first argument: of [`Asked::RESIZE`] the block, or 0; of [`Asked::PLACED`] where its address is to be left.
    pub block: u64,
    /// Of that block.
    pub header: ChunkHeader,
    /// [`Asked::NOTHING`], or what follows it.
    pub what: u32,
    /// Always 0.
    pub reserved: u32,
}

impl Asked {
    /// No call is under way whose result matters.
    pub const NOTHING: u32 = 0;
    /// A block.
    pub const BLOCK: u32 = 1;
    /// A block of another size.
    pub const RESIZE: u32 = 2;
    /// A block whose address is left in memory. What is returned is 0 or the reason why there is none.
    pub const PLACED: u32 = 3;

    /// What it got by this result.
    #[must_use]
    #[inline(always)]
    pub const fn resized(self, result: u64, header: ChunkHeader) -> Resize {
        if result == 0 {
            return if self.bytes == 0 { Resize::Freed } else { Resize::Failed };
        }
        if self.block == 0 {
            Resize::Fresh
        } else if result == self.block {
            Resize::InPlace
        } else if self.header.is_mmapped() && header.is_mmapped() {
            Resize::Remapped
        } else {
            Resize::Moved
        }
    }
}

/// Calls that wanted a block to have another size, while results were seen.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct ResizeCounter {
    /// How many, by [`Resize`].
    pub calls: [u64; Resize::ALL.len()],
    /// Bytes copied, as far as sizes are known.
    pub copied: u64,
    /// Bytes by which blocks became larger, new ones included, as far as sizes are known.
    pub grown: u64,
    /// Blocks that moved and were of a size that is not known.
    pub unsized_moves: u64,
    /// Bytes that were asked for instead of those: at least what was copied of them.
    pub unsized_bytes: u64,
}

/// A sampled call got a block of another size; it comes before the [`crate::BlockRecord`] of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ResizeRecord {
    /// Who and when.
    pub header: Header,
    /// The call.
    pub sample: SampleId,
    /// Bytes that it asked for.
    pub bytes: u64,
    /// Bytes of the block before; 0: not known, or there was none.
    pub before: u64,
    /// The same afterwards.
    pub after: u64,
    /// A [`Resize`].
    pub resize: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Bytes that a block with room for `before` brought along when it moved. Never more than it was asked
/// to have: allocators move blocks to make them larger.
#[must_use]
#[inline(always)]
pub const fn copied(before: u64, asked: u64) -> u64 {
    if before < asked { before } else { asked }
}

crate::shared!(ChunkHeader, Asked, ResizeCounter, ResizeRecord);

#[cfg(test)]
mod tests {
    use super::*;

    /// `malloc(100)`, and `malloc(200_000)` beyond the threshold; flags as glibc sets them.
    const SMALL: ChunkHeader = ChunkHeader(112 | 1);
    const LARGE: ChunkHeader = ChunkHeader(204_800 | 2);

    #[test]
    fn a_header_tells_what_a_block_has_room_for() {
        assert_eq!((SMALL.usable(), SMALL.is_mmapped()), (104, false));
        assert_eq!((LARGE.usable(), LARGE.is_mmapped()), (204_784, true));
        assert_eq!(ChunkHeader::default().usable(), 0);
    }

    #[test]
    fn the_result_tells_what_happened() {
        let asked = |bytes, block, header| Asked { bytes, block, header, ..Asked::default() };
        let table = [
            (asked(200, 16, SMALL), 32, SMALL, Resize::Moved),
            (asked(200, 16, SMALL), 16, SMALL, Resize::InPlace),
            (asked(200, 0, SMALL), 16, SMALL, Resize::Fresh),
            (asked(0, 16, SMALL), 0, SMALL, Resize::Freed),
            (asked(200, 16, SMALL), 0, SMALL, Resize::Failed),
            (asked(200_000, 16, SMALL), 32, LARGE, Resize::Moved),
            (asked(300_000, 16, LARGE), 32, LARGE, Resize::Remapped),
            (asked(100, 16, LARGE), 32, SMALL, Resize::Moved),
            (asked(100, 16, ChunkHeader(0)), 32, ChunkHeader(0), Resize::Moved),
        ];
        for (asked, result, header, resize) in table {
            assert_eq!(asked.resized(result, header), resize, "{asked:?}");
        }
    }
}
