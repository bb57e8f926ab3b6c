//! The `find-vma-hot` pathology: a very large number of areas, and faults all over them, so that
//! each fault looks its area up in a deep tree that is in no cache. `--cured` has the same pages in
//! one area.

use std::{
    io::Read,
    time::{Duration, Instant},
};

const PAGE: usize = 4096;

struct Options {
    areas: usize,
    until: Duration,
    cured: bool,
    wait: bool,
}

fn options() -> Options {
    let mut options =
        Options { areas: 60_000, until: Duration::from_secs(3600), cured: false, wait: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|text| text.parse::<u64>().ok());
        match word.as_str() {
            "--areas" => options.areas = number().unwrap_or(60_000) as usize,
            "--seconds" => options.until = Duration::from_secs(number().unwrap_or(3600)),
            "--cured" => options.cured = true,
            "--wait" => options.wait = true,
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
    let base = plant(options.areas, options.cured);
    println!("pid {}", std::process::id());
    if options.wait {
        // The tracer is ready when a line comes in.
        let _ = std::io::stdin().read(&mut [0; 64]);
    }
    println!("touches {}", work(base, &options));
    if options.wait {
        let _ = std::io::stdin().read(&mut [0; 64]);
    }
}

/// `areas` pages that can be written, each an area of its own: between them lie pages that can be
/// read only.
fn plant(areas: usize, cured: bool) -> *mut u8 {
    // SAFETY: a new anonymous mapping, placed by the kernel.
    let base = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            areas * PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    assert_ne!(base, libc::MAP_FAILED, "mmap failed");
    let base = base.cast::<u8>();
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
    let end = Instant::now() + options.until;
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
