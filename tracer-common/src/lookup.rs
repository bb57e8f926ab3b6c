use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Header, KERNEL_FRAMES};

/// The kernel's functions that look for an area of an address space, or for room for one
/// (mm/mmap.c, mm/memory.c, mm/vma.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Lookup {
    /// The area at an address, or the next one.
    FindVma = 0,
    /// The first area within a range.
    FindVmaIntersection = 1,
    /// The area at an address and the one before.
    FindVmaPrev = 2,
    /// The area at an address without `mmap_lock`, which faults try first (6.4).
    LockVmaUnderRcu = 3,
    /// A hole that is large enough.
    VmUnmappedArea = 4,
}

impl Lookup {
    /// Every function, in the order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::FindVma,
        Self::FindVmaIntersection,
        Self::FindVmaPrev,
        Self::LockVmaUnderRcu,
        Self::VmUnmappedArea,
    ];

    /// The function with this number, if there is one.
    #[must_use]
    pub fn from_u32(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|function| *function as u32 == value)
    }

    /// The kernel's name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FindVma => "find_vma",
            Self::FindVmaIntersection => "find_vma_intersection",
            Self::FindVmaPrev => "find_vma_prev",
            Self::LockVmaUnderRcu => "lock_vma_under_rcu",
            Self::VmUnmappedArea => "vm_unmapped_area",
        }
    }
}

/// Look-ups by function.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct LookupCounts {
    /// How many, in the order of [`Lookup::ALL`].
    pub calls: [u64; Lookup::ALL.len()],
}

/// A look-up; the sample stands for `weight` of them.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LookupSample {
    /// Who and when.
    pub header: Header,
    /// A [`Lookup`].
    pub function: u32,
    /// Look-ups that it stands for.
    pub weight: u32,
    /// The address that was looked up; 0 where the function has none.
    pub address: u64,
    /// Look-ups that a user stack which comes with it stands for; 0: no stack.
    pub stack_weight: u32,
    /// Frames in use.
    pub depth: u32,
    /// Kernel return addresses, innermost first.
    pub frames: [u64; KERNEL_FRAMES],
}

crate::shared!(LookupCounts);
