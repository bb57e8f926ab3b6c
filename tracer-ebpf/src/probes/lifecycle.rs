//! Forks, execs and exits. A thread's end is where its fault counts are read for the last time.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_current_comm, generated::bpf_get_current_cgroup_id},
    macros::{btf_tracepoint, raw_tracepoint, tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext, TracePointContext},
};
use aya_log_ebpf::debug;
use tracer_common::{ExitTotals, Fork, Lifecycle, Loss, ProcessId, RecordKind, TICK_NS, Target};

use super::lookups::keep;
use crate::{
    emit::{Wake, add, emit, emit_waking, header, lose, now},
    filter::{admit, current_ids},
    kernel::{config, current_task, field, offset, process_comm},
    maps::{EXITS, LIFECYCLES, TARGETS, THREADS, entry},
};

const CLONE_THREAD: u64 = 0x0001_0000;

#[btf_tracepoint]
fn fork_btf(ctx: BtfTracePointContext) -> u32 {
    forked_task(&ctx, ctx.arg::<u64>(1));
    0
}
#[raw_tracepoint]
fn fork_raw(ctx: RawTracePointContext) -> u32 {
    forked_task(&ctx, ctx.arg::<u64>(1));
    0
}
/// `task:task_newtask`: unlike `sched_process_fork` it says whether a thread was made.
#[tracepoint]
fn fork_newtask(ctx: TracePointContext) -> u32 {
    // SAFETY: the helper checks what it reads; the offsets come from the tracepoint's format.
    let read = unsafe {
        (
            ctx.read_at::<u32>(offset::newtask_pid() as usize),
            ctx.read_at::<u64>(offset::newtask_clone_flags() as usize),
        )
    };
    if let (Ok(pid), Ok(flags)) = read {
        forget_thread(pid);
        if flags & CLONE_THREAD == 0 {
            forked(&ctx, ProcessId::new(pid, 0));
        }
    }
    0
}
#[btf_tracepoint]
fn exec_btf(ctx: BtfTracePointContext) -> u32 {
    executed(&ctx, ctx.arg::<u32>(1));
    0
}
#[raw_tracepoint]
fn exec_raw(ctx: RawTracePointContext) -> u32 {
    executed(&ctx, ctx.arg::<u64>(1) as u32);
    0
}
#[tracepoint]
fn exec_tracepoint(ctx: TracePointContext) -> u32 {
    // SAFETY: see above.
    let old = unsafe { ctx.read_at::<u32>(offset::exec_old_pid() as usize) };
    executed(&ctx, old.unwrap_or(0));
    0
}
#[btf_tracepoint]
fn exit_btf(ctx: BtfTracePointContext) -> u32 {
    ended(&ctx);
    0
}
#[raw_tracepoint]
fn exit_raw(ctx: RawTracePointContext) -> u32 {
    ended(&ctx);
    0
}
#[tracepoint]
fn exit_tracepoint(ctx: TracePointContext) -> u32 {
    ended(&ctx);
    0
}

/// A new thread has none of the state that an earlier one of its id may have left behind: between
/// its last probe and its end, a thread can meet others.
#[inline(always)]
fn forget_thread(tid: u32) {
    let _ = THREADS.remove(&tid);
}

/// What the thread counted is kept, its state is not.
#[inline(always)]
fn end_thread(tid: u32) {
    if let Some(thread) = THREADS.get_ptr_mut(&tid) {
        // SAFETY: from the map, checked; the thread makes no calls any more.
        let (process, lookups) = unsafe { ((*thread).process, (*thread).lookups) };
        keep(process, &lookups);
    }
    forget_thread(tid);
}

#[inline(always)]
fn forked_task(ctx: &impl EbpfContext, child: u64) {
    let tgid = field::<u32>(child, offset::task_tgid()).unwrap_or(0);
    let tid = field::<u32>(child, offset::task_pid()).unwrap_or(0);
    forget_thread(tid);
    // A new thread has its group's id, a new process its own.
    if tgid != 0 && tid == tgid {
        let start = field::<u64>(child, offset::task_start_boottime()).unwrap_or(0);
        forked(ctx, ProcessId::new(tgid, start / TICK_NS));
    }
}

