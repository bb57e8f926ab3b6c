//! The `heap-trim-churn` pathology: a request handler takes some blocks, touches them and frees them.
//!
//! The blocks are too small to be mapped one by one, so that they come from the top of the heap; once
//! they are free, glibc gives the top back. `--cured` applies the remedy: glibc keeps it.
//! `--in-thread` does the same in an arena that is not the main one, whose top goes by `madvise`.

#[path = "shared/cycles.rs"]
mod cycles;
#[path = "shared/tracer.rs"]
mod tracer;

use clap::Parser;

const PAGE: usize = 4096;
const BLOCKS: usize = 16;

#[derive(Parser)]
struct Options {
    #[arg(long)]
    cured: bool,
    #[arg(long)]
    in_thread: bool,
    #[arg(long, default_value_t = 64 << 10)]
    bytes: usize,
    #[arg(long, default_value_t = 2)]
    touches: usize,
    #[arg(long, default_value_t = 20_000)]
    cycles: u64,
    #[arg(long)]
    wait: bool,
}

fn main() {
    let options = Options::parse();
    if options.cured {
        keep_the_top(options.bytes);
    }
    tracer::begin();
    if options.in_thread {
        std::thread::scope(|scope| scope.spawn(|| work(&options)).join().expect("no panic"));
    } else {
        work(&options);
    }
}

fn work(options: &Options) {
    // An arena of its own is made at a thread's first block.
    handle_request(options);
    tracer::wait_if(options.wait);
    cycles::run(options.cycles, || handle_request(options));
    tracer::wait_if(options.wait);
}

/// Room for all blocks at once, and as much again.
fn keep_the_top(bytes: usize) {
    let threshold = libc::c_int::try_from(2 * BLOCKS * bytes).expect("mallopt takes an int");
    // SAFETY: mallopt only changes the allocator's settings.
    unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, threshold) };
}

#[inline(never)]
fn handle_request(options: &Options) {
    let mut blocks = [std::ptr::null_mut::<u8>(); BLOCKS];
    for block in &mut blocks {
        // SAFETY: freed below.
        *block = unsafe { libc::malloc(options.bytes) }.cast();
        assert!(!block.is_null(), "out of memory");
        for touch in 0..options.touches.min(options.bytes / PAGE) {
            // SAFETY: within the block.
            unsafe { block.add(touch * PAGE).write_volatile(1) };
        }
    }
    for block in blocks {
        // SAFETY: from malloc above, and not used after.
        unsafe { libc::free(block.cast()) };
    }
    // Else the last `free` would be a jump, and this function on no stack.
    std::hint::black_box(());
}
