//! Waits for the process's own `mmap_lock`. Nothing runs where nobody waits.

use aya_ebpf::{
    macros::{kprobe, kretprobe, raw_tracepoint},
    programs::{ProbeContext, RawTracePointContext, RetProbeContext},
};
use tracer_common::{DURATION_BUCKETS, LockKey, LockWaits, Loss, duration_bucket};

use crate::{
    emit::{add, below, lose, now},
    filter::{current_ids, thread},
    kernel::current_mmap_lock,
    maps::{LOCK_WAITS, READERS, THREADS, entry},
};

/// Of the flags of `contention_begin`: the lock is wanted alone (`LCB_F_WRITE`,
/// include/trace/events/lock.h).
const WRITE: u64 = 4;

/// Too large for the program's stack, so that new entries are copied from here.
#[unsafe(no_mangle)]
static NO_WAITS: LockWaits = LockWaits { waits: 0, wait_ns: 0, durations: [0; DURATION_BUCKETS] };

#[raw_tracepoint]
fn contention_begin_raw(ctx: RawTracePointContext) -> u32 {
    begin(ctx.arg(0), ctx.arg::<u64>(1) & WRITE != 0);
    0
}
#[raw_tracepoint]
fn contention_end_raw(ctx: RawTracePointContext) -> u32 {
    end(ctx.arg(0));
    0
}
#[kprobe]
fn lock_read_kprobe(ctx: ProbeContext) -> u32 {
    begin(ctx.arg(0).unwrap_or(0), false);
    0
}
#[kprobe]
fn lock_write_kprobe(ctx: ProbeContext) -> u32 {
    begin(ctx.arg(0).unwrap_or(0), true);
    0
}
#[kretprobe]
fn lock_read_kretprobe(_ctx: RetProbeContext) -> u32 {
    end(current_mmap_lock());
    0
}
#[kretprobe]
fn lock_write_kretprobe(_ctx: RetProbeContext) -> u32 {
    end(current_mmap_lock());
    0
}

#[inline(always)]
fn begin(lock: u64, write: bool) {
    // Most contended locks are others, and most threads are not traced.
    if lock == 0 || lock != current_mmap_lock() {
        return;
    }
    let Some(thread) = thread() else { return };
    // SAFETY: from the map of threads, checked; only its own thread writes to it.
    let thread = unsafe { &mut *thread };
    // The kernel reports one wait more than once as it goes from spinning to sleeping.
    if thread.wait_start_ns != 0 {
        return;
    }
    thread.wait_write = u32::from(write);
    thread.wait_traced = tracer_reads();
    thread.wait_start_ns = now();
}

/// 1 while the tracer reads the mappings of a target.
#[inline(always)]
fn tracer_reads() -> u32 {
    READERS.get(0).map_or(0, |readers| u32::from(*readers != 0))
}

#[inline(always)]
fn end(lock: u64) {
    if lock == 0 || lock != current_mmap_lock() {
        return;
    }
    let (tid, _) = current_ids();
    let Some(thread) = THREADS.get_ptr_mut(&tid) else {
        return;
    };
    // SAFETY: as in `begin`.
    let thread = unsafe { &mut *thread };
    if thread.wait_start_ns == 0 {
        return;
    }
    let wait_ns = now().saturating_sub(thread.wait_start_ns);
    thread.wait_start_ns = 0;
    let traced = thread.wait_traced | tracer_reads();
    let key = LockKey {
        process: thread.process,
        call: thread.call,
        write: thread.wait_write as u16,
        traced: traced as u16,
    };
    let Some(waits) = entry(&LOCK_WAITS, &key, &NO_WAITS) else {
        lose(Loss::CounterTable);
        return;
    };
    // SAFETY: from the map, checked; the bucket's index is below their number.
    unsafe {
        add(&raw mut (*waits).waits, 1);
        add(&raw mut (*waits).wait_ns, wait_ns);
        let bucket = below::<DURATION_BUCKETS>(duration_bucket(wait_ns));
        add((&raw mut (*waits).durations).cast::<u64>().add(bucket), 1);
    }
}
