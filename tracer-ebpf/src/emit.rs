//! The only writer of the ring buffer. What finds no room is counted by cause.

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_F_USER_STACK, BPF_RB_NO_WAKEUP},
    helpers::{bpf_ktime_get_ns, generated::bpf_get_stack},
    maps::ring_buf::RingBufEntry,
};
use tracer_common::{
    DURATION_BUCKETS, Header, KERNEL_FRAMES, Loss, ProcessId, RecordKind, STACK_FRAMES, Stack,
    WithStack,
};

use crate::{
    kernel::user_word,
    maps::{EVENTS, LOST},
};

/// Counts something that is missing.
#[inline(always)]
pub fn lose(cause: Loss) {
    if let Some(count) = LOST.get_ptr_mut(cause as u32) {
        add(count, 1);
    }
}

/// Adds to a counter. Atomic although the counter belongs to this CPU: fentry programs can be
/// preempted, and two threads of a process may then be inside the same addition.
#[inline(always)]
pub fn add(counter: *mut u64, amount: u64) {
    // SAFETY: the pointer is into a live map value and 8-byte aligned. `core` has no
    // read-modify-write for BPF, because the first BPF machines lack compare-and-swap.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({counter} + 0) += {amount}",
            counter = in(reg) counter,
            amount = in(reg) amount,
        );
    }
}

/// The same number, in a way that older verifiers understand to be a bucket's: the compiler knows
/// as much already, and would leave a plain mask out.
#[inline(always)]
pub fn below_buckets(bucket: usize) -> usize {
    let mut bucket = bucket as u64;
    const { assert!(DURATION_BUCKETS == 32) };
    // SAFETY: arithmetic on a register.
    unsafe { core::arch::asm!("{bucket} &= 31", bucket = inout(reg) bucket) };
    bucket as usize
}

/// Monotonic time.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: no arguments, cannot fail.
    unsafe { bpf_ktime_get_ns() }
}

/// The beginning of a record.
#[inline(always)]
pub fn header(kind: RecordKind, process: ProcessId, tid: u32, time_ns: u64) -> Header {
    Header { kind: kind as u32, tid, process, time_ns }
}

/// Writes a record.
#[inline(always)]
pub fn emit<T: 'static>(record: T, cause: Loss) {
    if let Some(mut entry) = reserve::<T>(cause) {
        entry.write(record);
        submit(entry);
    }
}

/// Writes a record together with the user stack of `ctx`, whose stack pointer is `stack_pointer`.
#[inline(always)]
pub fn emit_with_stack<T: 'static>(
    ctx: &impl EbpfContext,
    record: T,
    stack_pointer: u64,
    cause: Loss,
) {
    let Some(mut entry) = reserve::<WithStack<T>>(cause) else {
        return;
    };
    let place = entry.as_mut_ptr();
    // SAFETY: `place` is the reserved record; every field that is read later is written here,
    // frames beyond `depth` excepted, which the reader does not look at.
    unsafe {
        (&raw mut (*place).record).write(record);
        (*place).stack.top = user_word(stack_pointer);
        let frames = &raw mut (*place).stack.frames;
        const BYTES: u32 = size_of::<[u64; STACK_FRAMES]>() as u32;
        let got = bpf_get_stack(ctx.as_ptr(), frames.cast(), BYTES, u64::from(BPF_F_USER_STACK));
        (*place).stack.depth = if got > 0 { got as u64 / 8 } else { 0 };
    }
    submit(entry);
}

/// Fills `frames` with the kernel stack; returns how many there are.
#[inline(always)]
pub fn kernel_stack(ctx: &impl EbpfContext, frames: *mut [u64; KERNEL_FRAMES]) -> u32 {
    const BYTES: u32 = size_of::<[u64; KERNEL_FRAMES]>() as u32;
    // SAFETY: `frames` points into a reserved record and has room for `BYTES`.
    let got = unsafe { bpf_get_stack(ctx.as_ptr(), frames.cast(), BYTES, 0) };
    if got > 0 { got as u32 / 8 } else { 0 }
}

/// Room for a record.
#[inline(always)]
pub fn reserve<T: 'static>(cause: Loss) -> Option<RingBufEntry<T>> {
    let entry = EVENTS.reserve::<T>(0);
    if entry.is_none() {
        lose(cause);
    }
    entry
}

/// Hands a record over, without waking the reader: a wake-up costs the target more than the
/// record does, and the reader looks by the clock.
#[inline(always)]
pub fn submit<T>(entry: RingBufEntry<T>) {
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
}

const _: () = assert!(size_of::<Stack>() == 16 + 8 * STACK_FRAMES);
