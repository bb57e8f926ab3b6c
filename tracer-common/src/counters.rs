use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{COMM_LENGTH, ProcessId};

/// Buckets of a histogram of durations: bucket `n` holds what took less than 2^n nanoseconds and
/// no less than 2^(n-1); the last one also holds everything longer.
pub const DURATION_BUCKETS: usize = 32;

/// The bucket of a duration.
#[must_use]
#[inline(always)]
pub const fn duration_bucket(ns: u64) -> usize {
    // By halves: BPF has no instruction that counts leading zeros, and what the compiler makes of
    // them instead is three times as long.
    let mut left =
        if ns >> (DURATION_BUCKETS - 1) == 0 { ns } else { (1 << (DURATION_BUCKETS - 1)) - 1 };
    let mut bits = 0;
    let mut half = DURATION_BUCKETS / 2;
    while half > 0 {
        if left >> half != 0 {
            left >>= half;
            bits += half;
        }
        half /= 2;
    }
    bits + left as usize
}

/// Key of the calls of one process to one system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SyscallKey {
    /// Who called.
    pub process: ProcessId,
    /// A [`crate::Syscall`].
    pub syscall: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Calls that came to their end.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SyscallCounter {
    /// How many, failures included.
    pub calls: u64,
    /// How many the kernel refused.
    pub failures: u64,
    /// Bytes that the successful ones were about, as asked for, not rounded to pages.
    pub bytes: u64,
    /// Nanoseconds between entry and exit, waiting included.
    pub duration_ns: u64,
    /// Calls by duration, see [`duration_bucket`].
    pub durations: [u64; DURATION_BUCKETS],
}

/// Key of the refused calls of a process by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ErrnoKey {
    /// Who called.
    pub process: ProcessId,
    /// A [`crate::Syscall`].
    pub syscall: u32,
    /// The positive error number.
    pub errno: u32,
}

/// Sampled page faults of a process, and the time between their entry and exit.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FaultTime {
    /// How many were timed.
    pub samples: u64,
    /// Nanoseconds that those took.
    pub duration_ns: u64,
}

/// Births and deaths of a process, and its programs.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Lifecycle {
    /// Processes that it forked; threads do not count.
    pub forks: u64,
    /// Programs that it executed.
    pub execs: u64,
    /// 1 once its last thread has ended.
    pub exits: u64,
}

/// What the ended threads of a process leave behind. `/proc/PID/stat` forgets it with the process.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ExitTotals {
    /// Minor faults of the threads that had ended before the first end was seen.
    pub earlier_minor: u64,
    /// Major faults of the same.
    pub earlier_major: u64,
    /// Minor faults of the threads whose end was seen.
    pub minor: u64,
    /// Major faults of the same.
    pub major: u64,
    /// Minor faults of all threads ever, as the kernel itself had them at the last end. More than the
    /// sums above where a program was skipped.
    pub kernel_minor: u64,
    /// Major faults of the same.
    pub kernel_major: u64,
    /// User and system time of those whose end was seen, in nanoseconds as the scheduler sampled them.
    pub user_ns: u64,
    /// See `user_ns`.
    pub system_ns: u64,
    /// Minor faults when the process executed its program, where it was traced from there.
    pub exec_minor: u64,
    /// Major faults at the same point.
    pub exec_major: u64,
    /// The control group, by its inode number in the unified hierarchy.
    pub cgroup: u64,
    /// 1 once the last thread has ended.
    pub dead: u64,
    /// The main thread's name; that of the thread which ended last where the kernel's layout is
    /// unknown.
    pub comm: [u8; COMM_LENGTH],
}

/// Why something is missing. Each is a counter of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Loss {
    /// A mapping's record found the ring buffer full.
    MappingRecords = 0,
    /// A fault sample found the ring buffer full.
    FaultRecords = 1,
    /// A CPU sample found the ring buffer full.
    CpuRecords = 2,
    /// A record of a fork, exec or exit found the ring buffer full.
    LifecycleRecords = 3,
    /// A call or fault could not be followed: the table of threads was full.
    ThreadTable = 4,
    /// A call was not counted: the table of counters was full.
    CounterTable = 5,
    /// A process's end or child was not noted: the table of processes was full.
    ProcessTable = 6,
    /// Of a call's entry and its return only one was seen.
    MissedReturn = 7,
    /// A look-up sample found the ring buffer full.
    LookupRecords = 8,
    /// A stack was left out, for the ring buffer was filling: records come first.
    StackRecords = 9,
    /// A probe on an allocator was hit where none is known to lie: the process has executed another
    /// program since.
    UnknownPlaces = 10,
    /// A sampled call of the allocator found the ring buffer full, or filling.
    AllocationRecords = 11,
    /// The birth or end of a sampled block found the ring buffer full.
    BlockRecords = 12,
    /// A sampled block was not followed: the table of blocks was full.
    BlockTable = 13,
    /// A sampled block was handed out again although its end had not been seen.
    MissedEnd = 14,
}

impl Loss {
    /// Every cause, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::MappingRecords,
        Self::FaultRecords,
        Self::CpuRecords,
        Self::LifecycleRecords,
        Self::ThreadTable,
        Self::CounterTable,
        Self::ProcessTable,
        Self::MissedReturn,
        Self::LookupRecords,
        Self::StackRecords,
        Self::UnknownPlaces,
        Self::AllocationRecords,
        Self::BlockRecords,
        Self::BlockTable,
        Self::MissedEnd,
    ];

    /// The name in recordings and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MappingRecords => "mapping_records",
            Self::FaultRecords => "fault_records",
            Self::CpuRecords => "cpu_records",
            Self::LifecycleRecords => "lifecycle_records",
            Self::ThreadTable => "thread_table",
            Self::CounterTable => "counter_table",
            Self::ProcessTable => "process_table",
            Self::MissedReturn => "missed_return",
            Self::LookupRecords => "lookup_records",
            Self::StackRecords => "stack_records",
            Self::UnknownPlaces => "unknown_places",
            Self::AllocationRecords => "allocation_records",
            Self::BlockRecords => "block_records",
            Self::BlockTable => "block_table",
            Self::MissedEnd => "missed_end",
        }
    }
}

impl ExitTotals {
    /// Minor faults of the threads that have ended.
    #[must_use]
    pub fn minor_faults(&self) -> u64 {
        self.earlier_minor.saturating_add(self.minor).max(self.kernel_minor)
    }

    /// Major faults of the same.
    #[must_use]
    pub fn major_faults(&self) -> u64 {
        self.earlier_major.saturating_add(self.major).max(self.kernel_major)
    }
}

crate::shared!(SyscallKey, SyscallCounter, ErrnoKey, FaultTime, Lifecycle, ExitTotals);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_is_below_its_power_of_two() {
        for bits in 0..DURATION_BUCKETS - 1 {
            let first = (1u64 << bits) / 2;
            assert_eq!(duration_bucket(first), bits, "{first} ns");
            assert_eq!(duration_bucket((1 << bits) - 1), bits, "2^{bits} - 1 ns");
        }
        for long in [1 << 30, 1 << 31, u64::MAX] {
            assert_eq!(duration_bucket(long), DURATION_BUCKETS - 1);
        }
    }
}
