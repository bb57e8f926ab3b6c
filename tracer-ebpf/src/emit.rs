//! The only writer of the ring buffer. What finds no room is counted by cause.

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE},
    helpers::{bpf_ktime_get_ns, generated::bpf_get_stack},
    maps::ring_buf::RingBufEntry,
};
use tracer_common::{Header, KERNEL_FRAMES, Loss, MemoryCall, ProcessId, RecordKind, WithStack};

use crate::{
    kernel::config,
    maps::{EVENTS, LOST},
    stack::copy_user_stack,
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

/// The same number, in a way that older verifiers understand to be below `N`, a power of two: the
/// compiler knows as much already, and would leave a plain mask out.
#[inline(always)]
pub fn below<const N: usize>(index: usize) -> usize {
    let mut index = index as u64;
    const { assert!(N.is_power_of_two()) };
    // SAFETY: arithmetic on a register.
    unsafe { core::arch::asm!("{index} &= {mask}", index = inout(reg) index, mask = const N - 1) };
    index as usize
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

/// Writes a record, which is made in its place.
#[inline(always)]
pub fn emit<T: 'static>(record: impl FnOnce() -> T, cause: Loss) {
    emit_waking(record, cause, Wake::Later);
}

/// The same, and maybe wakes the reader.
#[inline(always)]
pub fn emit_waking<T: 'static>(record: impl FnOnce() -> T, cause: Loss, wake: Wake) {
    if let Some(mut entry) = reserve::<T>(cause) {
        entry.write(record());
        entry.submit(wake.flags());
    }
}

/// Writes a record together with the user stack of the running thread.
#[inline(always)]
pub fn emit_with_stack<T: 'static>(ctx: &impl EbpfContext, record: T, cause: Loss, wake: Wake) {
    let Some(mut entry) = reserve::<WithStack<T>>(cause) else {
        return;
    };
    let place = entry.as_mut_ptr();
    // SAFETY: `place` is the reserved record; every field that is read later is written here,
    // bytes beyond the stack's length excepted, which the reader does not look at.
    unsafe {
        (&raw mut (*place).record).write(record);
        copy_user_stack(ctx, &raw mut (*place).stack);
    }
    entry.submit(wake.flags());
}

/// Writes a record that is too large for the program's own stack, with the user stack behind it if
/// so wanted. `fill` writes every field that is read later.
#[inline(always)]
pub fn emit_in_place<T: 'static>(
    ctx: &impl EbpfContext,
    with_stack: bool,
    cause: Loss,
    fill: impl Fn(*mut T),
) {
    if !with_stack {
        if let Some(mut entry) = reserve::<T>(cause) {
            fill(entry.as_mut_ptr());
            entry.submit(Wake::Later.flags());
        }
        return;
    }
    if let Some(mut entry) = reserve::<WithStack<T>>(cause) {
        let place = entry.as_mut_ptr();
        // SAFETY: `place` is the reserved record, and as in `emit_with_stack`.
        unsafe {
            fill(&raw mut (*place).record);
            copy_user_stack(ctx, &raw mut (*place).stack);
        }
        entry.submit(Wake::Later.flags());
    }
}

/// Whether a stack may be written now. It takes the room of a hundred records without, of which none
/// should be lost for it: a quarter of the ring buffer is left to them.
#[inline(always)]
pub fn has_room_for_stack() -> bool {
    const STACK: u64 = size_of::<WithStack<MemoryCall>>() as u64;
    let room = EVENTS.query(u64::from(BPF_RB_RING_SIZE)) / 4 * 3;
    EVENTS.query(u64::from(BPF_RB_AVAIL_DATA)) + STACK <= room
}

/// Whether the reader is to look at once. A wake-up costs the target more than the record does, and
/// the reader looks by the clock.
#[derive(Clone, Copy)]
pub enum Wake {
    /// It may wait.
    Later,
    /// The process may have ended by the time.
    Now,
}

impl Wake {
    #[inline(always)]
    fn flags(self) -> u64 {
        match self {
            Self::Now if config::may_wake() != 0 => u64::from(BPF_RB_FORCE_WAKEUP),
            _ => u64::from(BPF_RB_NO_WAKEUP),
        }
    }
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
fn reserve<T: 'static>(cause: Loss) -> Option<RingBufEntry<T>> {
    let entry = EVENTS.reserve::<T>(0);
    if entry.is_none() {
        lose(cause);
    }
    entry
}
