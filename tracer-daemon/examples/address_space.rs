//! The `vma-explosion` and `hole-search` pathologies: thousands of areas that cannot merge, holes
//! among them that are too small for what is asked for, and cycles of 512 KiB.
//!
//! Plants the field report: 9,053 areas, 2,885 of 516 KiB, 783 of 1,032 KiB, 589 of 1,548 KiB, 558
//! of 132 KiB and the rest below 128 KiB, with 4,200 holes of less than 512 KiB. Some neighbours
//! are kept apart by those holes, the others by their protection. `--areas N` plants N areas in the
//! same proportions, `--grow N` adds N more during the cycles. Nothing planted is touched, so it
//! takes no memory. `--cured` does the same work in two mappings: blocks are cut from one
//! reservation, and the buffer of each request is kept.
//!
//! Says what it planted in a line of `name=value`; with `--wait` it waits for a line on standard
//! input before it plants, before the cycles and before it ends.

#[path = "shared/cpu_time.rs"]
mod cpu_time;
#[path = "shared/tracer.rs"]
mod tracer;

use std::time::{Duration, Instant};

use clap::Parser;
use cpu_time::cpu_time;

const PAGE: usize = 4096;
const KIB: usize = 1 << 10;

/// The field report, by size.
const FIELD: [(usize, usize); 4] =
    [(516 * KIB, 2885), (1032 * KIB, 783), (1548 * KIB, 589), (132 * KIB, 558)];
const FIELD_AREAS: usize = 9053;
const FIELD_HOLES: usize = 4200;

/// What a request takes and gives back.
const REQUEST: usize = 512 * KIB;

#[derive(Parser)]
struct Options {
    #[arg(long, default_value_t = FIELD_AREAS)]
    areas: usize,
    #[arg(long, default_value_t = 0)]
    grow: usize,
    #[arg(long, default_value_t = u64::MAX)]
    cycles: u64,
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    #[arg(long, default_value_t = 6)]
    touches: usize,
    #[arg(long)]
    cured: bool,
    #[arg(long)]
    wait: bool,
}

fn main() {
    let options = Options::parse();
    let blocks = blocks(options.areas + options.grow);
    let (first, more) = blocks.split_at(options.areas);
    tracer::begin();
    tracer::wait_if(options.wait);
    let mut place = Place::reserve(&blocks, options.cured);
    place.plant(first);
    // Else a hole above the planted ones could serve the requests.
    let fillers = if options.cured { 0 } else { fill_larger_holes(place.edge) };
    say_what_was_planted(first, &options, fillers);
    tracer::wait_if(options.wait);
    work(&options, more, &mut place);
    tracer::wait_if(options.wait);
}

/// An area and the hole below it.
#[derive(Clone, Copy)]
struct Block {
    bytes: usize,
    hole: usize,
    writable: bool,
}

/// The blocks to plant, from the top down, in an order that looks like use and is always the same.
fn blocks(count: usize) -> Vec<Block> {
    let scaled = |number: usize| number * count / FIELD_AREAS;
    let mut sizes: Vec<usize> =
        FIELD.iter().flat_map(|&(bytes, number)| vec![bytes; scaled(number)]).collect();
    let others = (0..count - sizes.len()).map(|index| (index % 30 + 2) * PAGE);
    sizes.extend(others.collect::<Vec<_>>());
    let mut random = 1_u64;
    for index in (1..sizes.len()).rev() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        sizes.swap(index, (random >> 33) as usize % (index + 1));
    }
    let holes = scaled(FIELD_HOLES);
    let blocks = sizes.into_iter().enumerate().map(|(index, bytes)| Block {
        bytes,
        // Spread evenly: block `index` has one where the running total steps up.
        hole: if (index + 1) * holes / count > index * holes / count {
            (index % 127 + 1) * PAGE
        } else {
            0
        },
        writable: index % 2 == 0,
    });
    blocks.collect()
}

/// Where the blocks go, from the top down.
struct Place {
    /// Below it, nothing is planted yet.
    edge: usize,
    cured: bool,
}

