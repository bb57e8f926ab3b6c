//! Calls of a process's allocator, by uprobes that user space placed.

use aya_ebpf::{helpers::bpf_probe_read_user, macros::uprobe, programs::ProbeContext};
use tracer_common::{
    AllocationCall, AllocationCounter, AllocationKey, AllocationSample, ExactSizeKey,
    LARGEST_EXACT_SIZE, Loss, ProbeCost, RecordKind, SIZE_CLASSES, Site, SiteKey, Thread,
    exponential_gap, size_class, suitable_gap,
};

use crate::{
    emit::{Wake, add, below, emit_with_stack, has_room_for_stack, header, lose, now},
    filter::{control, current_ids, random, thread},
    maps::{ALLOCATIONS, EXACT_SIZES, NO_PROGRAMS, PROBE_HITS, SITES, entry},
};

/// Too large for the program's stack, so that new entries are copied from here.
#[unsafe(no_mangle)]
static NO_ALLOCATIONS: AllocationCounter = AllocationCounter::NONE;

#[uprobe]
fn allocator_called(ctx: ProbeContext) -> u32 {
    let (_, pid) = current_ids();
    // SAFETY: the kernel hands the program valid registers.
    let (address, stack) = unsafe { ((*ctx.regs).rip, (*ctx.regs).rsp) };
    let key = SiteKey { address, pid, reserved: 0 };
    // SAFETY: user space writes an entry once and never changes it.
    let Some(site) = (unsafe { SITES.get(&key) }) else {
        hit(ProbeCost::Stepped as u32); // It may be; the budget has to hold.
        lose(Loss::UnknownPlaces);
        // SAFETY: nothing happens; see the map.
        unsafe { NO_PROGRAMS.tail_call(&ctx, 0) };
        return 0;
    };
    hit(site.cost);
    let Some(control) = control().filter(|control| control.allocations != 0) else { return 0 };
    let Some(thread) = thread() else { return 0 };
    // SAFETY: from the map of threads, checked; only its own thread writes to it.
    let thread = unsafe { &mut *thread };
    if is_new(thread, site, stack.wrapping_add(u64::from(site.pushed)))
        && let Some(call) = AllocationCall::from_u32(site.call)
    {
        let argument = |index| ctx.arg::<u64>(index).unwrap_or(0);
        let bytes = call.bytes([argument(0), argument(1), argument(2)]);
        count(thread, site, bytes);
        if let Some(bytes) = bytes {
            sample(&ctx, thread, site, bytes, control.allocation_gap);
        }
    }
    0
}

/// Every hit costs the target, whether it is a call of the program or not.
#[inline(always)]
fn hit(cost: u32) {
    if let Some(hits) = PROBE_HITS.get_ptr_mut(cost) {
        add(hits, 1);
    }
}

/// Whether the program made this call, or the allocator did in the course of another: by a call from
/// its own functions, or by a jump at the end of one. `stack` is the stack pointer at the entry.
#[inline(always)]
fn is_new(thread: &mut Thread, site: &Site, stack: u64) -> bool {
    // SAFETY: the helper checks the address and fails on one that cannot be read.
    let back = unsafe { bpf_probe_read_user(stack as *const u64) }.unwrap_or(0);
    if (site.code_start..site.code_end).contains(&back) {
        return false;
    }
    let outer = thread.allocation_call.checked_sub(1).and_then(AllocationCall::from_u32);
    let is_same_call = (thread.allocation_stack, thread.allocation_return) == (stack, back)
        && outer.is_some_and(|outer| outer.may_end_in(site.call));
    if !is_same_call {
        thread.allocation_stack = stack;
        thread.allocation_return = back;
        thread.allocation_call = site.call + 1;
    }
    !is_same_call
}

/// Takes the stack of the call that asks for the byte to be sampled.
#[inline(always)]
fn sample(ctx: &ProbeContext, thread: &mut Thread, site: &Site, bytes: u64, wanted: u32) {
    if thread.allocation_countdown == 0 {
        let suitable = suitable_gap(thread.allocation_gap, thread.allocation_calls);
        thread.allocation_gap = if wanted == 0 { suitable } else { wanted };
        thread.allocation_countdown = exponential_gap(random(), thread.allocation_gap);
        thread.allocation_calls = 0;
    }
    thread.allocation_calls += 1;
    if bytes < u64::from(thread.allocation_countdown) {
        thread.allocation_countdown -= bytes as u32;
        return;
    }
    thread.allocation_countdown = 0;
    if !has_room_for_stack() {
        lose(Loss::AllocationRecords);
        return;
    }
    hit(ProbeCost::Sampled as u32);
    let (tid, _) = current_ids();
    let header = header(RecordKind::AllocationStack, thread.process, tid, now());
    let sample = AllocationSample { header, bytes, call: site.call, gap: thread.allocation_gap };
    emit_with_stack(ctx, sample, Loss::AllocationRecords, Wake::Later);
}

#[inline(always)]
fn count(thread: &Thread, site: &Site, bytes: Option<u64>) {
    let key = AllocationKey { process: thread.process, call: site.call, reserved: 0 };
    let Some(counter) = entry(&ALLOCATIONS, &key, &NO_ALLOCATIONS) else {
        lose(Loss::CounterTable);
        return;
    };
    // SAFETY: from the map, checked; the class's index is below their number.
    unsafe {
        add(&raw mut (*counter).calls, 1);
        if let Some(bytes) = bytes {
            add(&raw mut (*counter).bytes, bytes);
            let class = below::<SIZE_CLASSES>(size_class(bytes));
            add((&raw mut (*counter).sizes).cast::<u64>().add(class), 1);
        }
    }
    if let Some(bytes) = bytes.filter(|bytes| *bytes <= LARGEST_EXACT_SIZE) {
        count_size(thread, site, bytes as u32);
    }
}

#[inline(always)]
fn count_size(thread: &Thread, site: &Site, bytes: u32) {
    let key = ExactSizeKey { process: thread.process, call: site.call, bytes };
    match entry(&EXACT_SIZES, &key, &0) {
        Some(calls) => add(calls, 1),
        None => lose(Loss::AllocationSizes),
    }
}
