//! What the CPUs do for the targets, by the clock.

use aya_ebpf::{
    EbpfContext, helpers::generated::bpf_get_stack, macros::perf_event, programs::PerfEventContext,
};
use tracer_common::{CpuSample, KERNEL_FRAMES, Loss, RecordKind};

use crate::{
    emit::{header, now, reserve, submit},
    filter::{current_ids, process},
};

/// The two low bits of `cs` are the privilege level; user code runs at 3.
const USER_LEVEL: u64 = 3;

#[perf_event]
fn cpu_clock(ctx: PerfEventContext) -> u32 {
    let Some(process) = process() else { return 0 };
    let Some(mut entry) = reserve::<CpuSample>(Loss::CpuRecords) else {
        return 0;
    };
    let (tid, _) = current_ids();
    let place = entry.as_mut_ptr();
    // SAFETY: the context is valid; `place` is the reserved record, and every
    // field that is read later is written here, frames beyond `depth` excepted.
    unsafe {
        let user = (*ctx.ctx).regs.cs & USER_LEVEL == USER_LEVEL;
        (*place).header = header(RecordKind::Cpu, process, tid, now());
        (*place).user = u32::from(user);
        (*place).depth = if user { 0 } else { kernel_stack(&ctx, &raw mut (*place).frames) };
    }
    submit(entry);
    0
}

/// Fills `frames` with the kernel stack; returns how many there are.
#[inline(always)]
unsafe fn kernel_stack(ctx: &PerfEventContext, frames: *mut [u64; KERNEL_FRAMES]) -> u32 {
    const BYTES: u32 = size_of::<[u64; KERNEL_FRAMES]>() as u32;
    // SAFETY: `frames` has room for `BYTES`.
    let got = unsafe { bpf_get_stack(ctx.as_ptr(), frames.cast(), BYTES, 0) };
    if got > 0 { got as u32 / 8 } else { 0 }
}
