//! Look-ups of areas and of room for them: each is counted, and few become records. The daemon wants the
//! counts only, of processes: user space could not add up threads that end while it reads them.

use aya_ebpf::{
    EbpfContext,
    macros::{fentry, kprobe, raw_tracepoint},
    programs::{FEntryContext, ProbeContext, RawTracePointContext},
};
use tracer_common::{Lookup, LookupCounts, LookupSample, Loss, ProcessId, RecordKind, Thread};

use crate::{
    emit::{add, emit_in_place, header, kernel_stack, lose, now},
    filter::{current_ids, events_between, process, stack_share, thread},
    kernel::config,
    maps::{LOOKUPS, entry},
};

/// Of a thread's sampled look-ups the first so many come with their user stack, and of the others
/// one in a period.
const FIRST_STACKS: u32 = 8;
const STACK_PERIOD: u32 = 8;

macro_rules! lookup_probes {
    ($($function:ident($argument:literal): $fentry:ident $kprobe:ident;)+) => {$(
        #[fentry]
        fn $fentry(ctx: FEntryContext) -> u32 {
            looked_up(&ctx, Lookup::$function, ctx.arg($argument));
            0
        }
        #[kprobe]
        fn $kprobe(ctx: ProbeContext) -> u32 {
            looked_up(&ctx, Lookup::$function, ctx.arg($argument).unwrap_or(0));
            0
        }
    )+};
}

// The second argument is the address.
lookup_probes! {
    FindVma(1): find_vma_fentry find_vma_kprobe;
    FindVmaIntersection(1): find_vma_intersection_fentry find_vma_intersection_kprobe;
    FindVmaPrev(1): find_vma_prev_fentry find_vma_prev_kprobe;
    LockVmaUnderRcu(1): lock_vma_under_rcu_fentry lock_vma_under_rcu_kprobe;
}

#[fentry]
fn vm_unmapped_area_fentry(ctx: FEntryContext) -> u32 {
    looked_up(&ctx, Lookup::VmUnmappedArea, 0);
    0
}
#[kprobe]
fn vm_unmapped_area_kprobe(ctx: ProbeContext) -> u32 {
    looked_up(&ctx, Lookup::VmUnmappedArea, 0);
    0
}
#[raw_tracepoint]
fn vm_unmapped_area_raw(ctx: RawTracePointContext) -> u32 {
    looked_up(&ctx, Lookup::VmUnmappedArea, 0);
    0
}

#[inline(always)]
fn looked_up(ctx: &impl EbpfContext, function: Lookup, address: u64) {
    if config::whole_machine() != 0 {
        if let Some(process) = process() {
            count(process, function);
        }
        return;
    }
    let Some(thread) = thread() else { return };
    // SAFETY: from the map of threads, checked; only its own thread writes to it, and no look-up is
    // made from an interrupt.
    let thread = unsafe { &mut *thread };
    match function {
        Lookup::FindVma => thread.lookups.calls[0] += 1,
        Lookup::FindVmaIntersection => thread.lookups.calls[1] += 1,
        Lookup::FindVmaPrev => thread.lookups.calls[2] += 1,
        Lookup::LockVmaUnderRcu => thread.lookups.calls[3] += 1,
        Lookup::VmUnmappedArea => thread.lookups.calls[4] += 1,
    }
    if thread.lookup_countdown > 0 {
        thread.lookup_countdown -= 1;
        return;
    }
    let period = config::lookup_period().max(1);
    thread.lookup_countdown = events_between(period);
    sample(ctx, thread, function, address, period);
}

#[inline(always)]
fn sample(
    ctx: &impl EbpfContext,
    thread: &mut Thread,
    function: Lookup,
    address: u64,
    weight: u32,
) {
    let Thread { process, lookup_stacks, lookup_stack_countdown, .. } = thread;
    let share = stack_share(lookup_stacks, lookup_stack_countdown, FIRST_STACKS, STACK_PERIOD);
    let kind = if share == 0 { RecordKind::Lookup } else { RecordKind::LookupStack };
    let (tid, _) = current_ids();
    emit_in_place(ctx, share != 0, Loss::LookupRecords, |place: *mut LookupSample| {
        // SAFETY: `place` is the reserved record, and every field that is read later is written
        // here, frames beyond `depth` excepted.
        unsafe {
            (*place).header = header(kind, *process, tid, now());
            (*place).function = function as u32;
            (*place).weight = weight;
            (*place).address = address;
            (*place).stack_weight = weight * share;
            (*place).depth = kernel_stack(ctx, &raw mut (*place).frames);
        }
    });
}

/// Keeps what a thread counted, for its entry is about to go.
#[inline(always)]
pub fn keep(process: ProcessId, counts: &LookupCounts) {
    if counts.calls.iter().all(|calls| *calls == 0) {
        return;
    }
    let Some(sum) = sums(process) else { return };
    for (at, calls) in counts.calls.iter().enumerate() {
        // SAFETY: both arrays have the same length.
        add(unsafe { sum.add(at) }, *calls);
    }
}

#[inline(always)]
fn count(process: ProcessId, function: Lookup) {
    if let Some(sum) = sums(process) {
        // SAFETY: there is a sum for each function.
        add(unsafe { sum.add(function as usize) }, 1);
    }
}

/// The first of a process's sums, in the order of [`Lookup::ALL`].
#[inline(always)]
fn sums(process: ProcessId) -> Option<*mut u64> {
    let none = LookupCounts { calls: [0; Lookup::ALL.len()] };
    let Some(sum) = entry(&LOOKUPS, &process, &none) else {
        lose(Loss::CounterTable);
        return None;
    };
    // SAFETY: from the map, checked.
    Some(unsafe { (&raw mut (*sum).calls).cast() })
}
