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
    // Each with the calls of a pair that it counts.
    let mut calls = [
        (Tracer::Calls, 2.0),
        (Tracer::EmptyProbe, 1.0),
        (Tracer::BpftraceMalloc, 2.0),
        (Tracer::Results, 2.0),
    ]
    .map(|(tracer, calls)| (tracer, calls, Rounds::default()));
    for round in 1..=ROUNDS {
        eprint!("\rround {round} of {ROUNDS} ");
        for (tracer, _, one) in &mut calls {
            one.add(&mut paced, Tracer::Nothing, *tracer)?;
        }
    }
    eprintln!();
    println!("\nevery call counted: at most 1.15 of an empty probe, a third of bpftrace");
    println!("{}", heading("call"));
    for (tracer, calls, rounds) in &calls {
        println!("{}", rounds.line(tracer.name(), *calls));
    }
    Ok(())
}
