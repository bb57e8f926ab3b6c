//! Calls of a process's allocator, by uprobes that user space placed.

mod resizes;

use aya_ebpf::{
    helpers::{bpf_get_smp_processor_id, bpf_probe_read_user},
    macros::uprobe,
    programs::ProbeContext,
};
use tracer_common::{
    AllocationCall, AllocationSample, Asked, BlockKey, BlockRecord, Branch, Control, Counting,
    ExactSizes, HitCounter, LARGEST_EXACT_SIZE, Loss, ProcessId, RecordKind, SIZE_CLASSES,
    SampleId, Site, SiteKey, Thread, exponential_gap, size_class, suitable_gap,
};

use crate::{
    emit::{Wake, add, below, emit, emit_with_stack, has_room_for_stack, header, lose, now},
    filter::{control, current_ids, random, thread},
    kernel::config,
    maps::{ALLOCATIONS, BLOCKS, EXACT_SIZES, NO_PROGRAMS, PROBE_HITS, SITES},
};

#[uprobe]
fn allocator_called(ctx: ProbeContext) -> u32 {
    let Some((site, stack)) = place(&ctx) else { return 0 };
    let Some(control) = control().filter(|control| control.allocations != Counting::Off as u32)
    else {
        return 0;
    };
    let Some(thread) = thread() else { return 0 };
    // SAFETY: from the map of threads, checked; only its own thread writes to it.
    let thread = unsafe { &mut *thread };
    if let Some(call) = AllocationCall::from_u32(site.call)
        && is_new(thread, site, stack)
    {
        let argument = |index| ctx.arg::<u64>(index).unwrap_or(0);
        let arguments = [argument(0), argument(1), argument(2)];
        let (bytes, block) = (call.bytes(arguments), call.block(arguments).unwrap_or(0));
        // Whatever call was under way before has thrown an exception instead of returning.
        thread.sampled_ns = 0;
        thread.asked.what = Asked::NOTHING;
        let kept = u64::from(control.allocations == Counting::On as u32);
        count(call, bytes, block, kept);
        if control.blocks != 0 && block != 0 {
            block_ends(thread, block);
        }
        if let Some(bytes) = bytes {
            if control.blocks != 0 {
                resizes::ask(thread, site, call, bytes, arguments[0]);
            }
            sample(&ctx, thread, site, bytes, control);
        }
    }
    if site.branch != 0 {
        goes_on(thread, site, stack.wrapping_sub(u64::from(site.pushed)));
    }
    0
}

/// At an instruction behind which a function only returns.
#[uprobe]
fn allocator_returned(ctx: ProbeContext) -> u32 {
    let Some((site, stack)) = place(&ctx) else { return 0 };
    if control().is_none_or(|control| control.blocks == 0) {
        return 0;
    }
    let Some(thread) = thread() else { return 0 };
    // SAFETY: from the map of threads, checked; only its own thread writes to it.
    let thread = unsafe { &mut *thread };
    // The calls that the allocator makes meanwhile return further down the stack.
    if thread.allocation_stack == stack {
        // SAFETY: the kernel hands the program valid registers.
        let address = resizes::block(thread, unsafe { (*ctx.regs).rax });
        resizes::answer(thread, site, address);
        if thread.sampled_ns != 0 {
            block_is_born(thread, address);
            thread.sampled_ns = 0;
        }
    }
    0
}

/// The place that was hit, and the stack pointer at the entry of the function that it is in.
#[inline(always)]
fn place(ctx: &ProbeContext) -> Option<(&'static Site, u64)> {
    // SAFETY: the kernel hands the program valid registers.
    let (address, stack) = unsafe { ((*ctx.regs).rip, (*ctx.regs).rsp) };
    let key = SiteKey { address, pid: current_ids().1, reserved: 0 };
    let Some(site) = known_site(key) else {
        hit(HitCounter::Stepped as u32); // It may be; the budget has to hold.
        lose(Loss::UnknownPlaces);
        // SAFETY: nothing happens; see the map.
        unsafe { NO_PROGRAMS.tail_call(ctx, 0) };
        return None;
    };
    hit(site.counter);
    Some((site, stack.wrapping_add(u64::from(site.pushed))))
}

#[inline(always)]
fn known_site(key: SiteKey) -> Option<&'static Site> {
    for attempt in 0..SiteKey::TRIES {
        // User space writes a slot once, before there is a probe that asks for it, and never changes it.
        let placed = SITES.get(key.slot(attempt))?;
        if placed.key == key {
            return Some(&placed.site);
        }
    }
    None
}

/// Every hit costs the target, whether it is a call of the program or not.
#[inline(always)]
fn hit(counter: u32) {
    if let Some(hits) = PROBE_HITS.get_ptr_mut(counter) {
        add(hits, 1);
    }
}

