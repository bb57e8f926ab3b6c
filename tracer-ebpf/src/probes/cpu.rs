//! What the CPUs do for the targets, by the clock.

use aya_ebpf::{macros::perf_event, programs::PerfEventContext};
use tracer_common::{CpuSample, Loss, RecordKind};

use crate::{
    emit::{emit_in_place, has_room_for_stack, header, kernel_stack, lose, now},
    filter::{current_ids, process},
    kernel::config,
};

/// The two low bits of `cs` are the privilege level; user code runs at 3.
const USER_LEVEL: u64 = 3;

/// The user registers are where system calls leave them in either mode: an interrupt of user code
/// enters on the thread's own kernel stack (arch/x86/entry/entry_64.S, `error_entry`).
#[perf_event]
fn cpu_clock(ctx: PerfEventContext) -> u32 {
    let Some(process) = process() else { return 0 };
    let (tid, _) = current_ids();
    // For a whole machine only classes are wanted.
    let wants_stack = config::whole_machine() == 0;
    let with_stack = wants_stack && has_room_for_stack();
    if wants_stack && !with_stack {
        lose(Loss::StackRecords);
    }
    let kind = if with_stack { RecordKind::CpuStack } else { RecordKind::Cpu };
    emit_in_place(&ctx, with_stack, Loss::CpuRecords, |place: *mut CpuSample| {
        // SAFETY: the context is valid; `place` is the reserved record, and every field that is
        // read later is written here, frames beyond `depth` excepted.
        unsafe {
            let user = (*ctx.ctx).regs.cs & USER_LEVEL == USER_LEVEL;
            (*place).header = header(kind, process, tid, now());
            (*place).user = u32::from(user);
            (*place).depth = if user { 0 } else { kernel_stack(&ctx, &raw mut (*place).frames) };
        }
    });
    0
}
