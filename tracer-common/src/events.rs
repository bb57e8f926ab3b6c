use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ProcessId;

/// Return addresses that a stack holds at the most where the kernel walked it.
pub const STACK_FRAMES: usize = 48;

/// Bytes of a user stack that a record holds at the most. A frame takes a few hundred; what `main`
/// has beneath it is seldom more than a few kilobytes away from a call.
pub const STACK_BYTES: usize = 16 << 10;

/// Return addresses that a kernel stack holds at the most.
pub const KERNEL_FRAMES: usize = 24;

/// What a ring-buffer record is; the first field of its [`Header`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RecordKind {
    /// [`MemoryCall`].
    MemoryCall = 1,
    /// [`WithStack`] of [`MemoryCall`].
    MemoryCallStack = 2,
    /// [`FaultSample`].
    Fault = 3,
    /// [`WithStack`] of [`FaultSample`].
    FaultStack = 4,
    /// [`CpuSample`].
    Cpu = 5,
    /// [`Fork`].
    Fork = 6,
    /// [`Header`] alone: the process executes a new program.
    Exec = 7,
    /// [`Header`] alone: the last thread of the process has ended.
    Exit = 8,
    /// [`crate::LookupSample`].
    Lookup = 9,
    /// [`WithStack`] of [`CpuSample`].
    CpuStack = 10,
    /// [`WithStack`] of [`crate::LookupSample`].
    LookupStack = 11,
    /// [`WithStack`] of [`crate::AllocationSample`].
    AllocationStack = 12,
    /// [`crate::BlockRecord`]: what a sampled call returned.
    BlockBorn = 13,
    /// [`crate::BlockRecord`]: the block was given back.
    BlockEnded = 14,
    /// [`FaultSample`] of a fault that read from disk.
    MajorFault = 15,
    /// [`WithStack`] of the same.
    MajorFaultStack = 16,
    /// [`WithStack`] of [`FutexWait`].
    FutexStack = 17,
    /// [`crate::ResizeRecord`].
    BlockResized = 18,
}

impl RecordKind {
    /// The kind with this number, if there is one.
    #[must_use]
    pub const fn from_u32(value: u32) -> Option<Self> {
        Some(match value {
            1 => Self::MemoryCall,
            2 => Self::MemoryCallStack,
            3 => Self::Fault,
            4 => Self::FaultStack,
            5 => Self::Cpu,
            6 => Self::Fork,
            7 => Self::Exec,
            8 => Self::Exit,
            9 => Self::Lookup,
            10 => Self::CpuStack,
            11 => Self::LookupStack,
            12 => Self::AllocationStack,
            13 => Self::BlockBorn,
            14 => Self::BlockEnded,
            15 => Self::MajorFault,
            16 => Self::MajorFaultStack,
            17 => Self::FutexStack,
            18 => Self::BlockResized,
            _ => return None,
        })
    }
}

/// The beginning of every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// A [`RecordKind`].
    pub kind: u32,
    /// The thread that caused it.
    pub tid: u32,
    /// Its process.
    pub process: ProcessId,
    /// When it was over (a call: when it returned).
    pub time_ns: u64,
}

/// A successful `mmap`, `munmap`, `mremap`, `brk` or `madvise`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MemoryCall {
    /// Who and when.
    pub header: Header,
    /// A [`crate::Syscall`].
    pub syscall: u32,
    /// How many calls a stack that comes with this record stands for; 0: no stack.
    pub stack_weight: u32,
    /// The arguments. `brk` has the break before the call in the second place, 0 if unknown.
    pub args: [u64; 5],
    /// What the call returned.
    pub result: u64,
    /// Nanoseconds between entry and exit.
    pub duration_ns: u64,
}

/// A page fault; the sample stands for `weight` of them.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FaultSample {
    /// Who and when.
    pub header: Header,
    /// The address that was touched.
    pub address: u64,
    /// Nanoseconds between entry and exit; 0 where the backend has no exit.
    pub duration_ns: u64,
    /// Faults that it stands for.
    pub weight: u32,
    /// Faults that a stack which comes with it stands for; 0: no stack.
    pub stack_weight: u32,
}

/// A wait for a futex that has ended.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FutexWait {
    /// Who and when.
    pub header: Header,
    /// Nanoseconds between entry and exit.
    pub duration_ns: u64,
    /// Nanoseconds of waiting between samples on average.
    pub gap_ns: u64,
}

/// What a CPU was doing for a target at a tick of its clock.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CpuSample {
    /// Who and when.
    pub header: Header,
    /// 1: in user mode, without kernel frames; 0: in the kernel.
    pub user: u32,
    /// Frames in use.
    pub depth: u32,
    /// Kernel return addresses, innermost first.
    pub frames: [u64; KERNEL_FRAMES],
}

/// A process made another one.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Fork {
    /// The parent.
    pub header: Header,
    /// The child; its start time is 0 where the backend cannot know it, and its pid where the child
    /// is not followed.
    pub child: ProcessId,
}

/// The user registers that unwinding begins with: those that a function must leave as they were
/// (System V ABI for x86-64, 3.2.1), and what the processor saves by itself. Each group is in the
/// order of the kernel's `pt_regs`, so that it is one copy.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct UserRegisters {
    /// Saved by functions that use it.
    pub r15: u64,
    /// See `r15`.
    pub r14: u64,
    /// See `r15`.
    pub r13: u64,
    /// See `r15`.
    pub r12: u64,
    /// See `r15`; the frame pointer where there is one.
    pub rbp: u64,
    /// See `r15`.
    pub rbx: u64,
    /// The next instruction; never 0 in a program.
    pub rip: u64,
    /// The code segment: [`USER_CS_64`].
    pub cs: u64,
    /// Flags.
    pub eflags: u64,
    /// The top of the stack.
    pub rsp: u64,
    /// The stack segment.
    pub ss: u64,
}

/// The code segment of 64-bit programs, `__USER_CS` of `arch/x86/include/asm/segment.h`. The stacks
/// of 32-bit programs are of another kind, and the numbers of their system calls are others.
pub const USER_CS_64: u64 = 0x33;

/// The beginning of a user stack in a record.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct StackHead {
    /// The registers in user mode; all 0 where they could not be had.
    pub registers: UserRegisters,
    /// Bytes in use: the stack from the address in `rsp` upwards; without registers the addresses
    /// that the kernel found by frame pointers, innermost first.
    pub length: u64,
}

/// A user stack: registers, and a copy of the top of it.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct UserStack {
    /// What follows.
    pub head: StackHead,
    /// The copy. Behind the bytes in use lies whatever was in the ring buffer before.
    pub bytes: [u8; STACK_BYTES],
}

/// A record and the user stack that it came from.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct WithStack<T> {
    /// The record.
    pub record: T,
    /// The stack.
    pub stack: UserStack,
}
