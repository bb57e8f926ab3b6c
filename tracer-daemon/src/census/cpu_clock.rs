/// `PID_MAX_LIMIT` of the kernel.
const PID_LIMIT: u32 = 1 << 22;

/// Nanoseconds that a process has spent on a CPU, by its CPU-time clock (clock_getcpuclockid(3)):
/// threads that have ended and those that run right now are in it, the latter up to the kernel's last tick.
/// Any user may ask. `None` if there is no such process in this pid namespace.
#[must_use]
pub fn cpu_clock_ns(pid: u32) -> Option<u64> {
    // 0 would mean the caller, and the clock's number has no room for more bits.
    if pid == 0 || pid > PID_LIMIT {
        return None;
    }
    let pid = libc::pid_t::try_from(pid).ok()?;
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both pointers are to live variables of the right type.
    let failed = unsafe {
        libc::clock_getcpuclockid(pid, &raw mut clock) != 0
            || libc::clock_gettime(clock, &raw mut time) != 0
    };
    if failed {
        return None;
    }
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanoseconds = u64::try_from(time.tv_nsec).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn spin(ns: u64) {
        let begin = std::time::Instant::now();
        while u128::from(ns) > begin.elapsed().as_nanos() {}
    }

    #[test]
    fn ended_threads_are_in_it() {
        let pid = std::process::id();
        let before = cpu_clock_ns(pid).unwrap();
        std::thread::spawn(|| spin(20_000_000)).join().unwrap();
        let after = cpu_clock_ns(pid).unwrap();
        assert!(after - before > 1_000_000, "{before} {after}");
    }

    /// What `getrusage` tells in microseconds, twice rounded down.
    fn used_ns() -> u64 {
        // SAFETY: numbers, for which zeros are valid.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: writes to `usage` only.
        unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
        let micros = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
        (micros(usage.ru_utime) + micros(usage.ru_stime)).cast_unsigned() * 1000
    }

    #[test]
    fn it_is_what_the_process_has_used() {
        let own = || cpu_clock_ns(std::process::id()).unwrap();
        let (before, used, after) = (own(), used_ns(), own());
        assert!(before < used + 2000 && used <= after, "{before} {used} {after}");
    }

    #[test]
    fn nobody_has_no_clock() {
        assert_eq!(cpu_clock_ns(PID_LIMIT), None);
        assert_eq!(cpu_clock_ns(0), None);
        assert_eq!(cpu_clock_ns(u32::MAX), None);
        assert_eq!(cpu_clock_ns(i32::MAX.unsigned_abs()), None);
    }
}
