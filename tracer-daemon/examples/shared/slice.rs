use std::time::{Duration, Instant};

use crate::cpu_time::cpu_time;

/// A stretch of work, reported by itself so that a measurement can tell before from after.
pub(crate) struct Slice {
    begin: Instant,
    cpu: Duration,
    cycles: u64,
}

impl Slice {
    pub(crate) fn begin() -> Self {
        Self { begin: Instant::now(), cpu: cpu_time(), cycles: 0 }
    }

    pub(crate) fn lasted(&self, length: Duration) -> bool {
        self.begin.elapsed() >= length
    }

    /// `cycles` are those since the program began.
    pub(crate) fn end(self, cycles: u64) -> Self {
        let cpu = cpu_time() - self.cpu;
        println!("slice {:.3}", cpu.as_nanos() as f64 / (cycles - self.cycles) as f64);
        Self { cycles, ..Self::begin() }
    }
}