/// Whether the program made this call, or the allocator did in the course of another: by a call from
/// its own functions, or by a jump at the end of one. `stack` is the stack pointer at the entry.
#[inline(always)]
fn is_new(thread: &mut Thread, site: &Site, stack: u64) -> bool {
    let branch = core::mem::take(&mut thread.allocation_branch);
    if branch == stack {
        return false;
    }
    let is_jump = branch == stack | JUMPS;
    let mut back = 0;
    // To read it takes as long as all that is done without.
    if site.sees_branches == 0 || is_jump {
        // SAFETY: the helper checks the address and fails on one that cannot be read.
        back = unsafe { bpf_probe_read_user(stack as *const u64) }.unwrap_or(0);
        let outer = thread.allocation_call.checked_sub(1).and_then(AllocationCall::from_u32);
        let is_same_call = thread.allocation_stack == stack
            && (is_jump || thread.allocation_return == back)
            && outer.is_some_and(|outer| outer.may_end_in(site.call));
        if is_same_call || (site.code_start..site.code_end).contains(&back) {
            return false;
        }
    }
    thread.allocation_stack = stack;
    thread.allocation_return = back;
    thread.allocation_call = site.call + 1;
    true
}

/// See [`Thread::allocation_branch`]. Stack pointers are even.
const JUMPS: u64 = 1;

/// The allocator goes from here to one of its functions.
#[inline(always)]
fn goes_on(thread: &mut Thread, site: &Site, pointer: u64) {
    thread.allocation_branch = if site.branch == Branch::Call as u32 {
        pointer.wrapping_sub(size_of::<u64>() as u64)
    } else {
        pointer | JUMPS
    };
}

/// Takes the stack of the call that asks for the byte to be sampled.
#[inline(always)]
fn sample(ctx: &ProbeContext, thread: &mut Thread, site: &Site, bytes: u64, control: &Control) {
    if thread.allocation_countdown == 0 {
        let suitable = suitable_gap(thread.allocation_gap, thread.allocation_calls);
        let wanted = control.allocation_gap;
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
    if control.allocations != Counting::On as u32 {
        return;
    }
    if !has_room_for_stack() {
        lose(Loss::AllocationRecords);
        return;
    }
    hit(HitCounter::Sampled as u32);
    let (tid, _) = current_ids();
    let header = header(RecordKind::AllocationStack, thread.process, tid, now());
    thread.sampled_ns = header.time_ns;
    let sample = AllocationSample { header, bytes, call: site.call, gap: thread.allocation_gap };
    emit_with_stack(ctx, sample, Loss::AllocationRecords, Wake::Later);
}

/// Adds `kept`, 0 or 1, times what the call counts.
#[inline(always)]
fn count(call: AllocationCall, bytes: Option<u64>, block: u64, kept: u64) {
    let Some(counter) = ALLOCATIONS.get_ptr_mut(call as u32) else { return };
    // SAFETY: from the map, checked; the class's index is below their number.
    unsafe {
        add(&raw mut (*counter).calls, kept);
        if block != 0 {
            add(&raw mut (*counter).ended, kept);
        }
        if let Some(bytes) = bytes {
            add(&raw mut (*counter).bytes, kept * bytes);
            let class = below::<SIZE_CLASSES>(size_class(bytes));
            add((&raw mut (*counter).sizes).cast::<u64>().add(class), kept);
        }
    }
    if let Some(bytes) = bytes.filter(|bytes| *bytes <= LARGEST_EXACT_SIZE) {
        count_size(call, bytes as u32, kept);
    }
}

#[inline(always)]
fn count_size(call: AllocationCall, bytes: u32, kept: u64) {
    // SAFETY: no arguments, cannot fail.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let (entry, size) = ExactSizes::place(cpu & config::exact_size_mask(), call as u32, bytes);
    if let Some(sizes) = EXACT_SIZES.get_ptr_mut(entry) {
        let size = below::<{ ExactSizes::SIZES }>(size);
        // SAFETY: from the map, checked; the index is below their number.
        add(unsafe { (&raw mut (*sizes).calls).cast::<u64>().add(size) }, kept);
    }
}

/// The sampled call of this thread has its result.
#[inline(always)]
fn block_is_born(thread: &Thread, address: u64) {
    let (tid, _) = current_ids();
    let sample = SampleId { time_ns: thread.sampled_ns, tid, reserved: 0 };
    let key = BlockKey { process: thread.process, address };
    if address != 0 {
        // SAFETY: nothing is read from the entry.
        if unsafe { BLOCKS.get(&key) }.is_some() {
            lose(Loss::MissedEnd);
        }
        if BLOCKS.insert(&key, &sample, 0).is_err() {
            lose(Loss::BlockTable);
            return;
        }
    }
    emit_block(RecordKind::BlockBorn, thread.process, address, sample);
}

/// A block goes. A `realloc` that fails keeps it, which is not waited for.
#[inline(always)]
fn block_ends(thread: &Thread, address: u64) {
    let key = BlockKey { process: thread.process, address };
    // SAFETY: copied at once. Nobody else is handed the address before this call has given it back.
    let Some(sample) = (unsafe { BLOCKS.get(&key) }).copied() else { return };
    let _ = BLOCKS.remove(&key);
    emit_block(RecordKind::BlockEnded, thread.process, address, sample);
}

#[inline(always)]
fn emit_block(kind: RecordKind, process: ProcessId, address: u64, sample: SampleId) {
    let header = header(kind, process, current_ids().0, now());
    emit(|| BlockRecord { header, address, sample }, Loss::BlockRecords);
}
