#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs::File,
    num::NonZeroU32,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::Path,
};

use super::{
    super::{ElfFile, ElfNames, Location, Modules},
    *,
};
use crate::census::ProcRoot;

/// Names stacks as a session does, without a parser between.
#[derive(Default)]
struct Reader {
    symbolizer: Symbolizer,
    names: ElfNames,
    files: Vec<(Location, Option<File>)>,
}

impl Reader {
    fn frames(&mut self, stack: &[Option<Location>], addresses: &[u64]) -> Vec<Frame> {
        let places: Vec<_> = stack.iter().map(|at| at.as_ref().map(|at| self.place(at))).collect();
        let Self { symbolizer, names, files } = self;
        symbolizer.frames(&places, addresses, |code| {
            let file = |id: FileId| files[id.0.get() as usize - 1].1.as_ref().unwrap();
            let each = code.iter().map(|(id, offset)| names.names(*id, file(*id), *offset));
            Some(each.map(Option::unwrap_or_default).collect())
        })
    }

    fn place(&mut self, location: &Location) -> Place {
        let start = Location { file_offset: 0, ..location.clone() };
        let index = self.files.iter().position(|(known, _)| *known == start).unwrap_or_else(|| {
            let file = ElfFile::find(location).and_then(|file| file.open());
            self.files.push((start, file));
            self.files.len() - 1
        });
        let id = FileId(NonZeroU32::new(index as u32 + 1).unwrap());
        let file = self.files[index].1.is_some().then_some(id);
        Place { module: Arc::clone(&location.module), offset: location.file_offset, file }
    }
}

#[inline(never)]
fn outer_function(value: u64) -> u64 {
    std::hint::black_box(inlined_function(value)) + 1
}

/// Returns an address inside itself, that is, inside whoever it is inlined into.
#[inline(always)]
fn inlined_function(value: u64) -> u64 {
    let here: u64;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: takes the address of the instruction and touches nothing else.
    unsafe {
        std::arch::asm!("lea {here}, [rip]", here = out(reg) here);
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("adr {here}, .", here = out(reg) here);
    }
    std::hint::black_box(value);
    here
}

fn own_modules() -> Modules {
    Modules::read(&ProcRoot::default(), std::process::id()).unwrap()
}

fn frames_of(address: u64) -> Vec<Frame> {
    let location = own_modules().locate(address);
    Reader::default().frames(&[location], &[address])
}

fn address_of(function: fn(u64) -> u64) -> u64 {
    function as usize as u64
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "needs debug information")]
fn a_function_of_this_program_has_a_name_and_a_line() {
    let frames = frames_of(address_of(outer_function));
    let outermost = frames.last().unwrap();
    let symbol = outermost.symbol.as_deref().unwrap();
    assert!(symbol.ends_with("outer_function"), "{symbol}");
    assert!(outermost.module.as_ref().unwrap().contains("alloctrace"));
    assert!(outermost.file.as_ref().unwrap().ends_with("symbolizer_tests.rs"));
    assert!(outermost.line.is_some());
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "needs debug information")]
fn inlined_functions_come_first() {
    // Its address is behind the instruction.
    let frames = frames_of(outer_function(1) - 2);
    let symbols: Vec<&str> = frames.iter().filter_map(|f| f.symbol.as_deref()).collect();
    assert_eq!(symbols.len(), 2, "{frames:?}");
    assert!(symbols[0].contains("inlined_function"), "{symbols:?}");
    assert!(symbols[1].ends_with("outer_function"), "{symbols:?}");
    assert_eq!(frames[0].offset, frames[1].offset);
    assert!(frames[0].line > frames[1].line, "{frames:?}");
}

#[test]
fn a_return_address_belongs_to_the_call_before_it() {
    let begin = address_of(outer_function);
    let location = own_modules().locate(begin);
    let mut symbolizer = Reader::default();
    let stack = [location.clone(), location];
    let frames = symbolizer.frames(&stack, &[begin, begin]);
    let is_it = |frame: &Frame| {
        let symbol = frame.symbol.as_deref().unwrap_or_default();
        symbol.ends_with("outer_function")
    };
    assert!(is_it(&frames[0]) && !is_it(frames.last().unwrap()), "{frames:?}");
    assert_eq!(frames[0].offset, frames.last().unwrap().offset);
}

#[test]
fn the_c_library_has_names_without_debug_information() {
    let malloc = libc::malloc as *const () as u64;
    let frames = frames_of(malloc);
    let symbol = frames.last().unwrap().symbol.as_deref().unwrap();
    assert!(symbol.contains("malloc"), "{frames:?}");
}

#[test]
fn what_is_in_no_file_goes_by_its_address() {
    let frames = Reader::default().frames(&[None], &[0x1234, 0x5678]);
    assert_eq!(frames.len(), 2);
    assert_eq!((frames[0].offset, frames[1].offset), (0x1234, 0x5678));
    assert!(frames.iter().all(|f| f.symbol.is_none() && f.module.is_none()));
}

