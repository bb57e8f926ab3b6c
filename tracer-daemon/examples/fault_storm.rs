//! The `fault-storm` pathology: memory that was there has to be faulted in again, over and over.
//!
//! `--by advice`: a request handler gives its buffer's pages back with `madvise` when it is done.
//! `--by fork`: it forks for something that needs none of its memory, and copies each page that it
//! writes to meanwhile. `--cured` applies the remedy: the pages stay, or the child does not get them.

#[path = "shared/block.rs"]
mod block;
#[path = "shared/cycles.rs"]
mod cycles;
#[path = "shared/tracer.rs"]
mod tracer;

use std::io::{Read, Write};

use clap::{Parser, ValueEnum};

const PAGE: usize = 4096;

#[derive(Parser)]
struct Options {
    #[arg(long, value_enum, default_value_t = By::Advice)]
    by: By,
    #[arg(long)]
    cured: bool,
    #[arg(long, default_value_t = 64)]
    pages: usize,
    #[arg(long, default_value_t = 20_000)]
    cycles: u64,
    #[arg(long)]
    wait: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    Advice,
    Fork,
}

fn main() {
    let options = Options::parse();
    tracer::begin();
    let buffer = block::take_block(options.pages * PAGE);
    touch_all(buffer, options.pages);
    if options.by == By::Fork && options.cured {
        advise(buffer, options.pages, libc::MADV_DONTFORK);
    }
    tracer::wait_if(options.wait);
    cycles::run(options.cycles, || match options.by {
        By::Advice => {
            touch_all(buffer, options.pages);
            if !options.cured {
                advise(buffer, options.pages, libc::MADV_DONTNEED);
            }
        }
        By::Fork => beside_a_child(|| touch_all(buffer, options.pages)),
    });
    tracer::wait_if(options.wait);
    block::give_block_back(buffer, options.pages * PAGE);
}

#[inline(never)]
fn touch_all(buffer: *mut u8, pages: usize) {
    for page in 0..pages {
        // SAFETY: within the buffer.
        unsafe { buffer.add(page * PAGE).write_volatile(1) };
    }
}

#[inline(never)]
fn advise(buffer: *mut u8, pages: usize, advice: libc::c_int) {
    // SAFETY: the buffer is a mapping of its own, of which nothing has to stay.
    let result = unsafe { libc::madvise(buffer.cast(), pages * PAGE, advice) };
    assert_eq!(result, 0, "madvise failed");
}

/// The child lives, and shares the pages, until the work is done.
fn beside_a_child(work: impl FnOnce()) {
    let (mut wait, go) = std::io::pipe().expect("a pipe");
    // SAFETY: there is one thread; the child only reads and ends.
    let child = unsafe { libc::fork() };
    assert_ne!(child, -1, "fork failed");
    if child == 0 {
        drop(go);
        let _ = wait.read(&mut [0]);
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(0) };
    }
    work();
    let _ = (&go).write(&[0]);
    // SAFETY: asks for no status.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
}
