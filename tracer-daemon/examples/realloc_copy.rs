//! The `realloc-copy` pathology: the buffers of many connections grow in turn, by constant steps, so that each
//! has another one behind it and has to move. `--cured` doubles their capacity. Healthy as they are: one
//! buffer (`--buffers 1`), which grows where it is, and large ones (`--remapped`), whose pages are moved.

#[path = "shared/cycles.rs"]
mod cycles;
#[path = "shared/tracer.rs"]
mod tracer;

use clap::Parser;

/// Of glibc's malloc.h.
const TRIM_THRESHOLD: libc::c_int = -1;
const MMAP_THRESHOLD: libc::c_int = -3;

#[derive(Parser)]
struct Options {
    #[arg(long)]
    cured: bool,
    #[arg(long)]
    remapped: bool,
    #[arg(long, default_value_t = 256)]
    buffers: usize,
    #[arg(long, default_value_t = 4 << 10)]
    step: usize,
    #[arg(long, default_value_t = 256 << 10)]
    largest: usize,
    #[arg(long, default_value_t = 25)]
    rounds: usize,
    #[arg(long)]
    wait: bool,
}

struct Buffer {
    start: *mut libc::c_void,
    length: usize,
    capacity: usize,
}

/// What happened to blocks that became larger.
#[derive(Default)]
struct Truth {
    fresh: u64,
    in_place: u64,
    moved: u64,
    remapped: u64,
    /// Of those that moved, bytes that there was room for.
    brought_along: usize,
    grown: usize,
}

fn main() {
    let options = Options::parse();
    let threshold = if options.remapped { 128 << 10 } else { 16 << 20 };
    // SAFETY: takes no pointers, and there is one thread.
    let set = unsafe {
        libc::mallopt(MMAP_THRESHOLD, threshold) + libc::mallopt(TRIM_THRESHOLD, i32::MAX)
    };
    assert_eq!(set, 2, "mallopt failed");
    let mut buffers: Vec<_> = (0..options.buffers).map(|_| Buffer::new()).collect();
    tracer::begin();
    tracer::wait_if(options.wait);
    let (mut truth, mut at) = (Truth::default(), 0);
    let appends = options.rounds * options.buffers * (options.largest / options.step);
    cycles::run(appends as u64, || {
        append(&mut buffers[at], &options, &mut truth);
        at = (at + 1) % options.buffers;
        if at == 0 && buffers[at].length >= options.largest {
            buffers.iter_mut().for_each(|buffer| *buffer = Buffer::new());
        }
    });
    let Truth { fresh, in_place, moved, remapped, brought_along, grown } = truth;
    println!("truth {fresh} {in_place} {moved} {remapped} {brought_along} {grown}");
    tracer::wait_if(options.wait);
}

/// Takes in what a connection has sent.
#[inline(never)]
fn append(buffer: &mut Buffer, options: &Options, truth: &mut Truth) {
    let length = buffer.length + options.step;
    if length > buffer.capacity {
        let doubled = if options.cured { 2 * buffer.capacity } else { 0 };
        buffer.resize(length.max(doubled), options.remapped, truth);
    }
    // SAFETY: there is room for `length`.
    unsafe { buffer.start.byte_add(buffer.length).write_bytes(1, options.step) };
    buffer.length = length;
}

impl Buffer {
    const fn new() -> Self {
        Self { start: std::ptr::null_mut(), length: 0, capacity: 0 }
    }

    /// Whether it has a mapping of its own, by the flag that glibc keeps before it.
    fn is_mapped(&self) -> bool {
        const IS_MMAPPED: usize = 2;
        // SAFETY: a block of glibc's `malloc`, and so there is its size before it.
        !self.start.is_null()
            && unsafe { *self.start.byte_sub(8).cast::<usize>() } & IS_MMAPPED != 0
    }

    #[inline(never)]
    fn resize(&mut self, capacity: usize, may_be_mapped: bool, truth: &mut Truth) {
        let was_mapped = may_be_mapped && self.is_mapped();
        // SAFETY: null, or a block of `malloc`.
        let before = unsafe { libc::malloc_usable_size(self.start) };
        let old = self.start as usize;
        // SAFETY: as above, and the old block is not used after.
        self.start = unsafe { libc::realloc(self.start, capacity) };
        assert!(!self.start.is_null(), "out of memory");
        self.capacity = capacity;
        // SAFETY: a block of `malloc`.
        truth.grown += unsafe { libc::malloc_usable_size(self.start) } - before;
        if old == 0 {
            truth.fresh += 1;
        } else if old == self.start as usize {
            truth.in_place += 1;
        } else if was_mapped && self.is_mapped() {
            truth.remapped += 1;
        } else {
            truth.moved += 1;
            truth.brought_along += before;
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: null, or a block of `malloc`, and not used after.
        unsafe { libc::free(self.start) };
    }
}
