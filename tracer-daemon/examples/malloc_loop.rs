//! The worst that can be asked of a budget: takes and gives back a small block for ever, in less time than
//! anything can be counted in. Prints what a pair costs, slice by slice.

#[path = "shared/cpu_time.rs"]
mod cpu_time;
#[path = "shared/slice.rs"]
mod slice;

use std::{hint::black_box, time::Duration};

use clap::Parser;
use slice::Slice;

/// Between two looks at the clock, which costs more than a pair.
const PAIRS: u64 = 256;

#[derive(Parser)]
struct Options {
    #[arg(long, default_value_t = 64)]
    bytes: usize,
    /// Steps of work between two pairs, a fraction of a nanosecond each
    #[arg(long, default_value_t = 0)]
    work: u64,
    #[arg(long, default_value_t = 20)]
    slice_ms: u64,
}

fn main() {
    let options = Options::parse();
    let length = Duration::from_millis(options.slice_ms);
    let mut slice = Slice::begin();
    let mut pairs = 0;
    loop {
        for _ in 0..PAIRS {
            take_and_give_back(options.bytes);
            (0..options.work).for_each(|step| _ = black_box(step));
        }
        pairs += PAIRS;
        if slice.lasted(length) {
            slice = slice.end(pairs);
        }
    }
}

fn take_and_give_back(bytes: usize) {
    // SAFETY: what was taken is given back, and not used.
    unsafe { libc::free(black_box(libc::malloc(black_box(bytes)))) };
}
