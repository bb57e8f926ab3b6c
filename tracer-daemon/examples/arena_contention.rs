//! The `arena-contention` pathology: threads take blocks that are too large for the thread cache and give back
//! each other's, all of one arena. `--cured` lets glibc have its arenas, and each thread gives back its own.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicPtr, Ordering},
    },
    thread,
    time::Instant,
};

use clap::Parser;

#[path = "shared/tracer.rs"]
mod tracer;

/// Sizes, above `tcache_max`, 1032: so mixed that glibc has to search and to put together.
const SIZES: [usize; 8] = [1100, 5200, 2300, 8100, 1500, 3900, 6700, 2900];
/// Blocks that live at a time.
const PLACES: usize = 509;

type Places = [AtomicPtr<libc::c_void>; PLACES];
/// `M_ARENA_MAX` of glibc's malloc.h.
const ARENA_MAX: libc::c_int = -8;

#[derive(Parser)]
struct Options {
    #[arg(long)]
    cured: bool,
    #[arg(long, default_value_t = 4)]
    threads: usize,
    /// Of each thread.
    #[arg(long, default_value_t = 4_000_000)]
    blocks: usize,
    #[arg(long)]
    wait: bool,
}

fn main() {
    let options = Options::parse();
    if !options.cured {
        // SAFETY: takes no pointers, and there is one thread.
        assert_eq!(unsafe { libc::mallopt(ARENA_MAX, 1) }, 1, "mallopt failed");
    }
    tracer::begin();
    tracer::wait_if(options.wait);
    let shared = places();
    let start = Barrier::new(options.threads);
    let begin = Instant::now();
    thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                start.wait();
                let own = places();
                exchange(if options.cured { &own } else { &shared }, options.blocks);
            });
        }
    });
    let seconds = begin.elapsed().as_secs_f64();
    println!("exchanged {} wall_seconds {seconds:.6}", options.blocks * options.threads);
    tracer::wait_if(options.wait);
}

fn places() -> Places {
    std::array::from_fn(|_| AtomicPtr::new(std::ptr::null_mut()))
}

/// Puts new blocks into the places and gives back those that were there.
#[inline(never)]
fn exchange(places: &Places, blocks: usize) {
    for (place, size) in places.iter().cycle().zip(SIZES.iter().cycle()).take(blocks) {
        // SAFETY: any size may be asked for.
        let block = unsafe { libc::malloc(*size) };
        assert!(!block.is_null(), "malloc failed");
        // SAFETY: whoever takes a block out of the place has it alone.
        unsafe { libc::free(place.swap(block, Ordering::AcqRel)) };
    }
}
