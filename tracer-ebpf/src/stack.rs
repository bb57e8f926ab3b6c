//! A copy of the running thread's user registers and of the top of its user stack, which user space
//! unwinds: most programs have no frame pointers that could be followed here.

use core::mem::offset_of;

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_F_USER_STACK, pt_regs},
    helpers::generated::{bpf_get_stack, bpf_probe_read_kernel, bpf_probe_read_user},
};
use tracer_common::{STACK_BYTES, STACK_FRAMES, StackHead, USER_CS_64, UserRegisters, UserStack};

use crate::kernel::user_registers;

/// A page is in memory as a whole or not at all. So copies end where pages do, and at most one of
/// them fails, which costs as much as all others together: the processor has to take a fault.
const PAGE: u64 = 4096;

/// Fills a stack in. Where the registers are not to be had, or are those of a 32-bit program, the
/// kernel follows the frame pointers.
///
/// # Safety
/// `place` has room for a [`UserStack`].
#[inline(always)]
pub unsafe fn copy_user_stack(ctx: &impl EbpfContext, place: *mut UserStack) {
    // SAFETY: the caller's promise; the copies end within their fields.
    unsafe {
        let head = &raw mut (*place).head;
        copy_registers(head, user_registers());
        let bytes = (&raw mut (*place).bytes).cast();
        let registers = &mut (*head).registers;
        (*head).length = if registers.cs == USER_CS_64 {
            copy_bytes(bytes, registers.rsp)
        } else {
            *registers = UserRegisters::default();
            follow_frame_pointers(ctx, bytes)
        };
    }
}

#[inline(always)]
unsafe fn follow_frame_pointers(ctx: &impl EbpfContext, bytes: *mut u8) -> u64 {
    const BYTES: u32 = size_of::<[u64; STACK_FRAMES]>() as u32;
    // SAFETY: the caller's promise: a stack has room for so much.
    let got =
        unsafe { bpf_get_stack(ctx.as_ptr(), bytes.cast(), BYTES, u64::from(BPF_F_USER_STACK)) };
    if got > 0 { got as u64 } else { 0 }
}

/// What cannot be read becomes 0: the helper sees to that.
#[inline(always)]
unsafe fn copy_registers(head: *mut StackHead, regs: u64) {
    const SAVED: usize = offset_of!(UserRegisters, rip);
    const BY_PROCESSOR: usize = size_of::<UserRegisters>() - SAVED;
    const _: () = assert!(offset_of!(pt_regs, r15) == 0 && offset_of!(pt_regs, rbx) == SAVED - 8);
    const _: () = assert!(offset_of!(pt_regs, rip) + BY_PROCESSOR == size_of::<pt_regs>());
    // SAFETY: both parts lie within the registers of `head`.
    unsafe {
        let place = (&raw mut (*head).registers).cast::<u8>();
        bpf_probe_read_kernel(place.cast(), SAVED as u32, regs as *const _);
        let regs = regs + offset_of!(pt_regs, rip) as u64;
        bpf_probe_read_kernel(place.add(SAVED).cast(), BY_PROCESSOR as u32, regs as *const _);
    }
}

/// Copies the stack from `from` upwards; returns how many bytes there were.
#[inline(always)]
unsafe fn copy_bytes(bytes: *mut u8, from: u64) -> u64 {
    let first = PAGE - from % PAGE;
    // SAFETY: the caller's promise; a page is less than there is room for.
    if unsafe { bpf_probe_read_user(bytes.cast(), first as u32, from as *const _) } != 0 {
        return 0;
    }
    let mut length = first;
    for _ in 1..STACK_BYTES as u64 / PAGE {
        // SAFETY: the caller's promise.
        if !unsafe { copy_page(bytes, from, length) } {
            break;
        }
        length += PAGE;
    }
    length
}

#[inline(always)]
unsafe fn copy_page(bytes: *mut u8, from: u64, at: u64) -> bool {
    let mut at = at;
    // SAFETY: no instruction; it keeps the compiler from leaving out the check, of which it knows
    // the outcome and older verifiers do not.
    unsafe { core::arch::asm!("", inout("r0") at => at, options(nomem, nostack, preserves_flags)) };
    if at > STACK_BYTES as u64 - PAGE {
        return false;
    }
    // SAFETY: `at` + `PAGE` is within the stack's bytes; the helper checks what it reads.
    unsafe {
        let place = bytes.add(at as usize).cast();
        bpf_probe_read_user(place, PAGE as u32, (from + at) as *const _) == 0
    }
}
