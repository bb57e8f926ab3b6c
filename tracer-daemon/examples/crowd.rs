//! A crowded machine: many processes that do nothing, and many more that live for a moment. Says "ready", then keeps on
//! until it is ended; the idle ones end with it.

use std::{
    io::Error,
    thread::sleep,
    time::{Duration, Instant},
};

use clap::Parser;

const PAGE: usize = 4096;

/// How often short-lived processes are started, a handful each time.
const BEAT: Duration = Duration::from_millis(10);

#[derive(Parser)]
struct Options {
    /// Processes that do nothing
    #[arg(long, default_value_t = 10_000)]
    idle: u32,
    /// Processes a second that touch some pages and end
    #[arg(long, default_value_t = 1000)]
    short: u32,
    /// Pages that each of those touches
    #[arg(long, default_value_t = 16)]
    pages: usize,
}

fn main() -> Result<(), Error> {
    let options = Options::parse();
    for _ in 0..options.idle {
        fork(idle)?;
    }
    println!("ready");
    let began = Instant::now();
    let mut started = 0;
    loop {
        let due = (began.elapsed().as_secs_f64() * f64::from(options.short)) as u64;
        while started < due {
            fork(|| touch(options.pages))?;
            started += 1;
        }
        reap();
        sleep(BEAT);
    }
}

/// Runs `child` in a process of its own, which ends with it.
fn fork(child: impl FnOnce()) -> Result<(), Error> {
    // SAFETY: this process has one thread, so that its copy can do whatever it could.
    match unsafe { libc::fork() } {
        -1 => Err(Error::last_os_error()),
        0 => {
            child();
            // SAFETY: ends the process without what its parent wants done at its own end.
            unsafe { libc::_exit(0) }
        }
        _ => Ok(()),
    }
}

fn idle() {
    // SAFETY: a signal at the parent's end is all that is asked for, and then nothing but waiting for one.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::pause();
    }
}

fn touch(pages: usize) {
    let mut memory = vec![0_u8; pages * PAGE];
    memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = std::hint::black_box(1));
    std::hint::black_box(memory);
}

/// Takes leave of the children that have ended.
fn reap() {
    // SAFETY: nobody wants to know how they ended.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
}
