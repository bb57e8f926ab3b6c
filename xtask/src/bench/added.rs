//! What look-ups, waits for the lock and CPU samples add to the worst-case cycle, over the
//! foundation's probes.

use super::{
    rounds::{Rounds, heading},
    tracer::{ADDED, Tracer, doctor},
    workload::Workload,
};
use anyhow::{Context, Result};

/// Rounds of both. A ratio close to 1 needs many.
const ROUNDS: usize = 15;

/// What it may be.
const LIMIT: f64 = 1.03;

/// Measures and prints the ratio, and next to it that of the foundation to itself.
pub(super) fn run() -> Result<()> {
    let mut workload = Workload::start("mmap_churn", &["--touches", "6"])?;
    let (mut control, mut added) = (Rounds::default(), Rounds::default());
    for round in 1..=ROUNDS {
        eprint!("\rround {round} of {ROUNDS} ");
        control.add(&mut workload, Tracer::Foundation, Tracer::Foundation)?;
        added.add(&mut workload, Tracer::Foundation, Tracer::Attach)?;
    }
    eprintln!();
    println!("\nall probes to the foundation's, mmap 2 MiB, 6 touches, munmap: at most {LIMIT}");
    println!("{}", heading("cycle"));
    println!("{}", added.line("all", 1.0));
    println!("{}", control.line("the foundation again", 1.0));
    print_signals()
}

/// The ratio holds for the signals that this kernel has, and by these rungs.
fn print_signals() -> Result<()> {
    let examination = doctor(&[])?;
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
