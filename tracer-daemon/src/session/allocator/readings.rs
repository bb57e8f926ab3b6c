//! What is read at the two ends of a moment in which calls are counted.

use std::time::{Duration, Instant};

use tracer_common::{ProbeCost, ProcessId};

use crate::{aggregate::allocation_rate::Moment, source::KernelMaps};

/// Totals of a process at an instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readings {
    pub(super) at: Instant,
    calls: u64,
    cpu: Duration,
    hits: [u64; ProbeCost::ALL.len()],
}

impl Readings {
    /// Reads them. A process that has ended has no CPU time.
    pub(super) fn now(maps: &KernelMaps, process: ProcessId) -> Self {
        // Maps of this size can always be read.
        let calls = maps.allocations.read(process).unwrap_or_default();
        Self {
            at: Instant::now(),
            calls: calls.values().map(|counter| counter.calls).sum(),
            cpu: cpu_time(process.pid).unwrap_or_default(),
            hits: maps.allocations.hits().unwrap_or_default(),
        }
    }

    /// The moment since then, before which nothing was counted for this long.
    pub(super) fn moment_since(self, begin: Self, before: Duration) -> Moment {
        Moment {
            length: self.at - begin.at,
            before,
            calls: self.calls.saturating_sub(begin.calls),
            cpu: self.cpu_since(begin),
            hits: std::array::from_fn(|at| self.hits[at].saturating_sub(begin.hits[at])),
        }
    }

    /// CPU time since then.
    pub(super) fn cpu_since(self, begin: Self) -> Duration {
        self.cpu.saturating_sub(begin.cpu)
    }
}

/// CPU time of all of a process's threads so far, to the nanosecond.
fn cpu_time(pid: u32) -> Option<Duration> {
    let mut clock = 0;
    // SAFETY: writes to `clock` only.
    let known = unsafe { libc::clock_getcpuclockid(pid.cast_signed(), &raw mut clock) } == 0;
    if known { read(clock) } else { None }
}

/// CPU time of this thread so far.
pub(super) fn own_cpu_time() -> Duration {
    read(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or_default()
}

fn read(clock: libc::clockid_t) -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to `time` only.
    let read = unsafe { libc::clock_gettime(clock, &raw mut time) } == 0;
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    read.then_some(Duration::new(seconds.ok()?, nanoseconds.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `getrusage` tells in microseconds, twice rounded down.
    fn used() -> Duration {
        // SAFETY: numbers, for which zeros are valid.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: writes to `usage` only.
        unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
        let micros = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
        Duration::from_micros((micros(usage.ru_utime) + micros(usage.ru_stime)).cast_unsigned())
    }

    #[test]
    fn cpu_time_is_that_of_the_process() {
        let own = || cpu_time(std::process::id()).unwrap_or_default();
        let (before, used, after) = (own(), used(), own());
        assert!(before < used + Duration::from_micros(2) && used <= after, "{before:?} {used:?}");
        // The kernel hands out no such pid (include/linux/threads.h, PID_MAX_LIMIT).
        assert_eq!(cpu_time(1 << 22), None);
    }
}
