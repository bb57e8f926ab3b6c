//! The `mmap-churn` pathology: a request handler takes a block, touches a few pages, gives it back.
//!
//! `--via malloc` fixes glibc's threshold, so that every block is a mapping of its own for ever;
//! `--via mmap` does without malloc. `--cured` applies the remedy: glibc keeps the memory, or the
//! handler keeps its buffer. Prints the CPU time of each cycle at the end.

use std::{
    io::Read,
    time::{Duration, Instant},
};

const PAGE: usize = 4096;

struct Options {
    via_malloc: bool,
    cured: bool,
    bytes: usize,
    touches: usize,
    cycles: u64,
    until: Duration,
    pause: Duration,
    spin: Duration,
    wait: bool,
    slice: Option<Duration>,
}

fn options() -> Options {
    let mut options = Options {
        via_malloc: false,
        cured: false,
        bytes: 2 << 20,
        touches: 6,
        cycles: u64::MAX,
        until: Duration::from_secs(3600),
        pause: Duration::ZERO,
        spin: Duration::ZERO,
        wait: false,
        slice: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|text| text.parse::<u64>().ok());
        match word.as_str() {
            "--via" => options.via_malloc = words.next().as_deref() == Some("malloc"),
            "--cured" => options.cured = true,
            "--wait" => options.wait = true,
            "--bytes" => options.bytes = number().unwrap_or(2 << 20) as usize,
            "--touches" => options.touches = number().unwrap_or(6) as usize,
            "--cycles" => options.cycles = number().unwrap_or(u64::MAX),
            "--seconds" => options.until = Duration::from_secs(number().unwrap_or(3600)),
            "--pause-us" => options.pause = Duration::from_micros(number().unwrap_or(0)),
            "--slice-ms" => options.slice = number().map(Duration::from_millis),
            "--spin-us" => options.spin = Duration::from_micros(number().unwrap_or(0)),
            _ => {
                eprintln!("unknown option {word}");
                std::process::exit(2);
            }
        }
    }
    options
}

fn main() {
    let options = options();
    // SAFETY: takes no pointers. With huge pages a touch of one page brings in all of them.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    if options.via_malloc {
        fix_thresholds(options.cured);
    }
    println!("pid {}", std::process::id());
    if options.wait {
        // The tracer is ready when a line comes in.
        let _ = std::io::stdin().read(&mut [0; 64]);
    }
    let mut kept = None;
    let before = cpu_time();
    let begin = Instant::now();
    let mut cycles = 0;
    let mut slice = Slice::begin();
    while cycles < options.cycles && begin.elapsed() < options.until {
        handle_request(&options, &mut kept);
        cycles += 1;
        work(options.spin);
        if options.slice.is_some_and(|length| slice.begin.elapsed() >= length) {
            slice = slice.end(cycles);
        }
        if !options.pause.is_zero() {
            std::thread::sleep(options.pause);
        }
    }
    let cpu = cpu_time() - before;
    println!("cycles {cycles} cpu_ns_per_cycle {:.1}", cpu.as_nanos() as f64 / cycles as f64);
    if options.wait {
        let _ = std::io::stdin().read(&mut [0; 64]);
    }
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
    let block = if options.via_malloc {
        // SAFETY: freed below.
        unsafe { libc::malloc(options.bytes) }.cast::<u8>()
    } else if let Some(block) = *kept {
        block
    } else {
        take_block(options.bytes)
    };
    touch(block, options);
    if options.via_malloc {
        // SAFETY: from malloc above, and not used after.
        unsafe { libc::free(block.cast()) };
    } else if options.cured {
        *kept = Some(block);
    } else {
        give_block_back(block, options.bytes);
    }
}

#[inline(never)]
fn take_block(bytes: usize) -> *mut u8 {
    // SAFETY: a new anonymous mapping, placed by the kernel.
    let block = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(block, libc::MAP_FAILED, "mmap failed");
    block.cast()
}

#[inline(never)]
fn give_block_back(block: *mut u8, bytes: usize) {
    // SAFETY: mapped by `take_block` with this size, and not used after.
    let result = unsafe { libc::munmap(block.cast(), bytes) };
    assert_eq!(result, 0, "munmap failed");
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

/// A stretch of work, reported by itself so that a measurement can tell before from after.
struct Slice {
    begin: Instant,
    cpu: Duration,
    cycles: u64,
}

impl Slice {
    fn begin() -> Self {
        Self { begin: Instant::now(), cpu: cpu_time(), cycles: 0 }
    }

    /// `cycles` are those since the program began.
    fn end(self, cycles: u64) -> Self {
        let cpu = cpu_time() - self.cpu;
        println!("slice {:.1}", cpu.as_nanos() as f64 / (cycles - self.cycles) as f64);
        Self { cycles, ..Self::begin() }
    }
}

/// The rest of the request.
fn work(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
