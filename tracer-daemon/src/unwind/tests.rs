#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{fs::File, os::unix::fs::FileExt, path::Path};

use gimli::UnwindContext;
use tracer_common::{STACK_BYTES, UserRegisters};

use super::{
    image::guarded,
    registers::Registers,
    tables::{Step, Tables},
    *,
};
use crate::{
    aggregate::snapshot::Frame,
    census::ProcRoot,
    elf::MOST_BYTES,
    symbolize::{Innermost, Modules, Symbolizer},
};

/// This thread, as the kernel programs would copy it.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn here() -> StackCopy {
    let mut registers = UserRegisters::default();
    // SAFETY: reads registers, and writes to `registers` only.
    unsafe {
        std::arch::asm!(
            "mov [{at} + 0], r15",
            "mov [{at} + 8], r14",
            "mov [{at} + 16], r13",
            "mov [{at} + 24], r12",
            "mov [{at} + 32], rbp",
            "mov [{at} + 40], rbx",
            "lea {ip}, [rip]",
            "mov [{at} + 48], {ip}",
            "mov [{at} + 72], rsp",
            at = in(reg) &raw mut registers,
            ip = out(reg) _,
            options(nostack),
        );
    }
    let mut bytes = vec![0; STACK_BYTES];
    let memory = File::open("/proc/self/mem").unwrap();
    let length = memory.read_at(&mut bytes, registers.rsp).unwrap();
    bytes.truncate(length);
    StackCopy { registers, bytes: bytes.into() }
}

fn own_image() -> Image {
    Image::new(Modules::read(&ProcRoot::default(), std::process::id()).unwrap())
}

fn named(image: &Image, frames: &[u64]) -> Vec<Frame> {
    let places: Vec<_> = frames.iter().map(|&address| image.locate(address)).collect();
    Symbolizer::new().frames(&places, frames, Innermost::Instruction)
}

fn positions(frames: &[Frame], names: &[&str]) -> Vec<Option<usize>> {
    let is = |frame: &Frame, name| frame.symbol.as_deref().is_some_and(|own| own.ends_with(name));
    names.iter().map(|name| frames.iter().position(|frame| is(frame, name))).collect()
}

#[inline(never)]
fn innermost(out: &mut Vec<StackCopy>) -> usize {
    out.push(here());
    out.len()
}

#[inline(never)]
fn middle(out: &mut Vec<StackCopy>) -> usize {
    innermost(out) + 1
}

thread_local! {
    static SEEN: std::cell::RefCell<Vec<StackCopy>> = const { std::cell::RefCell::new(Vec::new()) };
}

extern "C" fn compare_numbers(_: *const libc::c_void, _: *const libc::c_void) -> libc::c_int {
    SEEN.with_borrow_mut(|seen| middle(seen) as libc::c_int)
}

#[inline(never)]
fn outermost() -> StackCopy {
    let mut numbers = [2u32, 1];
    // SAFETY: two elements of four bytes each; the comparison does not look at them.
    unsafe { libc::qsort(numbers.as_mut_ptr().cast(), 2, 4, Some(compare_numbers)) };
    std::hint::black_box(numbers);
    SEEN.with_borrow_mut(|seen| seen.pop().unwrap())
}

#[test]
fn a_known_chain_of_calls_comes_out_through_a_library_without_frame_pointers() {
    let copy = outermost();
    let mut image = own_image();
    let (addresses, unmapped) = image.unwind(&copy, &mut Library::new());
    assert!(!unmapped);
    let frames = named(&image, &addresses);
    let chain = ["innermost", "middle", "compare_numbers", "outermost"];
    let places = positions(&frames, &chain);
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}: {frames:#?}");
    let between = &frames[places[2].unwrap() + 1..places[3].unwrap()];
    let in_libc = |frame: &Frame| frame.module.as_ref().is_some_and(|name| name.contains("libc"));
    assert!(!between.is_empty() && between.iter().all(in_libc), "{frames:#?}");
    // The thread's beginning is the end: nothing is cut off.
    assert!(frames.len() > 10, "{frames:#?}");
}

