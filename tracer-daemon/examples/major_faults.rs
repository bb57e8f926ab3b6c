//! The `major-faults` pathology: a large file is mapped, and its pages are touched here and there, none of
//! which is in memory. `--cured` has the kernel read it in large pieces before.

#[path = "shared/cpu_time.rs"]
mod cpu_time;
#[path = "shared/tracer.rs"]
mod tracer;

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsRawFd,
    path::PathBuf,
    time::Instant,
};

use clap::Parser;
use cpu_time::cpu_time;

const PAGE: usize = 4096;
/// Pages are touched at this distance, around the end: a prime, so that each is met once.
const STEP: usize = 7919;

/// Pages that are read ahead at once.
const PIECE: usize = 32;

#[derive(Parser)]
struct Options {
    #[arg(long)]
    cured: bool,
    /// Where the file goes, which is on a disk.
    #[arg(long, default_value = ".")]
    directory: PathBuf,
    #[arg(long, default_value_t = 32_768)]
    pages: usize,
    #[arg(long)]
    wait: bool,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let path = options.directory.join(format!("major_faults.{}", std::process::id()));
    let file = write_file(&path, options.pages)?;
    std::fs::remove_file(&path)?;
    let data = map(&file, options.pages)?;
    tracer::begin();
    tracer::wait_if(options.wait);
    let (before, queued) = (major_faults(), queued_seconds());
    let (begin, cpu) = (Instant::now(), cpu_time());
    if options.cured {
        read_ahead(data, options.pages);
    }
    touch_all(data, options.pages);
    let (wall, cpu) = (begin.elapsed(), cpu_time() - cpu);
    println!(
        "touched {} majflt {} wall_seconds {:.6} cpu_seconds {:.6} queued_seconds {:.6}",
        options.pages,
        major_faults() - before,
        wall.as_secs_f64(),
        cpu.as_secs_f64(),
        queued_seconds() - queued
    );
    tracer::wait_if(options.wait);
    Ok(())
}

/// On disk, and nowhere else.
fn write_file(path: &PathBuf, pages: usize) -> io::Result<File> {
    let mut file = File::options().read(true).write(true).create_new(true).open(path)?;
    let block = vec![1_u8; 256 * PAGE];
    for first in (0..pages).step_by(256) {
        file.write_all(&block[..(pages - first).min(256) * PAGE])?;
    }
    file.sync_all()?;
    // SAFETY: takes no pointers.
    let result = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    assert_eq!(result, 0, "posix_fadvise failed");
    Ok(file)
}

fn map(file: &File, pages: usize) -> io::Result<*const u8> {
    let (protection, flags) = (libc::PROT_READ, libc::MAP_PRIVATE);
    // SAFETY: replaces nothing.
    let data = unsafe {
        libc::mmap(std::ptr::null_mut(), pages * PAGE, protection, flags, file.as_raw_fd(), 0)
    };
    if data == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // As databases do, lest the kernel reads what is not wanted.
    advise(data.cast(), pages, libc::MADV_RANDOM);
    Ok(data.cast())
}

fn advise(data: *const u8, pages: usize, advice: libc::c_int) {
    // SAFETY: the mapping is of this length; the advice changes none of its bytes.
    let result = unsafe { libc::madvise(data.cast_mut().cast(), pages * PAGE, advice) };
    assert_eq!(result, 0, "madvise failed");
}

#[inline(never)]
fn touch_all(data: *const u8, pages: usize) {
    for touch in 0..pages {
        // SAFETY: within the mapping; the file is as long.
        unsafe { data.add(touch * STEP % pages * PAGE).read_volatile() };
    }
}

/// A call reads no more than the device's `read_ahead_kb`, or `max_sectors_kb` if that is larger.
fn read_ahead(data: *const u8, pages: usize) {
    for first in (0..pages).step_by(PIECE) {
        // SAFETY: within the mapping.
        let piece = unsafe { data.add(first * PAGE) };
        advise(piece, PIECE.min(pages - first), libc::MADV_WILLNEED);
    }
}

/// How long the thread waited for a CPU (Documentation/scheduler/sched-stats.rst).
fn queued_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("readable");
    let ns = stat.split_whitespace().nth(1).and_then(|number| number.parse::<f64>().ok());
    ns.expect("a number") / 1e9
}

fn major_faults() -> i64 {
    // SAFETY: all bits of the structure may be 0.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is valid for writes.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    usage.ru_majflt
}
