//! The `find-vma-hot` pathology: a very large number of areas, and faults all over them, so that
//! each fault looks its area up in a deep tree that is in no cache. `--cured` has the same pages in
//! one area.

#[path = "shared/block.rs"]
mod block;
#[path = "shared/tracer.rs"]
mod tracer;

use std::time::{Duration, Instant};

use block::{give_block_back, take_block};
use clap::Parser;

const PAGE: usize = 4096;

#[derive(Parser)]
struct Options {
    #[arg(long, default_value_t = 60_000)]
    areas: usize,
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    #[arg(long)]
    cured: bool,
    #[arg(long)]
    wait: bool,
}

fn main() {
    let options = Options::parse();
    let base = plant(options.areas, options.cured);
    tracer::begin();
    tracer::wait_if(options.wait);
    println!("touches {}", work(base, &options));
    tracer::wait_if(options.wait);
    give_block_back(base, options.areas * PAGE);
}

/// `areas` pages that can be written, each an area of its own: between them lie pages that can be
/// read only.
fn plant(areas: usize, cured: bool) -> *mut u8 {
    let base = take_block(areas * PAGE);
    if !cured {
        for area in (1..areas).step_by(2) {
            // SAFETY: within the mapping.
            let result =
                unsafe { libc::mprotect(base.add(area * PAGE).cast(), PAGE, libc::PROT_READ) };
            assert_eq!(result, 0, "mprotect failed: fewer --areas, or a higher vm.max_map_count");
        }
    }
    base
}

/// Touches pages until the time is up. A function of its own, as those below, so that a stack has
/// something to show.
#[inline(never)]
fn work(base: *mut u8, options: &Options) -> u64 {
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let mut touches = 0;
    let mut random = 0x9e37_79b9_7f4a_7c15;
    while Instant::now() < end {
        touches += touch_many(base, options.areas, &mut random);
    }
    touches
}

#[inline(never)]
fn touch_many(base: *mut u8, areas: usize, random: &mut u64) -> u64 {
    const TOUCHES: u64 = 1000;
    for _ in 0..TOUCHES {
        touch_afresh(base, areas, random);
    }
    TOUCHES
}

/// Reads a page that is not there: the fault looks its area up and maps the page of zeros.
#[inline(never)]
fn touch_afresh(base: *mut u8, areas: usize, random: &mut u64) {
    // Marsaglia's xorshift.
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    let page = (*random % areas as u64) as usize;
    // SAFETY: within the mapping; the page may be read in either case.
    unsafe {
        let page = base.add(page * PAGE);
        libc::madvise(page.cast(), PAGE, libc::MADV_DONTNEED);
        page.read_volatile();
    }
}