#[test]
fn what_was_not_copied_is_where_a_stack_ends() {
    let mut copy = outermost();
    let (mut image, mut library) = (own_image(), Library::new());
    let whole = image.unwind(&copy, &mut library).0;
    let mut length = whole.len();
    while !copy.bytes.is_empty() {
        copy.bytes = copy.bytes[..copy.bytes.len() / 2].into();
        let cut = image.unwind(&copy, &mut library).0;
        assert!(cut.len() <= length && whole.starts_with(&cut), "{cut:x?} of {whole:x?}");
        length = cut.len();
    }
    assert_eq!(length, 1, "the instruction itself is known");
    copy.registers = UserRegisters::default();
    assert!(image.unwind(&copy, &mut library).0.is_empty());
    // What the kernel walked by itself is taken as it is.
    copy.bytes = [1u64, 2].into_iter().flat_map(u64::to_le_bytes).collect();
    assert_eq!(image.unwind(&copy, &mut library).0, [1, 2]);
}

#[test]
fn a_stack_that_leads_to_itself_ends() {
    let base = 0x7000_0000;
    let mut image = own_image();
    let code = here().registers.rip;
    // Each word says that the caller's frame is here, or one further down, or anywhere.
    for target in [base, base + 8, base + 0x100, 0, u64::MAX, u64::MAX - 8] {
        let words = [target, code].repeat(STACK_BYTES / 16);
        let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        let registers =
            UserRegisters { rip: code, rsp: base, rbp: base, ..UserRegisters::default() };
        let copy = StackCopy { registers, bytes: bytes.into() };
        assert!(by_frame_pointers(&copy).len() <= MOST_FRAMES);
        assert!(image.unwind(&copy, &mut Library::new()).0.len() <= MOST_FRAMES);
    }
    // An endless one that leads upwards is cut.
    let words: Vec<u64> =
        (0..STACK_BYTES as u64 / 16).flat_map(|frame| [base + 16 * (frame + 1), code]).collect();
    let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    let registers = UserRegisters { rip: code, rsp: base, rbp: base, ..UserRegisters::default() };
    let copy = StackCopy { registers, bytes: bytes.into() };
    assert_eq!(by_frame_pointers(&copy).len(), MOST_FRAMES);
}

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
fn damaged_tables_of_a_real_program_cost_its_callers_only() {
    let exe = std::fs::read("/proc/self/exe").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("damaged");
    let copy = outermost();
    let registers = Registers::from(&copy.registers);
    let mut context = UnwindContext::new();
    for (skip, stride) in [(64, 97), (0x400, 11), (exe.len() / 3, 5)] {
        let mut bad = exe.clone();
        bad.iter_mut().skip(skip).step_by(stride).for_each(|byte| *byte ^= 0x5a);
        std::fs::write(&path, &bad).unwrap();
        let file = File::open(&path).unwrap();
        let Some(tables) = guarded(|| Tables::read(&file)).flatten() else {
            continue;
        };
        for offset in (0..exe.len() as u64).step_by(40_009) {
            let _ = guarded(|| tables.step(offset, &registers, &copy, &mut context));
        }
    }
    // Cut short behind its headers, as a file that is being replaced.
    std::fs::write(&path, &exe[..exe.len() / 8]).unwrap();
    let _ = guarded(|| Tables::read(&File::open(&path).unwrap()));
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

#[test]
fn the_kernels_own_library_and_the_c_library_have_tables() {
    let libc = own_image().locate(libc::malloc as *const () as u64).unwrap();
    assert!(Path::new(&*libc.module).is_absolute());
    assert!(Library::new().tables(&libc).is_some());
    let areas = ProcRoot::default().maps(std::process::id()).unwrap();
    let vdso = areas.iter().find(|area| area.path.as_deref() == Some(Path::new("[vdso]")));
    if let Some(area) = vdso {
        let location = own_image().locate(area.start + 0x400).unwrap();
        assert!(Library::new().tables(&location).is_some());
    }
}
