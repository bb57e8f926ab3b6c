//! The `mmap-lock-contention` pathology: threads that map, fill and unmap a block each, and wait
//! for one another's changes to the address space. `--cured` keeps a block for each thread.

#[path = "shared/block.rs"]
mod block;
#[path = "shared/tracer.rs"]
mod tracer;

use std::time::{Duration, Instant};

use block::{give_block_back, take_block};
use clap::Parser;

const BYTES: usize = 1 << 20;
const PAGE: usize = 4096;

#[derive(Parser)]
struct Options {
    #[arg(long, default_value_t = 8)]
    threads: usize,
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    #[arg(long)]
    cured: bool,
    #[arg(long)]
    wait: bool,
}

fn main() {
    let options = Options::parse();
    tracer::begin();
    tracer::wait_if(options.wait);
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let blocks: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..options.threads).map(|_| scope.spawn(|| work(end, options.cured))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(0)).sum()
    });
    println!("blocks {blocks}");
    tracer::wait_if(options.wait);
}

/// Fills blocks until the time is up; returns how many.
fn work(end: Instant, cured: bool) -> u64 {
    let mut kept = None;
    let mut blocks = 0;
    while Instant::now() < end {
        let block = kept.unwrap_or_else(|| take_block(BYTES));
        for page in 0..BYTES / PAGE {
            // SAFETY: within the block.
            unsafe { block.add(page * PAGE).write_volatile(1) };
        }
        if cured {
            kept = Some(block);
        } else {
            give_block_back(block, BYTES);
        }
        blocks += 1;
    }
    blocks
}
