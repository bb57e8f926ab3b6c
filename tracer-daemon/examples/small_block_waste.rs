//! The `small-block-waste` pathology: records of a few bytes, each in a block of its own, and all of
//! them stay. `--cured` keeps the records of a size in one pool.

#[path = "shared/tracer.rs"]
mod tracer;

use clap::Parser;

/// A key and a value.
const SIZES: [usize; 2] = [26, 10];

#[derive(Parser)]
struct Options {
    #[arg(long)]
    cured: bool,
    /// Of each size.
    #[arg(long, default_value_t = 500_000)]
    records: usize,
    #[arg(long)]
    wait: bool,
}

fn main() {
    let options = Options::parse();
    tracer::begin();
    // Where the records are is the same for both.
    let mut index: Vec<*mut u8> = Vec::with_capacity(SIZES.len() * options.records);
    tracer::wait_if(options.wait);
    let before = resident_bytes();
    if options.cured {
        load_into_pools(&mut index, options.records);
    } else {
        load_records(&mut index, options.records);
    }
    println!("records {} resident_bytes {}", index.len(), resident_bytes() - before);
    tracer::wait_if(options.wait);
}

#[inline(never)]
fn load_records(index: &mut Vec<*mut u8>, records: usize) {
    for _ in 0..records {
        for size in SIZES {
            // SAFETY: any size may be asked for.
            let record = unsafe { libc::malloc(size) }.cast::<u8>();
            assert!(!record.is_null(), "malloc failed");
            fill(record, size);
            index.push(record);
        }
    }
}

#[inline(never)]
fn load_into_pools(index: &mut Vec<*mut u8>, records: usize) {
    for size in SIZES {
        // It stays as long as the records would.
        let pool = Vec::leak(vec![0_u8; size * records]);
        for record in pool.chunks_exact_mut(size) {
            fill(record.as_mut_ptr(), size);
            index.push(record.as_mut_ptr());
        }
    }
}

fn fill(record: *mut u8, size: usize) {
    // SAFETY: as many bytes are the record's.
    unsafe { record.write_bytes(1, size) };
}

/// As the kernel counts the pages, exactly.
fn resident_bytes() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").expect("readable");
    let line = rollup.lines().find(|line| line.starts_with("Rss:")).expect("a resident size");
    let kib = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
    kib.expect("a number") << 10
}
