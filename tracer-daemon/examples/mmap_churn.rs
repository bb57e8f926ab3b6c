//! The `mmap-churn` pathology: a request handler takes a block, touches a few pages, gives it back.
//!
//! `--via malloc` fixes glibc's threshold, so that every block is a mapping of its own for ever;
//! `--via mmap` does without malloc. `--cured` applies the remedy: glibc keeps the memory, or the
//! handler keeps its buffer. Prints the CPU time of each cycle at the end.

#[path = "shared/block.rs"]
mod block;
#[path = "shared/cpu_time.rs"]
mod cpu_time;
#[path = "shared/slice.rs"]
mod slice;
#[path = "shared/tracer.rs"]
mod tracer;

use std::time::{Duration, Instant};

use block::{give_block_back, take_block};
use clap::{Parser, ValueEnum};
use cpu_time::cpu_time;
use slice::Slice;

const PAGE: usize = 4096;

#[derive(Parser)]
struct Options {
    #[arg(long, value_enum, default_value_t = Via::Mmap)]
    via: Via,
    #[arg(long)]
    cured: bool,
    #[arg(long, default_value_t = 2 << 20)]
    bytes: usize,
    #[arg(long, default_value_t = 6)]
    touches: usize,
    #[arg(long, default_value_t = u64::MAX)]
    cycles: u64,
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    #[arg(long, default_value_t = 0)]
    pause_us: u64,
    #[arg(long, default_value_t = 0)]
    spin_us: u64,
    #[arg(long)]
    wait: bool,
    #[arg(long)]
    slice_ms: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Via {
    Malloc,
    Mmap,
}

fn main() {
    let options = Options::parse();
    if options.via == Via::Malloc {
        fix_thresholds(options.cured);
    }
    tracer::begin();
    tracer::wait_if(options.wait);
    let (until, spin) =
        (Duration::from_secs(options.seconds), Duration::from_micros(options.spin_us));
    let slice_length = options.slice_ms.map(Duration::from_millis);
    let mut kept = None;
    let before = cpu_time();
    let begin = Instant::now();
    let mut cycles = 0;
    let mut slice = Slice::begin();
    while cycles < options.cycles && begin.elapsed() < until {
        handle_request(&options, &mut kept);
        cycles += 1;
        work(spin);
        if slice_length.is_some_and(|length| slice.lasted(length)) {
            slice = slice.end(cycles);
        }
        if options.pause_us > 0 {
            std::thread::sleep(Duration::from_micros(options.pause_us));
        }
    }
    let cpu = cpu_time() - before;
    println!("cycles {cycles} cpu_ns_per_cycle {:.1}", cpu.as_nanos() as f64 / cycles as f64);
    tracer::wait_if(options.wait);
}

/// Any threshold set by hand ends glibc's own adjustment (malloc/malloc.c, do_set_mmap_threshold).
fn fix_thresholds(cured: bool) {
    // SAFETY: mallopt only changes the allocator's settings.
    unsafe {
        if cured {
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
        } else {
            libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
        }
    }
}

#[inline(never)]
fn handle_request(options: &Options, kept: &mut Option<*mut u8>) {
    let via_malloc = options.via == Via::Malloc;
    let block = if via_malloc {
        // SAFETY: freed below.
        unsafe { libc::malloc(options.bytes) }.cast::<u8>()
    } else if let Some(block) = *kept {
        block
    } else {
        take_block(options.bytes)
    };
    touch(block, options);
    if via_malloc {
        // SAFETY: from malloc above, and not used after.
        unsafe { libc::free(block.cast()) };
    } else if options.cured {
        *kept = Some(block);
    } else {
        give_block_back(block, options.bytes);
    }
}

fn touch(block: *mut u8, options: &Options) {
    assert!(!block.is_null(), "out of memory");
    // Apart, so that no huge page or fault-around serves two touches at once.
    let stride = (options.bytes / options.touches.max(1)) / PAGE * PAGE;
    for touch in 0..options.touches {
        // SAFETY: `touches × stride` is within the block.
        unsafe { block.add(touch * stride).write_volatile(1) };
    }
}

/// The rest of the request.
fn work(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}
