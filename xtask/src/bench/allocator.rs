//! What each call of an allocator costs that is counted.

use super::{
    rounds::{Rounds, heading},
    tracer::Tracer,
    workload::Workload,
};
use anyhow::Result;

/// Rounds of each tracer.
const ROUNDS: usize = 7;

/// Steps between two pairs, for about 5 microseconds: so that calls can be counted within a budget, and their
/// results cannot.
const WORK: &str = "20000";

/// Measures and prints ratios.
pub(super) fn run() -> Result<()> {
    let mut paced = Workload::start("malloc_loop", &["--work", WORK])?;
    let tracers = [Tracer::Calls, Tracer::EmptyProbes, Tracer::BpftraceMalloc, Tracer::Results];
    let mut calls = tracers.map(|tracer| (tracer, Rounds::default()));
    for round in 1..=ROUNDS {
        eprint!("\rround {round} of {ROUNDS} ");
        for (tracer, one) in &mut calls {
            one.add(&mut paced, Tracer::Nothing, *tracer)?;
        }
    }
    eprintln!();
    println!("\nevery call counted: at most 1.15 of empty probes, a third of bpftrace");
    println!("{}", heading("call"));
    for (tracer, rounds) in &calls {
        println!("{}", rounds.line(tracer.name(), 2.0));
    }
    Ok(())
}
