use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A field that this kernel does not have, or whose place is not known.
pub const UNKNOWN_OFFSET: u32 = u32::MAX;

/// Where this kernel keeps what the programs read: byte offsets, written at load time from BTF
/// and from the tracepoints' `format` files, constant from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct KernelLayout {
    /// `task_struct.tgid`.
    pub task_tgid: u32,
    /// `task_struct.pid`.
    pub task_pid: u32,
    /// `task_struct.group_leader`.
    pub task_group_leader: u32,
    /// `task_struct.start_boottime`.
    pub task_start_boottime: u32,
    /// `task_struct.signal`.
    pub task_signal: u32,
    /// `task_struct.min_flt`.
    pub task_min_flt: u32,
    /// `task_struct.maj_flt`.
    pub task_maj_flt: u32,
    /// `task_struct.utime`.
    pub task_utime: u32,
    /// `task_struct.stime`.
    pub task_stime: u32,
    /// `task_struct.thread_node`, by which the threads of a group are linked.
    pub task_thread_node: u32,
    /// `task_struct.comm`.
    pub task_comm: u32,
    /// `task_struct.mm`.
    pub task_mm: u32,
    /// `task_struct.stack`.
    pub task_stack: u32,
    /// `mm_struct.brk`.
    pub mm_brk: u32,
    /// `mm_struct.mmap_lock`.
    pub mm_mmap_lock: u32,
    /// `signal_struct.live`.
    pub signal_live: u32,
    /// `signal_struct.min_flt`.
    pub signal_min_flt: u32,
    /// `signal_struct.maj_flt`.
    pub signal_maj_flt: u32,
    /// `signal_struct.thread_head`, which begins the list of threads.
    pub signal_thread_head: u32,
    /// `signal_struct.stats_lock`, which begins with its sequence number.
    pub signal_stats_lock: u32,
    /// First argument in the record of a `syscalls:sys_enter_*` tracepoint.
    pub sys_enter_args: u32,
    /// Result in the record of a `syscalls:sys_exit_*` tracepoint.
    pub sys_exit_ret: u32,
    /// The new thread's id in the record of `task:task_newtask`.
    pub newtask_pid: u32,
    /// The clone flags in the same.
    pub newtask_clone_flags: u32,
    /// The thread's id before the exec in the record of `sched:sched_process_exec`.
    pub exec_old_pid: u32,
    /// 1: the kernel has `bpf_task_pt_regs` (5.15).
    pub has_task_pt_regs: u32,
}

impl KernelLayout {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        task_tgid: UNKNOWN_OFFSET,
        task_pid: UNKNOWN_OFFSET,
        task_group_leader: UNKNOWN_OFFSET,
        task_start_boottime: UNKNOWN_OFFSET,
        task_signal: UNKNOWN_OFFSET,
        task_min_flt: UNKNOWN_OFFSET,
        task_maj_flt: UNKNOWN_OFFSET,
        task_utime: UNKNOWN_OFFSET,
        task_stime: UNKNOWN_OFFSET,
        task_thread_node: UNKNOWN_OFFSET,
        task_comm: UNKNOWN_OFFSET,
        task_mm: UNKNOWN_OFFSET,
        task_stack: UNKNOWN_OFFSET,
        mm_brk: UNKNOWN_OFFSET,
        mm_mmap_lock: UNKNOWN_OFFSET,
        signal_live: UNKNOWN_OFFSET,
        signal_min_flt: UNKNOWN_OFFSET,
        signal_maj_flt: UNKNOWN_OFFSET,
        signal_thread_head: UNKNOWN_OFFSET,
        signal_stats_lock: UNKNOWN_OFFSET,
        sys_enter_args: UNKNOWN_OFFSET,
        sys_exit_ret: UNKNOWN_OFFSET,
        newtask_pid: UNKNOWN_OFFSET,
        newtask_clone_flags: UNKNOWN_OFFSET,
        exec_old_pid: UNKNOWN_OFFSET,
        has_task_pt_regs: 0,
    };
}

/// How the programs are to behave; constant once they are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Config {
    /// 1: every process counts, and no records are written but CPU samples; 0: the targets only.
    pub whole_machine: u32,
    /// One fault of so many is sampled. A prime, so that no loop of faults stays in step with it.
    pub fault_period: u32,
    /// Of a thread's successful calls the first so many come with their stack.
    pub first_stacks: u32,
    /// After those, one of so many, chosen at random.
    pub stack_period: u32,
    /// One look-up of so many is sampled, chosen at random.
    pub lookup_period: u32,
    /// 1: a program may wake the reader. Where programs are preempted, that happens inside the one
    /// that wakes, and others on that CPU are skipped meanwhile.
    pub may_wake: u32,
    /// Shards of the table of exact sizes, less one; their number is a power of two.
    pub exact_size_mask: u32,
}

/// What the probes on an allocator do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Counting {
    /// They see nothing.
    Off = 0,
    /// They count.
    On = 1,
    /// They do the same work and add nothing, so that their hits take the same time.
    Rehearsed = 2,
}

/// What user space changes while the programs run.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Control {
    /// 0 while the window is open. A window has to end for all signals at once, and taking the
    /// programs out one by one takes milliseconds.
    pub closed: u32,
    /// The system calls that the `raw_syscalls` programs serve, a bit for each
    /// [`crate::Syscall`]. They see every call of the machine.
    pub syscalls: u32,
    /// Faults that a sample of the perf event stands for at present.
    pub fault_weight: u32,
    /// A [`Counting`]. Other than off while every probe on the target's allocator is in; in between, while
    /// they are put in and taken out one by one, functions would not be counted for the same time.
    pub allocations: u32,
    /// Bytes that a thread asks its allocator for between two sampled calls, on average; 0: as many as
    /// [`crate::suitable_gap`] finds for it.
    pub allocation_gap: u32,
    /// 1 while the blocks of sampled calls are followed: every call's result is seen, and every end.
    pub blocks: u32,
}

crate::shared!(KernelLayout, Config, Control);
