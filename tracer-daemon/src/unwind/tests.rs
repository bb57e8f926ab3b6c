#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{fs::File, num::NonZeroU32, os::unix::fs::FileExt, path::Path};

use gimli::UnwindContext;
use tracer_common::{STACK_BYTES, UserRegisters};

use super::{image::guarded, registers::Registers, tables::Tables, *};
use crate::{
    census::ProcRoot,
    parser::message::{Code, FileId, Mapping, Name},
    symbolize::{ElfFile, ElfNames, Modules},
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

/// The code of this process, with the tables of its files.
struct Own {
    image: Image,
    library: Library,
    modules: Modules,
    files: Vec<File>,
}

impl Own {
    fn new() -> Self {
        let modules = Modules::read(&ProcRoot::default(), std::process::id()).unwrap();
        let mut library = Library::new(Vdso::read(), |_| ());
        let mut files = Vec::new();
        let mappings = modules.iter().map(|(start, end, location)| {
            let file = location.and_then(|location| ElfFile::find(location)?.open());
            let code = match (location, file) {
                (Some(location), Some(file)) => {
                    files.push(file);
                    let id = FileId(NonZeroU32::new(files.len() as u32).unwrap());
                    library.add(id, files.last().unwrap());
                    Code::File(id, location.file_offset)
                }
                (Some(location), None) if &*location.module == Path::new("[vdso]") => {
                    Code::Vdso(location.file_offset)
                }
                _ => Code::Elsewhere,
            };
            Mapping { start, end, code }
        });
        let image = Image::new(mappings.collect());
        Self { image, library, modules, files }
    }

    fn unwind(&mut self, copy: &StackCopy) -> (Vec<u64>, bool) {
        self.image.unwind(copy, &mut self.library)
    }

    /// The names of an address, and whether it is in the C library.
    fn names(&self, names: &mut ElfNames, address: u64) -> Vec<(Name, bool)> {
        let (Some(Code::File(id, offset)), Some(location)) =
            (self.image.code(address), self.modules.locate(address))
        else {
            return vec![(Name::default(), false)];
        };
        let in_libc = location.module.to_string_lossy().contains("libc");
        let file = &self.files[id.0.get() as usize - 1];
        let found = names.names(id, file, offset - 1).filter(|names| !names.is_empty());
        found.unwrap_or_else(|| vec![Name::default()]).into_iter().map(|it| (it, in_libc)).collect()
    }
}

fn positions(frames: &[(Name, bool)], names: &[&str]) -> Vec<Option<usize>> {
    let is = |frame: &Name, name| frame.symbol.as_deref().is_some_and(|own| own.ends_with(name));
    names.iter().map(|name| frames.iter().position(|(frame, _)| is(frame, name))).collect()
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
    let mut own = Own::new();
    let (addresses, unmapped) = own.unwind(&copy);
    assert!(!unmapped);
    let mut names = ElfNames::default();
    let frames: Vec<_> =
        addresses.iter().flat_map(|address| own.names(&mut names, *address)).collect();
    let chain = ["innermost", "middle", "compare_numbers", "outermost"];
    let places = positions(&frames, &chain);
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}: {frames:#?}");
    let between = &frames[places[2].unwrap() + 1..places[3].unwrap()];
    assert!(!between.is_empty() && between.iter().all(|(_, in_libc)| *in_libc), "{frames:#?}");
    // The thread's beginning is the end: nothing is cut off.
    assert!(frames.len() > 10, "{frames:#?}");
}

#[test]
fn what_was_not_copied_is_where_a_stack_ends() {
    let mut copy = outermost();
    let mut own = Own::new();
    let whole = own.unwind(&copy).0;
    let mut length = whole.len();
    while !copy.bytes.is_empty() {
        copy.bytes = copy.bytes[..copy.bytes.len() / 2].into();
        let cut = own.unwind(&copy).0;
        assert!(cut.len() <= length && whole.starts_with(&cut), "{cut:x?} of {whole:x?}");
        length = cut.len();
    }
    assert_eq!(length, 1, "the instruction itself is known");
    copy.registers = UserRegisters::default();
    assert!(own.unwind(&copy).0.is_empty());
    // What the kernel walked by itself is taken as it is.
    copy.bytes = [1u64, 2].into_iter().flat_map(u64::to_le_bytes).collect();
    assert_eq!(own.unwind(&copy).0, [1, 2]);
}

#[test]
fn a_stack_that_leads_to_itself_ends() {
    let base = 0x7000_0000;
    let mut own = Own::new();
    let code = here().registers.rip;
    // Each word says that the caller's frame is here, or one further down, or anywhere.
    for target in [base, base + 8, base + 0x100, 0, u64::MAX, u64::MAX - 8] {
        let words = [target, code].repeat(STACK_BYTES / 16);
        let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        let registers =
            UserRegisters { rip: code, rsp: base, rbp: base, ..UserRegisters::default() };
        let copy = StackCopy { registers, bytes: bytes.into() };
        assert!(by_frame_pointers(&copy).len() <= MOST_FRAMES);
        assert!(own.unwind(&copy).0.len() <= MOST_FRAMES);
    }
    // An endless one that leads upwards is cut.
    let words: Vec<u64> =
        (0..STACK_BYTES as u64 / 16).flat_map(|frame| [base + 16 * (frame + 1), code]).collect();
    let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    let registers = UserRegisters { rip: code, rsp: base, rbp: base, ..UserRegisters::default() };
    let copy = StackCopy { registers, bytes: bytes.into() };
    assert_eq!(by_frame_pointers(&copy).len(), MOST_FRAMES);
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
fn the_kernels_own_library_and_the_c_library_have_tables() {
    let own = Own::new();
    let code = |address| own.image.code(address).unwrap();
    assert!(own.library.tables(code(libc::malloc as *const () as u64)).is_some());
    let areas = ProcRoot::default().maps(std::process::id()).unwrap();
    let vdso = areas.iter().find(|area| area.path.as_deref() == Some(Path::new("[vdso]")));
    if let Some(area) = vdso {
        assert!(own.library.tables(code(area.start + 0x400)).is_some());
    }
}
