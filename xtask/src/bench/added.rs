//! What look-ups, waits for the lock and CPU samples add to the worst-case cycle, over the
//! foundation's probes.

use super::{
    Ratio,
    cycle::TURN,
    tracer::{ADDED, Tracer},
    workload::Workload,
};
use crate::sh;
use anyhow::{Context, Result};
use serde_json::Value;
use std::process::Command;

/// Rounds of both. A ratio close to 1 needs many.
const ROUNDS: usize = 15;

/// What it may be.
const LIMIT: f64 = 1.03;

/// Measures and prints the ratio, and next to it that of the foundation to itself.
pub(super) fn run() -> Result<()> {
    let mut workload = Workload::start(&["--touches", "6"])?;
    let (mut control, mut added) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        eprint!("\rround {round} of {ROUNDS} ");
        let first = under(Tracer::Foundation, &mut workload)?;
        let all = under(Tracer::Attach, &mut workload)?;
        let second = under(Tracer::Foundation, &mut workload)?;
        control.push((first, second));
        added.push(((first + second) / 2.0, all));
    }
    eprintln!();
    println!("\nall probes to the foundation's, mmap 2 MiB, 6 touches, munmap: at most {LIMIT}");
    for (name, pairs) in [("all", &added), ("the foundation again", &control)] {
        let Ratio { median, low, high } = Ratio::of(pairs);
        println!("{name:<22} {median:>9.3}   half of {ROUNDS} rounds: {low:.3} to {high:.3}");
    }
    print_signals()
}

/// Nanoseconds for a cycle.
fn under(tracer: Tracer, workload: &mut Workload) -> Result<f64> {
    let running = tracer.start(workload.pid())?;
    let nanoseconds = workload.nanoseconds(TURN)?;
    running.stop()?;
    Ok(nanoseconds)
}

/// The ratio holds for the signals that this kernel has, and by these rungs.
fn print_signals() -> Result<()> {
    let mut doctor = Command::new(sh::workspace().join("target/release/alloctrace"));
    let text = sh::output(doctor.args(["doctor", "--format", "json"]))?;
    let examination: Value = serde_json::from_str(&text)?;
    let rows = examination["rungs"].as_array().context("the doctor has no rungs")?;
    let rung = |signal: &str| {
        let used = rows.iter().find(|row| row["signal"] == signal && row["used"] == true)?;
        Some(format!("{signal} ({})", used["backend"].as_str()?))
    };
    let has: Vec<_> = ADDED.into_iter().filter_map(rung).collect();
    let has_not: Vec<_> = ADDED.into_iter().filter(|signal| rung(signal).is_none()).collect();
    println!("measured: {}", has.join(", "));
    if !has_not.is_empty() {
        println!("not measured, for this kernel does not have them: {}", has_not.join(", "));
    }
    Ok(())
}
