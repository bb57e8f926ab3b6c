//! Reading the kernel's own data, at the offsets that user space found for this kernel.

use aya_ebpf::{
    bindings::pt_regs,
    helpers::{
        bpf_get_current_task, bpf_probe_read_kernel,
        generated::{bpf_get_current_task_btf, bpf_task_pt_regs},
    },
};
use tracer_common::{COMM_LENGTH, Config, KernelLayout, TICK_NS, UNKNOWN_OFFSET};

#[unsafe(no_mangle)]
static LAYOUT: KernelLayout = KernelLayout::UNKNOWN;

#[unsafe(no_mangle)]
static CONFIG: Config = Config {
    whole_machine: 0,
    fault_period: 1,
    first_stacks: 0,
    stack_period: 1,
    lookup_period: 1,
    may_wake: 0,
    exact_size_mask: 0,
};

/// A field of a static that the loader overwrites: the compiler must not take its initial value.
macro_rules! loaded {
    ($place:expr) => {
        // SAFETY: a reference to a static is valid for reads.
        unsafe { core::ptr::read_volatile(&raw const $place) }
    };
}

macro_rules! layout {
    ($($field:ident),+ $(,)?) => {
        $(#[inline(always)] pub fn $field() -> u32 { loaded!(LAYOUT.$field) })+
    };
}
/// Offsets, as in [`KernelLayout`].
pub mod offset {
    use super::LAYOUT;
    layout!(
        task_tgid,
        task_pid,
        task_group_leader,
        task_start_boottime,
        task_signal,
        task_min_flt,
        task_maj_flt,
        task_utime,
        task_stime,
        task_thread_node,
        task_comm,
        task_mm,
        task_stack,
        mm_brk,
        mm_mmap_lock,
        signal_live,
        signal_min_flt,
        signal_maj_flt,
        signal_thread_head,
        signal_stats_lock,
        sys_enter_args,
        sys_exit_ret,
        newtask_pid,
        newtask_clone_flags,
        exec_old_pid,
    );
}

macro_rules! config {
    ($($field:ident),+ $(,)?) => {
        $(#[inline(always)] pub fn $field() -> u32 { loaded!(CONFIG.$field) })+
    };
}
/// Settings, as in [`Config`].
pub mod config {
    use super::CONFIG;
    config!(
        whole_machine,
        fault_period,
        first_stacks,
        stack_period,
        lookup_period,
        may_wake,
        exact_size_mask
    );
}

/// The value `offset` bytes into the kernel object at `base`.
#[inline(always)]
pub fn field<T>(base: u64, offset: u32) -> Option<T> {
    if base == 0 || offset == UNKNOWN_OFFSET {
        return None;
    }
    // SAFETY: the helper checks the address and fails on one that cannot be read.
    unsafe { bpf_probe_read_kernel((base + u64::from(offset)) as *const T) }.ok()
}

/// The thread that runs on this CPU.
#[inline(always)]
pub fn current_task() -> u64 {
    // SAFETY: no arguments; the task lives while the program runs on its behalf.
    unsafe { bpf_get_current_task() }
}

/// When the process of `task` was forked, in ticks; 0 if unknown.
#[inline(always)]
pub fn start_ticks(task: u64) -> u64 {
    let leader = field::<u64>(task, offset::task_group_leader()).unwrap_or(0);
    field::<u64>(leader, offset::task_start_boottime()).unwrap_or(0) / TICK_NS
}

/// The name of the main thread of `task`'s process.
#[inline(always)]
pub fn process_comm(task: u64) -> Option<[u8; COMM_LENGTH]> {
    field(field(task, offset::task_group_leader())?, offset::task_comm())
}

/// The program break of the running process; 0 if unknown.
#[inline(always)]
pub fn current_break() -> u64 {
    let mm = field::<u64>(current_task(), offset::task_mm()).unwrap_or(0);
    field::<u64>(mm, offset::mm_brk()).unwrap_or(0)
}

/// Where the running process's `mmap_lock` is; 0 if unknown.
#[inline(always)]
pub fn current_mmap_lock() -> u64 {
    let place = offset::mm_mmap_lock();
    match field::<u64>(current_task(), offset::task_mm()) {
        Some(mm) if mm != 0 && place != UNKNOWN_OFFSET => mm + u64::from(place),
        _ => 0,
    }
}

/// A copy of the user registers that `regs` points to in the kernel.
#[inline(always)]
pub fn registers(regs: *const pt_regs) -> Option<pt_regs> {
    field(regs as u64, 0)
}

/// Bytes of a kernel stack: `THREAD_SIZE` of `arch/x86/include/asm/page_64_types.h`. (With KASAN it
/// is more; then no user registers are found, which the reader checks.)
const KERNEL_STACK: u64 = 16 << 10;

/// Where the kernel keeps the user registers of the running thread; 0 if unknown.
#[inline(always)]
pub fn user_registers() -> u64 {
    if loaded!(LAYOUT.has_task_pt_regs) != 0 {
        // SAFETY: the helpers exist (`has_task_pt_regs`) and the running task has registers.
        return unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64;
    }
    // What `task_pt_regs` does before Linux 5.15, which has the helper: they are the first thing
    // on the kernel's stack.
    match field::<u64>(current_task(), offset::task_stack()) {
        Some(stack) => stack + KERNEL_STACK - size_of::<pt_regs>() as u64,
        None => 0,
    }
}