#[inline(always)]
fn forked(ctx: &impl EbpfContext, child: ProcessId) {
    let (tid, pid) = current_ids();
    let Some(process) = admit(pid) else { return };
    lifecycle(process, |counts| &raw mut counts.forks);
    if config::whole_machine() != 0 {
        return;
    }
    let followed = follow(ctx, pid, child);
    let child = if followed { child } else { ProcessId::new(0, 0) };
    let header = header(RecordKind::Fork, process, tid, now());
    emit(|| Fork { header, child }, Loss::LifecycleRecords);
}

/// Makes the child a target if its parent is to be followed. Whether it is one.
#[inline(always)]
fn follow(ctx: &impl EbpfContext, pid: u32, child: ProcessId) -> bool {
    let Some(parent) = TARGETS.get_ptr_mut(&pid) else {
        return false;
    };
    // SAFETY: from the map, checked.
    if unsafe { (*parent).flags } & Target::FOLLOW == 0 {
        return false;
    }
    let target = Target { start_ticks: child.start_ticks, flags: Target::FOLLOW };
    if TARGETS.insert(&child.pid, &target, 0).is_err() {
        lose(Loss::ProcessTable);
        debug!(ctx, "child {} of {} is not followed: too many processes", child.pid, pid);
        return false;
    }
    debug!(ctx, "following {}, child of {}", child.pid, pid);
    true
}

#[inline(always)]
fn executed(ctx: &impl EbpfContext, old_tid: u32) {
    let (tid, pid) = current_ids();
    if old_tid != tid {
        // A thread that executes a program becomes the leader, and takes its id.
        end_thread(old_tid);
    }
    let awaited = TARGETS.get_ptr_mut(&pid).is_some_and(|target| {
        // SAFETY: from the map, checked.
        let flags = unsafe { &mut (*target).flags };
        let awaited = *flags & Target::FROM_EXEC != 0;
        *flags &= !Target::FROM_EXEC;
        awaited
    });
    let Some(process) = admit(pid) else { return };
    if awaited {
        debug!(ctx, "{} executes its program: counting begins", pid);
        note_faults_so_far(process);
    }
    lifecycle(process, |counts| &raw mut counts.execs);
    if config::whole_machine() == 0 {
        let header = header(RecordKind::Exec, process, tid, now());
        // What it has mapped must be looked at before it ends.
        emit_waking(|| header, Loss::LifecycleRecords, Wake::Now);
    }
}

/// Faults before the program began are not the program's.
#[inline(always)]
fn note_faults_so_far(process: ProcessId) {
    if let Some(totals) = exit_totals(process) {
        let task = current_task();
        // SAFETY: from the map, checked.
        unsafe {
            (*totals).exec_minor = field(task, offset::task_min_flt()).unwrap_or(0);
            (*totals).exec_major = field(task, offset::task_maj_flt()).unwrap_or(0);
        }
    }
}

#[inline(always)]
fn ended(ctx: &impl EbpfContext) {
    let (tid, pid) = current_ids();
    let Some(process) = admit(pid) else { return };
    end_thread(tid);
    let task = current_task();
    let signal = field::<u64>(task, offset::task_signal()).unwrap_or(0);
    // do_exit() has taken this thread off the count before the tracepoint. Where threads end
    // together, each of them may find 0: what follows can happen more than once, and others of the
    // group may be on their way here, so that the process stays a target until user space sees it.
    let last = field::<u32>(signal, offset::signal_live()) == Some(0);
    if let Some(totals) = exit_totals(process) {
        // SAFETY: from the map, checked.
        let totals = unsafe { &mut *totals };
        let (minor, major) = faults_of(task);
        add(&raw mut totals.minor, minor);
        add(&raw mut totals.major, major);
        add(&raw mut totals.user_ns, field(task, offset::task_utime()).unwrap_or(0));
        add(&raw mut totals.system_ns, field(task, offset::task_stime()).unwrap_or(0));
        totals.comm = match process_comm(task) {
            Some(comm) => comm,
            None => bpf_get_current_comm().unwrap_or_default(),
        };
        // SAFETY: no arguments, cannot fail.
        totals.cgroup = unsafe { bpf_get_current_cgroup_id() };
        if last {
            // Never unset: a thread that was not the last one may come here after it.
            totals.dead = 1;
            if let Some((minor, major)) = faults_of_group(signal) {
                totals.kernel_minor = totals.kernel_minor.max(minor);
                totals.kernel_major = totals.kernel_major.max(major);
            }
        }
    }
    if !last {
        return;
    }
    debug!(ctx, "{} has ended", pid);
    lifecycle(process, |counts| &raw mut counts.exits);
    if config::whole_machine() == 0 {
        emit(|| header(RecordKind::Exit, process, tid, now()), Loss::LifecycleRecords);
    }
}

