//! The `leak-growth` pathology: each request leaves a block behind that nobody gives back.
//!
//! Beside it, each takes and frees a buffer, as healthy code does. `--cured` gives the block back as well.
//! Two programs that are healthy and look alike for a while: `--healthy cache` keeps the blocks until it has
//! enough of them; `--healthy queue` has kept some since before, and gives one back for each that it takes.

#[path = "shared/tracer.rs"]
mod tracer;

use std::{
    collections::VecDeque,
    hint::black_box,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};

/// Of the buffer that is freed.
const BUFFER: usize = 600;

#[derive(Parser)]
struct Options {
    #[arg(long)]
    cured: bool,
    #[arg(long, value_enum)]
    healthy: Option<Healthy>,
    #[arg(long, default_value_t = 1000)]
    bytes: usize,
    #[arg(long, default_value_t = 2000)]
    per_second: u32,
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    #[arg(long)]
    wait: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Healthy {
    Cache,
    Queue,
}

type Block = *mut libc::c_void;

fn main() {
    let options = Options::parse();
    tracer::begin();
    let requests = u64::from(options.per_second) * options.seconds;
    // A cache is full after an eighth of the time; the queue outlives the window.
    let (limit, before) = match options.healthy {
        _ if options.cured => (0, 0),
        None => (u64::MAX, 0),
        Some(Healthy::Cache) => (requests / 8, 0),
        Some(Healthy::Queue) => (requests * 2, requests * 2),
    };
    let mut kept = VecDeque::new();
    for _ in 0..before {
        kept.push_back(keep_session(options.bytes));
    }
    // A machine that is busy lets it fall behind and catch up.
    let mut times = Vec::with_capacity(requests as usize);
    tracer::wait_if(options.wait);
    let start = Instant::now();
    for request in 0..requests {
        handle_request(&options, &mut kept, limit);
        times.push(start.elapsed());
        let due = start + Duration::from_secs(1) * request as u32 / options.per_second;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    let leaked = (kept.len() as u64 - before) * options.bytes as u64;
    let all = start.elapsed();
    let later = times.iter().filter(|time| **time > all / 4).count() * options.bytes;
    println!("leaked {leaked} bytes in {} s, {later} after a quarter", all.as_secs_f64());
    tracer::wait_if(options.wait);
}

#[inline(never)]
fn handle_request(options: &Options, kept: &mut VecDeque<Block>, limit: u64) {
    format_answer();
    kept.push_back(keep_session(options.bytes));
    if kept.len() as u64 > limit
        && let Some(oldest) = kept.pop_front()
    {
        // SAFETY: from malloc, and not used after.
        unsafe { libc::free(oldest) };
    }
}

#[inline(never)]
fn format_answer() {
    // SAFETY: not used after.
    unsafe { libc::free(black_box(libc::malloc(BUFFER))) };
    // Else the last call would be a jump, and this function on no stack.
    black_box(());
}

#[inline(never)]
fn keep_session(bytes: usize) -> Block {
    // SAFETY: whoever has it frees it, or leaves it.
    let block = unsafe { libc::malloc(bytes) };
    assert!(!block.is_null(), "out of memory");
    black_box(block)
}
