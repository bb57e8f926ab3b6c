//! Where page faults fall and how long they take. How many there are the kernel counts itself.

use aya_ebpf::{
    EbpfContext,
    macros::{fentry, fexit, kprobe, kretprobe, perf_event},
    programs::{FEntryContext, FExitContext, PerfEventContext, ProbeContext, RetProbeContext},
};
use tracer_common::{FaultSample, FaultTime, Loss, RecordKind, Thread};

use crate::{
    emit::{Wake, add, emit, emit_with_stack, header, lose, now},
    filter::{control, current_ids, stack_share, thread},
    kernel::config,
    maps::{FAULT_TIMES, THREADS, entry},
};

/// Of a thread's sampled faults the first so many come with their stack, and of the others one in
/// a period: a stack is two hundred times as long as a sample.
const FIRST_STACKS: u32 = 4;
const STACK_PERIOD: u32 = 61;

#[fentry]
fn fault_fentry(ctx: FEntryContext) -> u32 {
    enter(ctx.arg(1));
    0
}
#[fexit]
fn fault_fexit(ctx: FExitContext) -> u32 {
    exit(&ctx);
    0
}
#[fexit]
fn fault_fexit_2(ctx: FExitContext) -> u32 {
    exit(&ctx);
    0
}
#[fexit]
fn fault_fexit_3(ctx: FExitContext) -> u32 {
    exit(&ctx);
    0
}
#[kprobe]
fn fault_kprobe(ctx: ProbeContext) -> u32 {
    enter(ctx.arg(1).unwrap_or(0));
    0
}
#[kretprobe]
fn fault_kretprobe(ctx: RetProbeContext) -> u32 {
    exit(&ctx);
    0
}
/// The event's period does the sampling.
#[perf_event]
fn fault_perf(ctx: PerfEventContext) -> u32 {
    if let (Some(thread), Some(control)) = (thread(), control()) {
        let weight = control.fault_weight;
        // SAFETY: the kernel hands the program a valid context; the thread is from the map, and only
        // it writes to its entry.
        unsafe { sample(&ctx, &mut *thread, (*ctx.ctx).addr, 0, now(), weight) };
    }
    0
}

/// A fault that read from disk. Each of them: it takes longer than many samples.
#[perf_event]
fn major_fault_perf(ctx: PerfEventContext) -> u32 {
    if let Some(thread) = thread() {
        // SAFETY: as in `fault_perf`.
        unsafe { major(&ctx, &mut *thread, (*ctx.ctx).addr) };
    }
    0
}

#[inline(always)]
fn major(ctx: &PerfEventContext, thread: &mut Thread, address: u64) {
    let (tid, _) = current_ids();
    let Thread { major_stacks, major_stack_countdown, .. } = thread;
    let share = stack_share(major_stacks, major_stack_countdown, FIRST_STACKS, STACK_PERIOD);
    let kind = if share == 0 { RecordKind::MajorFault } else { RecordKind::MajorFaultStack };
    let fault = || FaultSample {
        header: header(kind, thread.process, tid, now()),
        address,
        duration_ns: 0,
        weight: 1,
        stack_weight: share,
    };
    if share == 0 {
        emit(fault, Loss::FaultRecords);
    } else {
        emit_with_stack(ctx, fault(), Loss::FaultRecords, Wake::Later);
    }
}

/// `handle_mm_fault` begins.
#[inline(always)]
fn enter(address: u64) {
    let Some(thread) = thread() else { return };
    // SAFETY: from the map of threads, checked; only its own thread writes to it.
    let thread = unsafe { &mut *thread };
    thread.fault_countdown = thread.fault_countdown.wrapping_sub(1);
    if thread.fault_countdown != 0 {
        return;
    }
    thread.fault_countdown = config::fault_period();
    if thread.fault_start_ns != 0 {
        lose(Loss::FaultRecords); // The return of the one before went unseen.
    }
    thread.fault_address = address;
    thread.fault_start_ns = now();
}

/// `handle_mm_fault` ends.
#[inline(always)]
fn exit(ctx: &impl EbpfContext) {
    let time_ns = now();
    let (tid, _) = current_ids();
    let Some(thread) = THREADS.get_ptr_mut(&tid) else {
        return;
    };
    // SAFETY: as in `enter`.
    let thread = unsafe { &mut *thread };
    if thread.fault_start_ns == 0 {
        return;
    }
    let duration_ns = time_ns.saturating_sub(thread.fault_start_ns);
    thread.fault_start_ns = 0;
    count(thread, duration_ns);
    let weight = config::fault_period();
    let address = thread.fault_address;
    sample(ctx, thread, address, duration_ns, time_ns, weight);
}

#[inline(always)]
fn count(thread: &Thread, duration_ns: u64) {
    let key = thread.process;
    let none = FaultTime { samples: 0, duration_ns: 0 };
    let Some(time) = entry(&FAULT_TIMES, &key, &none) else {
        lose(Loss::CounterTable);
        return;
    };
    // SAFETY: from the map, checked.
    unsafe {
        add(&raw mut (*time).samples, 1);
        add(&raw mut (*time).duration_ns, duration_ns);
    }
}

#[inline(always)]
fn sample(
    ctx: &impl EbpfContext,
    thread: &mut Thread,
    address: u64,
    duration_ns: u64,
    time_ns: u64,
    weight: u32,
) {
    if config::whole_machine() != 0 {
        return;
    }
    let (tid, _) = current_ids();
    let Thread { fault_stacks, fault_stack_countdown, .. } = thread;
    let share = stack_share(fault_stacks, fault_stack_countdown, FIRST_STACKS, STACK_PERIOD);
    let kind = if share == 0 { RecordKind::Fault } else { RecordKind::FaultStack };
    let fault = || FaultSample {
        header: header(kind, thread.process, tid, time_ns),
        address,
        duration_ns,
        weight,
        stack_weight: weight * share,
    };
    if share == 0 {
        emit(fault, Loss::FaultRecords);
    } else {
        emit_with_stack(ctx, fault(), Loss::FaultRecords, Wake::Later);
    }
}