/// A thread's minor and major faults.
#[inline(always)]
fn faults_of(task: u64) -> (u64, u64) {
    let read = |place| field(task, place).unwrap_or(0);
    (read(offset::task_min_flt()), read(offset::task_maj_flt()))
}

/// Threads that end together and are added up one by one. Of more, the rest is left out.
const THREADS_AT_END: u32 = 64;
const ATTEMPTS: u32 = 4;

/// Minor and major faults of all threads that a process ever had: the kernel's sums over those that
/// it has let go of, and the threads that it has not. `__exit_signal` (kernel/exit.c) moves a thread
/// from one to the other under a sequence lock, so that none is counted twice.
#[inline(always)]
fn faults_of_group(signal: u64) -> Option<(u64, u64)> {
    let sequence = || field::<u32>(signal, offset::signal_stats_lock());
    for _ in 0..ATTEMPTS {
        let before = sequence()?;
        let (mut minor, mut major) = (
            field::<u64>(signal, offset::signal_min_flt())?,
            field::<u64>(signal, offset::signal_maj_flt())?,
        );
        let mut node = field::<u64>(signal, offset::signal_thread_head())?;
        let end = signal + u64::from(offset::signal_thread_head());
        for _ in 0..THREADS_AT_END {
            if node == end {
                break;
            }
            let task = node.wrapping_sub(u64::from(offset::task_thread_node()));
            let faults = faults_of(task);
            minor += faults.0;
            major += faults.1;
            node = field::<u64>(node, 0)?;
        }
        if before % 2 == 0 && sequence()? == before {
            return Some((minor, major));
        }
    }
    None
}

/// The process's entry among the ended. When it is made, the kernel's sums over the threads that
/// ended before are taken over; from then on each thread adds its own at its end. The kernel adds
/// a thread to its sums after the tracepoint, so that no thread is in both.
#[inline(always)]
fn exit_totals(process: ProcessId) -> Option<*mut ExitTotals> {
    if let Some(known) = EXITS.get_ptr_mut(&process) {
        return Some(known);
    }
    let signal = field::<u64>(current_task(), offset::task_signal()).unwrap_or(0);
    let fresh = ExitTotals {
        earlier_minor: field(signal, offset::signal_min_flt()).unwrap_or(0),
        earlier_major: field(signal, offset::signal_maj_flt()).unwrap_or(0),
        ..ExitTotals::default()
    };
    let _ = EXITS.insert(&process, &fresh, u64::from(aya_ebpf::bindings::BPF_NOEXIST));
    let made = EXITS.get_ptr_mut(&process);
    if made.is_none() {
        lose(Loss::ProcessTable);
    }
    made
}

#[inline(always)]
fn lifecycle(process: ProcessId, counter: impl Fn(&mut Lifecycle) -> *mut u64) {
    let none = Lifecycle { forks: 0, execs: 0, exits: 0 };
    match entry(&LIFECYCLES, &process, &none) {
        // SAFETY: from the map, checked.
        Some(counts) => add(counter(unsafe { &mut *counts }), 1),
        None => lose(Loss::CounterTable),
    }
}
