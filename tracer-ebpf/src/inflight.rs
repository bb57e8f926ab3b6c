//! From a call's entry to its exit: counts every call, and writes a record of those that change
//! which addresses are mapped.

use aya_ebpf::EbpfContext;
use tracer_common::{
    DURATION_BUCKETS, ErrnoKey, Loss, MemoryCall, ProcessId, RecordKind, Syscall, SyscallCounter,
    SyscallKey, Thread, duration_bucket,
};

use crate::{
    emit::{Wake, add, below, emit, emit_with_stack, header, lose, now},
    filter::{control, current_ids, stack_share, thread},
    kernel::{config, current_break},
    maps::{ERRNOS, SYSCALLS, THREADS, entry},
};

/// Largest error number; the kernel's MAX_ERRNO.
const MAX_ERRNO: i64 = 4095;
const ENOMEM: u32 = 12;
const PROT_EXEC: u64 = 4;
const MAP_ANONYMOUS: u64 = 0x20;

/// Too large for the program's stack, so that new entries are copied from here.
#[unsafe(no_mangle)]
static NO_CALLS: SyscallCounter = SyscallCounter {
    calls: 0,
    failures: 0,
    bytes: 0,
    duration_ns: 0,
    durations: [0; DURATION_BUCKETS],
};

/// A call begins.
#[inline(always)]
pub fn enter(syscall: Syscall, args: [u64; 5]) {
    let Some(thread) = thread() else { return };
    // SAFETY: from the map of threads, checked; only its own thread writes to it.
    let thread = unsafe { &mut *thread };
    if thread.call != 0 {
        // Kernels that preempt a program skip it for others on that CPU meanwhile. The call was
        // made all the same; how it ended is lost.
        lose(Loss::MissedReturn);
        count_unfinished(thread.process, thread.call - 1);
    }
    thread.return_seen_by = 0;
    thread.args = args;
    if matches!(syscall, Syscall::Brk) {
        thread.args[1] = current_break();
    }
    thread.call = syscall as u32 + 1;
    thread.call_start_ns = now();
}

/// Whatever call is under way returns `result` to user space.
#[inline(always)]
pub fn exit_any(ctx: &impl EbpfContext, result: i64) {
    let time_ns = now();
    let Some((tid, thread)) = known_thread() else { return };
    if let Some(syscall) = thread.call.checked_sub(1).and_then(Syscall::from_u32) {
        finish(ctx, tid, thread, syscall, result, time_ns);
    }
}

/// A call returns `result` to user space. Several programs may say so, each by a number of its own
/// below 32; the first that does counts.
#[inline(always)]
pub fn exit(ctx: &impl EbpfContext, syscall: Syscall, result: i64, program: u32) {
    let time_ns = now();
    let Some((tid, thread)) = known_thread() else { return };
    let myself = 1 << program;
    if thread.return_seen_by & myself != 0 {
        // The last return that this program saw was another call's, so that no program has seen
        // this call's entry. The kernel skips trampolines of a program that another thread is in,
        // and kprobes on a CPU where a thread is in the middle of reading a map.
        thread.return_seen_by = myself;
        entry_missed(thread.process, syscall);
        return;
    }
    thread.return_seen_by |= myself;
    if thread.call == syscall as u32 + 1 {
        finish(ctx, tid, thread, syscall, result, time_ns);
    }
}

/// The running thread and its state, if it has any.
#[inline(always)]
fn known_thread() -> Option<(u32, &'static mut Thread)> {
    let (tid, _) = current_ids();
    // SAFETY: as in `enter`; the entry outlives the program's run.
    THREADS.get_ptr_mut(&tid).map(|thread| (tid, unsafe { &mut *thread }))
}

#[inline(always)]
fn finish(
    ctx: &impl EbpfContext,
    tid: u32,
    thread: &mut Thread,
    syscall: Syscall,
    result: i64,
    time_ns: u64,
) {
    thread.call = 0;
    let errno = errno(syscall, &thread.args, result);
    let duration_ns = time_ns.saturating_sub(thread.call_start_ns);
    let bytes = if errno == 0 { syscall.bytes(&thread.args, result as u64) } else { 0 };
    count(thread.process, syscall, errno, bytes, duration_ns);
    if errno == 0 && config::whole_machine() == 0 {
        record(ctx, tid, thread, syscall, result as u64, duration_ns, time_ns);
    }
}

