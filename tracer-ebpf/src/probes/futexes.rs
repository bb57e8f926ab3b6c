//! Waits for futexes: each counted with its time, some with their stack.

use aya_ebpf::{
    EbpfContext,
    bindings::pt_regs,
    macros::{fentry, fexit, tracepoint},
    programs::{FEntryContext, FExitContext, TracePointContext},
};
use tracer_common::{FutexWait, FutexWaits, Loss, RecordKind, Thread, exponential_gap};

use crate::{
    emit::{Wake, add, emit_with_stack, has_room_for_stack, header, lose, now},
    filter::{current_ids, random, thread},
    kernel::{offset, registers},
    maps::{FUTEX_WAITS, THREADS, entry},
};

/// A thread waits for so long between two stacks, on average. By time and not by number: one wait can be
/// ten thousand times as long as another.
const GAP_NS: u32 = 10_000_000;

/// What a call is to do, without its flags (`FUTEX_CMD_MASK`, include/uapi/linux/futex.h).
const COMMAND: u64 = 127;

#[fentry]
fn futex_fentry(ctx: FEntryContext) -> u32 {
    if let Some(regs) = registers(ctx.arg::<*const pt_regs>(0)) {
        begin(regs.rsi);
    }
    0
}
#[fexit]
fn futex_fexit(ctx: FExitContext) -> u32 {
    end(&ctx);
    0
}
#[tracepoint]
fn futex_enter(ctx: TracePointContext) -> u32 {
    // SAFETY: the helper checks what it reads; the offset comes from the tracepoint's format.
    let args: Result<[u64; 2], _> = unsafe { ctx.read_at(offset::sys_enter_args() as usize) };
    if let Ok([_, operation]) = args {
        begin(operation);
    }
    0
}
#[tracepoint]
fn futex_exit(ctx: TracePointContext) -> u32 {
    end(&ctx);
    0
}

/// `FUTEX_WAIT`, `FUTEX_LOCK_PI`, `FUTEX_WAIT_BITSET`, `FUTEX_LOCK_PI2`.
#[inline(always)]
fn waits(operation: u64) -> bool {
    matches!(operation & COMMAND, 0 | 6 | 9 | 13)
}

#[inline(always)]
fn begin(operation: u64) {
    if !waits(operation) {
        return;
    }
    let Some(thread) = thread() else { return };
    // SAFETY: from the map of threads, checked; only its own thread writes to it.
    let thread = unsafe { &mut *thread };
    if thread.futex_start_ns != 0 {
        lose(Loss::MissedReturn);
    }
    thread.futex_start_ns = now();
}

#[inline(always)]
fn end(ctx: &impl EbpfContext) {
    let (tid, _) = current_ids();
    let Some(thread) = THREADS.get_ptr_mut(&tid) else { return };
    // SAFETY: as in `begin`.
    let thread = unsafe { &mut *thread };
    if thread.futex_start_ns == 0 {
        return;
    }
    let time_ns = now();
    let duration_ns = time_ns.saturating_sub(thread.futex_start_ns);
    thread.futex_start_ns = 0;
    count(thread, duration_ns);
    if is_sampled(thread, duration_ns) {
        if !has_room_for_stack() {
            lose(Loss::StackRecords);
            return;
        }
        let header = header(RecordKind::FutexStack, thread.process, tid, time_ns);
        let wait = FutexWait { header, duration_ns, gap_ns: GAP_NS.into() };
        emit_with_stack(ctx, wait, Loss::StackRecords, Wake::Later);
    }
}

/// Whether the nanosecond to be sampled lies in this wait; see [`exponential_gap`].
#[inline(always)]
fn is_sampled(thread: &mut Thread, duration_ns: u64) -> bool {
    if thread.futex_countdown == 0 {
        thread.futex_countdown = exponential_gap(random(), GAP_NS).into();
    }
    if duration_ns < thread.futex_countdown {
        thread.futex_countdown -= duration_ns;
        return false;
    }
    thread.futex_countdown = 0;
    true
}

#[inline(always)]
fn count(thread: &Thread, duration_ns: u64) {
    let (key, none) = (thread.process, FutexWaits { waits: 0, wait_ns: 0 });
    let Some(waits) = entry(&FUTEX_WAITS, &key, &none) else {
        lose(Loss::CounterTable);
        return;
    };
    // SAFETY: from the map, checked.
    unsafe {
        add(&raw mut (*waits).waits, 1);
        add(&raw mut (*waits).wait_ns, duration_ns);
    }
}
