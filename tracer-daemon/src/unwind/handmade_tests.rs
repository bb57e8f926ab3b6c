//! Tables that were made for the test, byte by byte.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::File;

use gimli::UnwindContext;
use tracer_common::UserRegisters;

use super::{StackCopy, frame::Step, image::guarded, registers::Registers, tables::Tables};
use crate::elf::MOST_BYTES;

/// A program of one segment at 0x1000, with an `.eh_frame` of one function that covers it.
fn program(cfa: &[u8]) -> Vec<u8> {
    let mut common = vec![0, 0, 0, 0, 1, 0, 1, 0x78, 16];
    common.extend(cfa);
    // The return address is at CFA − 8.
    common.extend([0x90, 1]);
    let mut frame = (common.len() as u32).to_le_bytes().to_vec();
    frame.extend(&common);
    let function = frame.len() as u32 + 4;
    frame.extend(20u32.to_le_bytes());
    frame.extend(function.to_le_bytes());
    frame.extend(0x1000u64.to_le_bytes());
    frame.extend(0x1000u64.to_le_bytes());
    elf(&frame)
}

/// Header, a program header, the section, its name, three section headers.
fn elf(frame: &[u8]) -> Vec<u8> {
    let names = b"\0.eh_frame\0";
    let (at, names_at) = (120, 120 + frame.len() as u64);
    let sections_at = names_at + names.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".to_vec();
    file.extend([0, 64, sections_at].into_iter().flat_map(u64::to_le_bytes));
    file.extend(0u32.to_le_bytes());
    file.extend([64u16, 56, 1, 64, 3, 2].into_iter().flat_map(u16::to_le_bytes));
    file.extend([1u32, 5].into_iter().flat_map(u32::to_le_bytes));
    let load = [0u64, 0x1000, 0x1000, 0x1000, 0x1000, 0x1000];
    file.extend(load.into_iter().flat_map(u64::to_le_bytes));
    file.extend(frame);
    file.extend(names);
    file.extend([0; 64]);
    for (name, address, offset, size) in
        [(1u32, 0x5000u64, at, frame.len()), (0, 0, names_at, names.len())]
    {
        file.extend([name, 1].into_iter().flat_map(u32::to_le_bytes));
        let fields = [0, address, offset, size as u64, 0, 1, 0];
        file.extend(fields.into_iter().flat_map(u64::to_le_bytes));
    }
    file
}

fn step(file: &[u8], stack: &StackCopy) -> Option<Step> {
    let registers = Registers::from(&stack.registers);
    Some(Tables::read(file)?.step(0x10, &registers, stack, &mut UnwindContext::new()))
}

fn one_call() -> StackCopy {
    let registers = UserRegisters { rip: 0x1010, rsp: 0x7000, ..UserRegisters::default() };
    let words = [0x7010, 0x1234, 0x5678, 0x9abc];
    StackCopy { registers, bytes: words.into_iter().flat_map(u64::to_le_bytes).collect() }
}

#[test]
fn a_frame_is_what_its_table_says() {
    let caller = |cfa: &[u8]| match step(&program(cfa), &one_call()) {
        Some(Step::Caller { registers, .. }) => Some((registers.ip(), registers.sp())),
        _ => None,
    };
    // DW_CFA_def_cfa: rsp + 16.
    assert_eq!(caller(&[0x0c, 7, 16]), Some((0x1234, 0x7010)));
    // DW_CFA_def_cfa_expression: the word at the top, plus 8 (DW_OP_breg7 0, deref, plus_uconst).
    assert_eq!(caller(&[0x0f, 5, 0x77, 0, 0x06, 0x23, 8]), Some((0x5678, 0x7018)));
}

#[test]
fn an_expression_that_never_ends_does() {
    // DW_OP_skip back to itself; DW_OP_dup, skip; a register again and again.
    for code in
        [&[0x2f, 0xfd, 0xff][..], &[0x30, 0x12, 0x2f, 0xfc, 0xff], &[0x77, 0, 0x2f, 0xfb, 0xff]]
    {
        let cfa = [&[0x0f, code.len() as u8], code].concat();
        assert_eq!(step(&program(&cfa), &one_call()), Some(Step::Unknown), "{code:x?}");
    }
}

#[test]
fn no_damage_is_more_than_a_loss() {
    let whole = program(&[0x0c, 7, 16]);
    let stack = one_call();
    for length in 0..whole.len() {
        let _ = guarded(|| step(&whole[..length], &stack));
    }
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bad = whole.clone();
            bad[at] = value;
            let _ = guarded(|| step(&bad, &stack));
        }
        // Sizes, offsets and counts beyond everything.
        let mut bad = whole.clone();
        let end = (at + 8).min(bad.len());
        bad[at..end].fill(0xff);
        let _ = guarded(|| step(&bad, &stack));
    }
}

#[test]
fn tables_beyond_the_limit_are_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("huge");
    let mut bytes = program(&[0x0c, 7, 16]);
    let sections = u64::from_le_bytes(bytes[40..48].try_into().unwrap()) as usize;
    // The section's size, and a file that is really as long, though it has holes for content.
    let size = sections + 64 + 32;
    bytes[size..size + 8].copy_from_slice(&(MOST_BYTES + 1).to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    let file = File::options().write(true).read(true).open(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    assert!(Tables::read(&file).is_none());
    bytes[size..size + 8].copy_from_slice(&u64::MAX.to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    assert!(Tables::read(&File::open(&path).unwrap()).is_none());
}
