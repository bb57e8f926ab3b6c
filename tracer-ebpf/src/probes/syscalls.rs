//! `__x64_sys_*`, or the tracepoints of `raw_syscalls` or `syscalls`.

use aya_ebpf::{
    bindings::pt_regs,
    macros::{btf_tracepoint, fentry, fexit, kprobe, raw_tracepoint, tracepoint},
    programs::{
        BtfTracePointContext, FEntryContext, FExitContext, ProbeContext, RawTracePointContext,
        TracePointContext,
    },
};
use tracer_common::{Syscall, USER_CS_64};

use crate::{
    filter::control,
    inflight::{enter, exit, exit_any},
    kernel::{offset, registers},
};

/// A call begins; the kernel function's only argument points to the user's registers.
#[inline(always)]
fn enter_with(syscall: Syscall, regs: *const pt_regs) {
    if let Some(regs) = registers(regs) {
        enter(syscall, [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8]);
    }
}

#[inline(always)]
fn enter_tracepoint(syscall: Syscall, ctx: &TracePointContext) {
    // SAFETY: the helper checks what it reads; the offset comes from the tracepoint's format.
    if let Ok(args) = unsafe { ctx.read_at(offset::sys_enter_args() as usize) } {
        enter(syscall, args);
    }
}

#[inline(always)]
fn exit_tracepoint(syscall: Syscall, ctx: &TracePointContext) {
    // SAFETY: see above.
    if let Ok(result) = unsafe { ctx.read_at(offset::sys_exit_ret() as usize) } {
        exit(ctx, syscall, result, 0);
    }
}

/// `raw_syscalls:sys_enter`, which every system call of the machine passes.
#[btf_tracepoint]
fn syscalls_enter_btf(ctx: BtfTracePointContext) -> u32 {
    let regs = ctx.arg::<*const pt_regs>(0);
    if let Some(syscall) = served(ctx.arg(1)) {
        // SAFETY: the verifier knows the argument for a `pt_regs` and makes every access safe.
        let (args, cs) = unsafe {
            let args = [(*regs).rdi, (*regs).rsi, (*regs).rdx, (*regs).r10, (*regs).r8];
            (args, (*regs).cs)
        };
        if cs == USER_CS_64 {
            enter(syscall, args);
        }
    }
    0
}

/// `raw_syscalls:sys_exit`.
#[btf_tracepoint]
fn syscalls_exit_btf(ctx: BtfTracePointContext) -> u32 {
    let regs = ctx.arg::<*const pt_regs>(0);
    // SAFETY: as above.
    if let Some(syscall) = served(unsafe { (*regs).orig_rax }) {
        exit(&ctx, syscall, ctx.arg(1), 0);
    }
    0
}

/// `raw_syscalls:sys_exit` once more, behind the kprobes. A return probe would be the obvious
/// partner of an entry probe, but the kernel keeps only a few of them at work at once: where threads
/// wait in a call, as they do for a contended lock, the returns of the others go unseen.
#[raw_tracepoint]
fn syscalls_exit_raw(ctx: RawTracePointContext) -> u32 {
    exit_any(&ctx, ctx.arg(1));
    0
}

/// The call of this number, if these programs are to serve it.
#[inline(always)]
fn served(number: u64) -> Option<Syscall> {
    let syscall = Syscall::from_x86_64(number)?;
    (control()?.syscalls >> syscall as u32 & 1 == 1).then_some(syscall)
}

macro_rules! syscall_probes {
    ($($syscall:ident: $fentry:ident $fexit:ident $kprobe:ident $first:ident $second:ident
        $third:ident $enter:ident $exit:ident;)+) => {$(
        #[fentry]
        fn $fentry(ctx: FEntryContext) -> u32 {
            enter_with(Syscall::$syscall, ctx.arg(0));
            0
        }
        #[fexit]
        fn $fexit(ctx: FExitContext) -> u32 {
            // The result stands behind the arguments; `bpf_get_func_ret` came with 5.17 only.
            exit(&ctx, Syscall::$syscall, ctx.arg(1), 0);
            0
        }
        #[fexit]
        fn $first(ctx: FExitContext) -> u32 {
            exit(&ctx, Syscall::$syscall, ctx.arg(1), 1);
            0
        }
        #[fexit]
        fn $second(ctx: FExitContext) -> u32 {
            exit(&ctx, Syscall::$syscall, ctx.arg(1), 2);
            0
        }
        #[fexit]
        fn $third(ctx: FExitContext) -> u32 {
            exit(&ctx, Syscall::$syscall, ctx.arg(1), 3);
            0
        }
        #[kprobe]
        fn $kprobe(ctx: ProbeContext) -> u32 {
            enter_with(Syscall::$syscall, ctx.arg(0).unwrap_or(core::ptr::null()));
            0
        }
        #[tracepoint]
        fn $enter(ctx: TracePointContext) -> u32 {
            enter_tracepoint(Syscall::$syscall, &ctx);
            0
        }
        #[tracepoint]
        fn $exit(ctx: TracePointContext) -> u32 {
            exit_tracepoint(Syscall::$syscall, &ctx);
            0
        }
    )+};
}

syscall_probes! {
    Mmap: mmap_fentry mmap_fexit mmap_kprobe mmap_fexit_1 mmap_fexit_2
        mmap_fexit_3 mmap_enter mmap_exit;
    Munmap: munmap_fentry munmap_fexit munmap_kprobe munmap_fexit_1 munmap_fexit_2
        munmap_fexit_3 munmap_enter munmap_exit;
    Mremap: mremap_fentry mremap_fexit mremap_kprobe mremap_fexit_1 mremap_fexit_2
        mremap_fexit_3 mremap_enter mremap_exit;
    Mprotect: mprotect_fentry mprotect_fexit mprotect_kprobe mprotect_fexit_1 mprotect_fexit_2
        mprotect_fexit_3 mprotect_enter mprotect_exit;
    Brk: brk_fentry brk_fexit brk_kprobe brk_fexit_1 brk_fexit_2
        brk_fexit_3 brk_enter brk_exit;
    Madvise: madvise_fentry madvise_fexit madvise_kprobe madvise_fexit_1 madvise_fexit_2
        madvise_fexit_3 madvise_enter madvise_exit;
}