/// Why the call was refused; 0: it was not. `brk` has no error return: it answers with the break
/// as it is, which is below the one asked for when it could not be moved.
#[inline(always)]
fn errno(syscall: Syscall, args: &[u64; 5], result: i64) -> u32 {
    if matches!(syscall, Syscall::Brk) {
        return if (result as u64) < args[0] { ENOMEM } else { 0 };
    }
    if (-MAX_ERRNO..0).contains(&result) { -result as u32 } else { 0 }
}

#[inline(always)]
fn count(process: ProcessId, syscall: Syscall, errno: u32, bytes: u64, duration_ns: u64) {
    let key = SyscallKey { process, syscall: syscall as u32, reserved: 0 };
    let Some(counter) = entry(&SYSCALLS, &key, &NO_CALLS) else {
        lose(Loss::CounterTable);
        return;
    };
    // SAFETY: from the map, checked; the bucket's index is below their number.
    unsafe {
        add(&raw mut (*counter).calls, 1);
        add(&raw mut (*counter).bytes, bytes);
        add(&raw mut (*counter).duration_ns, duration_ns);
        let bucket = below::<DURATION_BUCKETS>(duration_bucket(duration_ns));
        add((&raw mut (*counter).durations).cast::<u64>().add(bucket), 1);
        if errno != 0 {
            add(&raw mut (*counter).failures, 1);
            count_failure(ErrnoKey { process, syscall: syscall as u32, errno });
        }
    }
}

/// A call returns of which the entry was not seen.
#[inline(always)]
fn entry_missed(process: ProcessId, syscall: Syscall) {
    if control().is_some_and(|control| control.closed == 0) {
        lose(Loss::MissedReturn);
        count_unfinished(process, syscall as u32);
    }
}

/// A call that must have ended, whatever came of it.
#[inline(always)]
fn count_unfinished(process: ProcessId, syscall: u32) {
    let key = SyscallKey { process, syscall, reserved: 0 };
    if let Some(counter) = entry(&SYSCALLS, &key, &NO_CALLS) {
        // SAFETY: from the map, checked.
        add(unsafe { &raw mut (*counter).calls }, 1);
    }
}

#[inline(always)]
fn count_failure(key: ErrnoKey) {
    match entry(&ERRNOS, &key, &0) {
        Some(count) => add(count, 1),
        None => lose(Loss::CounterTable),
    }
}

#[inline(always)]
fn record(
    ctx: &impl EbpfContext,
    tid: u32,
    thread: &mut Thread,
    syscall: Syscall,
    result: u64,
    duration_ns: u64,
    time_ns: u64,
) {
    if matches!(syscall, Syscall::Mprotect) {
        return;
    }
    // A stack costs ten times what a record costs, so that all of them come from threads that call
    // seldom, and few from others.
    let Thread { stacks, stack_countdown, .. } = thread;
    let weight =
        stack_share(stacks, stack_countdown, config::first_stacks(), config::stack_period());
    let kind = if weight == 0 { RecordKind::MemoryCall } else { RecordKind::MemoryCallStack };
    let call = || MemoryCall {
        header: header(kind, thread.process, tid, time_ns),
        syscall: syscall as u32,
        stack_weight: weight,
        args: thread.args,
        result,
        duration_ns,
    };
    if weight == 0 {
        emit(call, Loss::MappingRecords);
        return;
    }
    // A program begins with loading its libraries, and may end soon after. The reader has to look
    // at what it has mapped in between.
    let [_, _, protection, flags, _] = thread.args;
    let loads = matches!(syscall, Syscall::Mmap)
        && weight == 1
        && protection & PROT_EXEC != 0
        && flags & MAP_ANONYMOUS == 0;
    let wake = if loads { Wake::Now } else { Wake::Later };
    emit_with_stack(ctx, call(), Loss::MappingRecords, wake);
}
