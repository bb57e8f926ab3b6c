//! Libraries of which each is wrong in another way. Their code runs all the same.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    process::Command,
};

use flate2::{Compress, Compression, FlushCompress};
use libtest_mimic::{Failed, Trial};
use object::{
    LittleEndian as Le,
    elf::{FileHeader64, SHF_COMPRESSED},
    read::elf::{FileHeader as _, SectionHeader as _},
};
use tempfile::TempDir;

use super::{
    GIVEN_UP, LIBRARY, build_library, build_program, ready, the_others_have_names, traced,
};
use crate::{
    support::{Machine, ensure, same},
    trial,
};

/// Bytes of a section header before its flags, and the places of what follows them.
const FLAGS: u64 = 8;
const OFFSET: u64 = 24;
const SIZE: u64 = 32;

pub(super) fn trials(machine: &Machine) -> Vec<Trial> {
    let lacks = || machine.lacks(&["gcc"]);
    vec![
        trial("a_gigabyte_of_symbols_costs_no_others", lacks(), symbols),
        trial("endless_lines_cost_no_others", lacks(), lines),
        trial("dwarf_that_loops_costs_no_others", lacks(), loops),
        trial("compressed_terabytes_cost_no_others", lacks(), terabytes),
        trial("compressed_gigabytes_cost_no_others", lacks(), gigabytes),
        trial("a_file_that_others_may_not_read_has_names", lacks(), private),
    ]
}

/// A program whose library is as `spoil` leaves it. Returns the lines that speak of it.
fn with_library(
    (extension, text): (&str, &str),
    spoil: impl FnOnce(&Path) -> Result<(), Failed>,
) -> Result<Vec<String>, Failed> {
    let directory = TempDir::new()?;
    build_library(directory.path(), extension, text)?;
    build_program(directory.path())?;
    spoil(&directory.path().join("library.so"))?;
    let target = ready(&mut Command::new(directory.path().join("program")));
    let (recording, said) = traced(target)?;
    the_others_have_names(&recording)?;
    let about = said.into_iter().filter(|line| line.contains("library.so")).collect();
    Ok(about)
}

/// Has the parser given the library up, in a line.
fn is_given_up(said: &[String]) -> Result<(), Failed> {
    let one = said.len() == 1 && said[0].contains(GIVEN_UP);
    ensure(one, format!("it said of the library: {said:#?}"))
}

fn is_read(said: &[String]) -> Result<(), Failed> {
    same("lines about the library", said, &[])
}

/// Changes a section: its flags are added, and what it holds lies behind everything else.
fn change(
    library: &Path,
    section: &str,
    flags: u64,
    bytes: &[u8],
    size: u64,
) -> Result<(), Failed> {
    let data = fs::read(library)?;
    let header = FileHeader64::<Le>::parse(&*data)?;
    let sections = header.sections(Le, &*data)?;
    let (index, found) =
        sections.section_by_name(Le, section.as_bytes()).ok_or("it has no such section")?;
    let at = header.e_shoff(Le) + index.0 as u64 * u64::from(header.e_shentsize.get(Le));
    let end = (data.len() as u64).next_multiple_of(4096);
    let file = File::options().write(true).open(library)?;
    let put = |offset, value: u64| file.write_all_at(&value.to_le_bytes(), at + offset);
    put(FLAGS, found.sh_flags(Le).0 | flags)?;
    put(OFFSET, end)?;
    put(SIZE, size)?;
    file.set_len(end + size)?;
    Ok(file.write_all_at(bytes, end)?)
}

/// All of them without names, and none takes room on a disk.
fn symbols() -> Result<(), Failed> {
    const SYMBOL: u64 = 24;
    let size = (1 << 30) / SYMBOL * SYMBOL;
    let said = with_library(("c", LIBRARY), |file| change(file, ".symtab", 0, &[], size))?;
    ensure(said.len() <= 1 && said.iter().all(|line| line.contains(GIVEN_UP)), format!("{said:#?}"))
}

fn lines() -> Result<(), Failed> {
    is_given_up(&with_library(("s", include_str!("lines.s")), |_| Ok(()))?)
}

fn loops() -> Result<(), Failed> {
    is_read(&with_library(("s", include_str!("loops.s")), |_| Ok(()))?)
}

/// A header of compressed bytes that are said to be so many.
fn compressed(length: u64, stream: &[u8]) -> Vec<u8> {
    const ZLIB: u64 = 1;
    let header = [ZLIB, length, 1].into_iter().flat_map(u64::to_le_bytes);
    header.chain(stream.iter().copied()).collect()
}

fn terabytes() -> Result<(), Failed> {
    let bytes = compressed(1 << 42, &zeros(1));
    let length = bytes.len() as u64;
    let flags = SHF_COMPRESSED.0;
    let spoil = |file: &Path| change(file, ".debug_info", flags, &bytes, length);
    is_read(&with_library(("c", LIBRARY), spoil)?)
}

fn gigabytes() -> Result<(), Failed> {
    let stream = zeros(4096);
    let bytes = compressed(4096 << 20, &stream);
    let length = bytes.len() as u64;
    let flags = SHF_COMPRESSED.0;
    let spoil = |file: &Path| change(file, ".debug_info", flags, &bytes, length);
    is_read(&with_library(("c", LIBRARY), spoil)?)
}

/// Compressed mebibytes of zeros, of which each block is like the one before.
fn zeros(mebibytes: u64) -> Vec<u8> {
    let mut block = Vec::with_capacity(1 << 16);
    let mut deflate = Compress::new(Compression::best(), false);
    let done = deflate.compress_vec(&vec![0; 1 << 20], &mut block, FlushCompress::Full);
    assert!(done.is_ok() && deflate.total_in() == 1 << 20, "a mebibyte can be compressed");
    // Adler-32 of zeros (RFC 1950).
    let checksum = ((mebibytes << 20) % 65_521) << 16 | 1;
    let header = [0x78, 0xda];
    let end = [&[0x03, 0x00][..], &(checksum as u32).to_be_bytes()].concat();
    [&header[..], &block.repeat(mebibytes as usize), &end].concat()
}

/// The parser's user may not open it.
fn private() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    build_library(directory.path(), "c", LIBRARY)?;
    build_program(directory.path())?;
    for name in ["library.so", "program"] {
        let path = directory.path().join(name);
        let mut permissions = path.metadata()?.permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o700);
        fs::set_permissions(path, permissions)?;
    }
    let target = ready(&mut Command::new(directory.path().join("program")));
    let (recording, said) = traced(target)?;
    the_others_have_names(&recording)?;
    let mut frames = recording.snapshot.stacks.iter().flat_map(|stack| &stack.frames);
    ensure(
        frames.any(|frame| frame.symbol.as_deref() == Some("through") && frame.line.is_some()),
        format!("{said:?}"),
    )
}
