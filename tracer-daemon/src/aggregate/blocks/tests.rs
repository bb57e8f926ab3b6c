use tracer_common::{AllocationCall, Header, RecordKind};

use super::*;
use crate::aggregate::{snapshot::BlockSum, stack_kind::StackKind};

const PROCESS: ProcessId = ProcessId::new(7, 1);
const SECOND: u64 = 1_000_000_000;

fn id(tid: u32, time_ns: u64) -> SampleId {
    SampleId { time_ns, tid, reserved: 0 }
}

fn record(kind: RecordKind, sample: SampleId, address: u64, time_ns: u64) -> BlockRecord {
    let header = Header { kind: kind as u32, tid: sample.tid, process: PROCESS, time_ns };
    BlockRecord { header, address, sample }
}

fn stack(frame: u64) -> StackKey {
    let kind = StackKind::Allocation(AllocationCall::Malloc);
    StackKey { process: PROCESS, program: 0, kind, frames: vec![frame] }
}

fn sum(blocks: u64, bytes: u64) -> StackSum {
    StackSum { count: blocks, bytes, duration_ns: 0 }
}

/// A call that stands for two blocks of 50 bytes and returns `address`.
fn call(blocks: &mut Blocks, sample: SampleId, address: u64) {
    blocks.sampled(sample, sum(2, 100));
    blocks.born(&record(RecordKind::BlockBorn, sample, address, sample.time_ns + 10));
}

fn free(blocks: &mut Blocks, sample: SampleId, address: u64, time_ns: u64) {
    blocks.ended(&record(RecordKind::BlockEnded, sample, address, time_ns));
}

const fn held(blocks: u64, bytes: u64) -> BlockSum {
    BlockSum { blocks, bytes }
}

#[test]
fn a_block_is_outstanding_until_it_is_freed() {
    let mut blocks = Blocks::default();
    for (thread, address) in [(1, 0x10), (2, 0x20)] {
        call(&mut blocks, id(thread, 100), address);
        blocks.come_from(id(thread, 100), stack(u64::from(thread)));
    }
    free(&mut blocks, id(1, 100), 0x10, 110 + 1000);
    blocks.close(SECOND, true);
    let (first, second) = (blocks.of(&stack(1)), blocks.of(&stack(2)));
    let (first, second) = (first.expect("a stack"), second.expect("a stack"));
    assert_eq!((first.freed, first.outstanding), (held(2, 100), Some(held(0, 0))));
    assert_eq!((second.freed, second.outstanding), (held(0, 0), Some(held(2, 100))));
    // 1,000 ns are less than 2^10.
    assert_eq!(first.lifetimes.len(), 1);
    assert_eq!((first.lifetimes[0].seconds, first.lifetimes[0].blocks), (1024e-9, 2));
    let total = blocks.total();
    assert_eq!((total.freed, total.outstanding), (held(2, 100), Some(held(2, 100))));
    assert_eq!(blocks.samples(), 2);
}

#[test]
fn the_stack_may_come_after_the_end_or_never() {
    let mut blocks = Blocks::default();
    call(&mut blocks, id(1, 100), 0x10);
    free(&mut blocks, id(1, 100), 0x10, 200);
    blocks.come_from(id(1, 100), stack(1));
    call(&mut blocks, id(1, 300), 0x10);
    free(&mut blocks, id(1, 300), 0x10, 400);
    blocks.close(SECOND, true);
    assert_eq!(blocks.of(&stack(1)).map(|totals| totals.freed), Some(held(2, 100)));
    assert_eq!(blocks.total().freed, held(4, 200));
}

#[test]
fn what_got_nothing_or_threw_an_exception_is_no_block() {
    let mut blocks = Blocks::default();
    call(&mut blocks, id(1, 100), 0);
    blocks.sampled(id(1, 200), sum(2, 100));
    call(&mut blocks, id(1, 300), 0x10);
    blocks.come_from(id(1, 200), stack(1));
    blocks.close(SECOND, true);
    assert_eq!(blocks.total().outstanding, Some(held(2, 100)));
    assert_eq!((blocks.samples(), blocks.of(&stack(1))), (1, None));
}

