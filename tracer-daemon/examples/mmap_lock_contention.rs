//! The `mmap-lock-contention` pathology: threads that map, fill and unmap a block each, and wait
//! for one another's changes to the address space. `--cured` keeps a block for each thread.

use std::{
    io::Read,
    time::{Duration, Instant},
};

const BYTES: usize = 1 << 20;
const PAGE: usize = 4096;

struct Options {
    threads: usize,
    until: Duration,
    cured: bool,
    wait: bool,
}

fn options() -> Options {
    let mut options =
        Options { threads: 8, until: Duration::from_secs(3600), cured: false, wait: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|text| text.parse::<u64>().ok());
        match word.as_str() {
            "--threads" => options.threads = number().unwrap_or(8) as usize,
            "--seconds" => options.until = Duration::from_secs(number().unwrap_or(3600)),
            "--cured" => options.cured = true,
            "--wait" => options.wait = true,
            _ => {
                eprintln!("unknown option {word}");
                std::process::exit(2);
            }
        }
    }
    options
}

fn main() {
    let options = options();
    // SAFETY: takes no pointers. With huge pages a touch of one page brings in all of them.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    println!("pid {}", std::process::id());
    if options.wait {
        // The tracer is ready when a line comes in.
        let _ = std::io::stdin().read(&mut [0; 64]);
    }
    let end = Instant::now() + options.until;
    let blocks: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..options.threads).map(|_| scope.spawn(|| work(end, options.cured))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(0)).sum()
    });
    println!("blocks {blocks}");
    if options.wait {
        let _ = std::io::stdin().read(&mut [0; 64]);
    }
}

/// Fills blocks until the time is up; returns how many.
fn work(end: Instant, cured: bool) -> u64 {
    let mut kept = None;
    let mut blocks = 0;
    while Instant::now() < end {
        let block = kept.unwrap_or_else(take_block);
        for page in 0..BYTES / PAGE {
            // SAFETY: within the block.
            unsafe { block.add(page * PAGE).write_volatile(1) };
        }
        if cured {
            kept = Some(block);
        } else {
            give_block_back(block);
        }
        blocks += 1;
    }
    blocks
}

#[inline(never)]
fn take_block() -> *mut u8 {
    // SAFETY: a new anonymous mapping, placed by the kernel.
    let block = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            BYTES,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(block, libc::MAP_FAILED, "mmap failed");
    block.cast()
}

#[inline(never)]
fn give_block_back(block: *mut u8) {
    // SAFETY: mapped by `take_block`, and not used after.
    let result = unsafe { libc::munmap(block.cast(), BYTES) };
    assert_eq!(result, 0, "munmap failed");
}
