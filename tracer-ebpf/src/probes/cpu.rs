//! What the CPUs do for the targets, by the clock.

use aya_ebpf::{macros::perf_event, programs::PerfEventContext};
use tracer_common::{CpuSample, Loss, RecordKind};

use crate::{
    emit::{header, kernel_stack, now, reserve, submit},
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