#[test]
fn a_place_that_is_handed_out_again_had_been_given_back() {
    let mut blocks = Blocks::default();
    call(&mut blocks, id(1, 100), 0x10);
    call(&mut blocks, id(1, 200), 0x10);
    // Of the first, which is another one by now.
    free(&mut blocks, id(1, 100), 0x10, 300);
    blocks.close(SECOND, true);
    let total = blocks.total();
    assert_eq!((total.outstanding, total.unknown), (Some(held(2, 100)), held(2, 100)));
    assert_eq!(total.freed, held(0, 0));
}

#[test]
fn without_the_end_of_the_window_nothing_is_outstanding() {
    let mut blocks = Blocks::default();
    call(&mut blocks, id(1, 100), 0x10);
    blocks.close(SECOND, false);
    let total = blocks.total();
    assert_eq!((total.outstanding, total.unknown), (None, held(2, 100)));
    assert_eq!(total.growth.expect("a block came").parts[0].bytes, 100.0);
}

#[test]
fn a_new_program_has_none_of_the_old_ones() {
    let mut blocks = Blocks::default();
    call(&mut blocks, id(1, 100), 0x10);
    blocks.forget(ProcessId::new(8, 1));
    blocks.forget(PROCESS);
    blocks.close(SECOND, true);
    let total = blocks.total();
    assert_eq!((total.outstanding, total.unknown), (Some(held(0, 0)), held(2, 100)));
}

/// A block every 10 ms that stays, and one that is given back after a second and a half.
#[test]
fn growth_is_told_by_time() {
    let begin = 5 * SECOND;
    let mut blocks = Blocks::default();
    blocks.begin(begin);
    let mut freed = Vec::new();
    for round in 0..1600 {
        let at = begin + round * SECOND / 100;
        let is_due = |(_, _, due): &mut (SampleId, u64, u64)| *due <= at;
        for (sample, address, due) in freed.extract_if(.., is_due) {
            free(&mut blocks, sample, address, due);
        }
        let (kept, passing) = (id(1, at), id(2, at));
        call(&mut blocks, kept, 0x1000 + round);
        call(&mut blocks, passing, 0x8000_0000 + round);
        blocks.come_from(kept, stack(1));
        blocks.come_from(passing, stack(2));
        freed.push((passing, 0x8000_0000 + round, at + 3 * SECOND / 2));
    }
    blocks.close(begin + 16 * SECOND, true);
    let growth = |frame| blocks.of(&stack(frame)).and_then(|all| all.growth).expect("blocks came");
    let (kept, passing) = (growth(1), growth(2));
    for part in &kept.parts {
        assert!((part.bytes / part.seconds - 10_000.0).abs() < 500.0, "{kept:?}");
        assert!((part.blocks / part.bytes - 0.02).abs() < 1e-9, "{kept:?}");
    }
    let seconds: f64 = kept.parts.iter().map(|part| part.seconds).sum();
    assert!((seconds - 16.0).abs() < 1e-6, "{kept:?}");
    assert!((passing.parts[0].bytes - 15_000.0).abs() < 500.0, "{passing:?}");
    assert!(passing.parts[1..].iter().all(|part| part.bytes.abs() < 1000.0), "{passing:?}");
    // 400 blocks of a hundred bytes came in each part.
    assert!((kept.parts[1].error - 100.0 * 400f64.sqrt()).abs() < 100.0, "{kept:?}");
}

#[test]
fn a_sampled_resize_belongs_to_its_stack() {
    let mut blocks = Blocks::default();
    let sample = id(1, 100);
    blocks.sampled(sample, sum(2, 400));
    let resized = ResizeRecord {
        header: record(RecordKind::BlockResized, sample, 0, 105).header,
        sample,
        bytes: 200,
        before: 104,
        after: 200,
        resize: Resize::Moved as u32,
        reserved: 0,
    };
    blocks.resized(Resize::Moved, &resized);
    blocks.resized(Resize::Moved, &ResizeRecord { sample: id(9, 9), ..resized });
    blocks.born(&record(RecordKind::BlockBorn, sample, 0x10, 110));
    call(&mut blocks, id(2, 100), 0x20);
    blocks.come_from(sample, stack(1));
    blocks.come_from(id(2, 100), stack(2));
    blocks.close(SECOND, true);
    let sums = blocks.resizes_of(&stack(1)).expect("it was sampled");
    assert_eq!((sums.samples, sums.moved, sums.copied_bytes), (1, 2, 208));
    assert_eq!(blocks.resizes_of(&stack(2)), None);
}