impl Place {
    /// Lets the kernel find room for all of it.
    fn reserve(blocks: &[Block], cured: bool) -> Self {
        let bytes = blocks.iter().map(|block| block.bytes + block.hole).sum::<usize>();
        let start = map(std::ptr::null_mut(), bytes, 0, cured);
        if !cured {
            unmap(start, bytes);
        }
        Self { edge: start + bytes, cured }
    }

    /// The cure: blocks are parts of the reservation, and the kernel hears nothing of them.
    fn plant(&mut self, blocks: &[Block]) {
        for block in blocks {
            self.edge -= block.bytes;
            if !self.cured {
                plant_area(self.edge, block);
            }
            self.edge -= block.hole;
        }
    }
}

#[inline(never)]
fn plant_area(address: usize, block: &Block) {
    map(address as *mut libc::c_void, block.bytes, libc::MAP_FIXED_NOREPLACE, block.writable);
}

fn map(address: *mut libc::c_void, bytes: usize, more_flags: libc::c_int, writable: bool) -> usize {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | more_flags;
    let write = if writable { libc::PROT_WRITE } else { 0 };
    // SAFETY: a new anonymous mapping; `MAP_FIXED_NOREPLACE` replaces nothing.
    let mapping = unsafe { libc::mmap(address, bytes, libc::PROT_READ | write, flags, -1, 0) };
    if mapping == libc::MAP_FAILED {
        eprintln!("mmap failed: {}", std::io::Error::last_os_error());
        std::process::exit(1);
    }
    mapping as usize
}

fn unmap(address: usize, bytes: usize) {
    // SAFETY: mapped by this program with this size, and not used after.
    let result = unsafe { libc::munmap(address as *mut libc::c_void, bytes) };
    assert_eq!(result, 0, "munmap failed");
}

/// Takes every hole above `edge` that a request would fit into. Returns how many requests that is.
fn fill_larger_holes(edge: usize) -> usize {
    let mut taken = 0;
    loop {
        let address = map(std::ptr::null_mut(), REQUEST, 0, false);
        if address < edge {
            unmap(address, REQUEST);
            return taken;
        }
        taken += 1;
    }
}

fn say_what_was_planted(blocks: &[Block], options: &Options, fillers: usize) {
    let areas = if options.cured { 1 } else { blocks.len() };
    let of_size = |bytes| blocks.iter().filter(|block| block.bytes == bytes).count();
    let sizes: Vec<_> = FIELD
        .iter()
        .map(|&(bytes, _)| format!("size_{}={}", bytes / KIB, of_size(bytes)))
        .collect();
    // What is below the last one is part of all that is free below.
    let inner = &blocks[..blocks.len().saturating_sub(1)];
    let holes = inner.iter().filter(|block| block.hole > 0).count();
    let apart = inner.len() - holes;
    println!(
        "planted areas={areas} fillers={fillers} blocks={} holes={holes} by_protection={apart} \
         bytes={} {}",
        blocks.len(),
        blocks.iter().map(|block| block.bytes).sum::<usize>(),
        sizes.join(" "),
    );
}

/// Requests, with more blocks among them.
fn work(options: &Options, more: &[Block], place: &mut Place) {
    let mut more = more.iter();
    let mut kept = None;
    let until = Duration::from_secs(options.seconds);
    let (before, begin) = (cpu_time(), Instant::now());
    let mut cycles = 0;
    while cycles < options.cycles && begin.elapsed() < until {
        handle_request(options, &mut kept);
        if let Some(block) = more.next() {
            place.plant(std::slice::from_ref(block));
        }
        cycles += 1;
    }
    let cpu = cpu_time() - before;
    println!("cycles {cycles} cpu_ns_per_cycle {:.1}", cpu.as_nanos() as f64 / cycles as f64);
}

#[inline(never)]
fn handle_request(options: &Options, kept: &mut Option<usize>) {
    let buffer = kept.take().unwrap_or_else(take_buffer);
    for touch in 0..options.touches.min(REQUEST / PAGE) {
        // SAFETY: within the buffer, which is mapped and writable.
        unsafe { ((buffer + touch * PAGE) as *mut u8).write_volatile(1) };
    }
    if options.cured {
        *kept = Some(buffer);
    } else {
        unmap(buffer, REQUEST);
    }
}

#[inline(never)]
fn take_buffer() -> usize {
    map(std::ptr::null_mut(), REQUEST, 0, true)
}
