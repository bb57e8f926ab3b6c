//! What a call asked for against what it got: blocks that were to have another size, and failures.

use aya_ebpf::helpers::bpf_probe_read_user;
use tracer_common::{
    AllocationCall, Asked, ChunkHeader, Loss, RecordKind, Resize, ResizeRecord, SampleId, Site,
    Thread, copied,
};

use crate::{
    emit::{add, emit, header, now},
    filter::current_ids,
    maps::{ALLOCATIONS, RESIZES},
};

/// A call begins that asks for so many bytes; `first` is its first argument.
#[inline(always)]
pub fn ask(thread: &mut Thread, site: &Site, call: AllocationCall, bytes: u64, first: u64) {
    let asked = &mut thread.asked;
    (asked.bytes, asked.block) = (bytes, first);
    if call.resizes() {
        asked.header = chunk_header(site, first);
        asked.what = Asked::RESIZE;
    } else if matches!(call, AllocationCall::PosixMemalign) {
        asked.what = Asked::PLACED;
    } else {
        asked.what = Asked::BLOCK;
    }
}

/// The address of the block that the call under way has got, from what it returns; 0: none.
#[inline(always)]
pub fn block(thread: &Thread, returned: u64) -> u64 {
    if thread.asked.what != Asked::PLACED {
        return returned;
    }
    // An `int`.
    if returned as u32 != 0 {
        return 0;
    }
    // SAFETY: the helper checks the address and fails on one that cannot be read.
    unsafe { bpf_probe_read_user(thread.asked.block as *const u64) }.unwrap_or(0)
}

/// It returns this.
#[inline(always)]
pub fn answer(thread: &mut Thread, site: &Site, address: u64) {
    let asked = thread.asked;
    thread.asked.what = Asked::NOTHING;
    if asked.what == Asked::NOTHING {
        return;
    }
    let call = thread.allocation_call.wrapping_sub(1);
    if address == 0
        && asked.bytes != 0
        && let Some(counter) = ALLOCATIONS.get_ptr_mut(call)
    {
        // SAFETY: from the map, checked.
        add(unsafe { &raw mut (*counter).failures }, 1);
    }
    if asked.what == Asked::RESIZE {
        let after = chunk_header(site, address);
        let resize = asked.resized(address, after);
        count(call, &asked, resize, after.usable());
        if thread.sampled_ns != 0 && address != 0 {
            record(thread, &asked, resize, after.usable());
        }
    }
}

#[inline(always)]
fn chunk_header(site: &Site, block: u64) -> ChunkHeader {
    if site.has_headers == 0 || block == 0 {
        return ChunkHeader(0);
    }
    // SAFETY: the helper checks the address and fails on one that cannot be read.
    let size = unsafe { bpf_probe_read_user(block.wrapping_sub(8) as *const u64) };
    ChunkHeader(size.unwrap_or(0))
}

#[inline(always)]
fn count(call: u32, asked: &Asked, resize: Resize, after: u64) {
    let Some(counter) = RESIZES.get_ptr_mut(call) else { return };
    let before = asked.header.usable();
    let has_sizes = after != 0 && (before != 0 || asked.block == 0);
    // SAFETY: from the map, checked; there are as many counts as numbers of a resize.
    unsafe {
        add((&raw mut (*counter).calls).cast::<u64>().add(resize as usize), 1);
        if has_sizes && after > before {
            add(&raw mut (*counter).grown, after - before);
        }
        if matches!(resize, Resize::Moved) {
            if before != 0 {
                add(&raw mut (*counter).copied, copied(before, asked.bytes));
            } else {
                add(&raw mut (*counter).unsized_moves, 1);
                add(&raw mut (*counter).unsized_bytes, asked.bytes);
            }
        }
    }
}

#[inline(always)]
fn record(thread: &Thread, asked: &Asked, resize: Resize, after: u64) {
    let (tid, _) = current_ids();
    emit(
        || ResizeRecord {
            header: header(RecordKind::BlockResized, thread.process, tid, now()),
            sample: SampleId { time_ns: thread.sampled_ns, tid, reserved: 0 },
            bytes: asked.bytes,
            before: asked.header.usable(),
            after,
            resize: resize as u32,
            reserved: 0,
        },
        Loss::BlockRecords,
    );
}
