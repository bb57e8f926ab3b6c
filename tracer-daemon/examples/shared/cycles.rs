//! Cycles of a workload, and their price.

#[path = "cpu_time.rs"]
mod cpu_time;

use cpu_time::cpu_time;

/// Prints the CPU time of each cycle at the end.
pub(crate) fn run(cycles: u64, mut cycle: impl FnMut()) {
    let before = cpu_time();
    for _ in 0..cycles {
        cycle();
    }
    let cpu = cpu_time() - before;
    println!("cycles {cycles} cpu_ns_per_cycle {:.1}", cpu.as_nanos() as f64 / cycles as f64);
}