fn location(path: &Path, file_offset: u64, deleted: bool) -> Location {
    Location {
        module: path.into(),
        file_offset,
        source: None,
        deleted,
        inode: std::fs::metadata(path).map_or(0, |file| file.ino()),
    }
}

#[test]
fn after_a_process_has_ended_only_the_very_file_will_do() {
    let offset = own_modules().locate(address_of(outer_function)).unwrap().file_offset;
    let exe = std::fs::read_link("/proc/self/exe").unwrap();
    let same = location(&exe, offset, false);
    let mut other = same.clone();
    other.inode += 1;
    let named = |location| {
        let frames = Reader::default().frames(&[Some(location)], &[1]);
        frames[0].symbol.is_some()
    };
    assert!(named(same));
    assert!(!named(other));
}

#[test]
fn a_removed_file_is_still_read_where_permitted() {
    let own = own_modules().locate(address_of(outer_function)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy");
    std::fs::copy("/proc/self/exe", &copy).unwrap();
    let file = File::open(&copy).unwrap();
    let page = own.file_offset & !0xffff;
    // SAFETY: a new mapping at a place of the kernel's choice; nothing runs in it.
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            0x20000,
            libc::PROT_READ | libc::PROT_EXEC,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
            page.try_into().unwrap(),
        )
    };
    assert_ne!(start, libc::MAP_FAILED);
    std::fs::remove_file(&copy).unwrap();
    let address = start as u64 + (own.file_offset - page);
    let location = own_modules().locate(address).unwrap();
    assert_eq!((&*location.module, location.deleted), (&*copy, true));
    if ElfFile::find(&location).is_none() {
        return;
    }
    let frames = Reader::default().frames(&[Some(location)], &[address]);
    let symbol = frames.last().unwrap().symbol.as_deref().unwrap();
    assert!(symbol.ends_with("outer_function"), "{symbol}");
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "needs debug information")]
fn what_was_stripped_off_is_found_by_build_id() {
    let exe = std::fs::read("/proc/self/exe").unwrap();
    let program = File::open("/proc/self/exe").unwrap();
    let id = crate::elf::Elf::read(&program).unwrap().build_id().unwrap();
    let hex: Vec<String> = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let directory = tempfile::tempdir().unwrap();
    // Without section headers there are no symbols: offset, size and number of them.
    let mut bare = exe.clone();
    bare[0x28..0x30].fill(0);
    bare[0x3c..0x40].fill(0);
    let path = directory.path().join("bare");
    std::fs::write(&path, bare).unwrap();
    let offset = own_modules().locate(address_of(outer_function)).unwrap().file_offset;
    let stack = [Some(location(&path, offset, false))];
    let frames = |directory: &Path| {
        let names = ElfNames::with_debug_directory(directory.to_owned());
        Reader { names, ..Reader::default() }.frames(&stack, &[1])
    };
    assert_eq!(frames(directory.path())[0].symbol, None);
    let place = directory.path().join(".build-id").join(&hex[0]);
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join(format!("{}.debug", hex[1..].concat())), exe).unwrap();
    let found = frames(directory.path());
    let frame = found.last().unwrap();
    assert!(frame.symbol.as_deref().unwrap().ends_with("outer_function"), "{found:?}");
    assert!(frame.file.as_ref().unwrap().ends_with("symbolizer_tests.rs"), "{found:?}");
    assert_eq!(frame.offset, offset);
}

#[test]
fn broken_files_cost_names_only() {
    let directory = tempfile::tempdir().unwrap();
    let own = std::fs::read("/proc/self/exe").unwrap();
    let mut scribbled = own.clone();
    for byte in scribbled.iter_mut().skip(64).step_by(97) {
        *byte = 0xff;
    }
    let contents: [&[u8]; 5] = [b"", b"\x7fELF", &own[..64], &own[..own.len() / 2], &scribbled];
    let mut symbolizer = Reader::default();
    for (index, content) in contents.iter().enumerate() {
        let path = directory.path().join(index.to_string());
        std::fs::write(&path, content).unwrap();
        let stack = [Some(location(&path, 0x1000, false)), Some(location(&path, u64::MAX, false))];
        let frames = symbolizer.frames(&stack, &[1, 2]);
        assert!(frames.len() >= 2);
        assert!(frames.iter().all(|frame| frame.module.is_some()));
    }
}

#[test]
fn only_regular_files_that_are_still_the_same_are_opened() {
    let exe = std::fs::read_link("/proc/self/exe").unwrap();
    for (path, deleted) in [
        (Path::new("/dev/zero"), false),
        (Path::new("/"), false),
        (Path::new("[vdso]"), false),
        (Path::new("/nonexistent"), false),
        (&exe, true),
    ] {
        let stack = [Some(location(path, 0, deleted))];
        let frames = Reader::default().frames(&stack, &[0]);
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0].symbol, None);
    }
}
