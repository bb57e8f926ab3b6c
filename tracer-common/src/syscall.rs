/// The system calls that take and give back address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Syscall {
    /// Maps a range.
    Mmap = 0,
    /// Unmaps whatever lies in a range.
    Munmap = 1,
    /// Grows, shrinks or moves a mapping.
    Mremap = 2,
    /// Changes the protection of a range.
    Mprotect = 3,
    /// Moves the program break.
    Brk = 4,
    /// Advises on a range; `MADV_DONTNEED` gives its pages back.
    Madvise = 5,
}

impl Syscall {
    /// Every call, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Mmap, Self::Munmap, Self::Mremap, Self::Mprotect, Self::Brk, Self::Madvise];

    /// The call with this number, if there is one.
    #[must_use]
    #[inline(always)]
    pub const fn from_u32(value: u32) -> Option<Self> {
        // Not by the table: the verifier loses track of an index into it.
        Some(match value {
            0 => Self::Mmap,
            1 => Self::Munmap,
            2 => Self::Mremap,
            3 => Self::Mprotect,
            4 => Self::Brk,
            5 => Self::Madvise,
            _ => return None,
        })
    }

    /// The call with this number in the x86-64 table
    /// (arch/x86/entry/syscalls/syscall_64.tbl), if alloctrace counts it.
    #[must_use]
    #[inline(always)]
    pub const fn from_x86_64(number: u64) -> Option<Self> {
        Some(match number {
            9 => Self::Mmap,
            10 => Self::Mprotect,
            11 => Self::Munmap,
            12 => Self::Brk,
            25 => Self::Mremap,
            28 => Self::Madvise,
            _ => return None,
        })
    }

    /// Bytes that a successful call was about, as asked for, not rounded to pages. `brk` has the
    /// break before the call in the second place of its arguments, 0 if unknown.
    #[must_use]
    #[inline(always)]
    pub const fn bytes(self, args: &[u64; 5], result: u64) -> u64 {
        match self {
            Self::Mremap => args[2],
            Self::Brk if args[1] == 0 => 0,
            Self::Brk => result.abs_diff(args[1]),
            _ => args[1],
        }
    }

    /// The name that the kernel and strace use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mmap => "mmap",
            Self::Munmap => "munmap",
            Self::Mremap => "mremap",
            Self::Mprotect => "mprotect",
            Self::Brk => "brk",
            Self::Madvise => "madvise",
        }
    }
}
