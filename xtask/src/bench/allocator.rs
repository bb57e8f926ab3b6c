//! What following an allocator costs the worst of programs, one that does nothing but call it: within a
//! budget, and for each call that is counted.

use super::{
    rounds::{Rounds, heading},
    tracer::Tracer,
    workload::Workload,
};
use anyhow::Result;
use std::time::Duration;

/// Rounds of each tracer.
const ROUNDS: usize = 7;

/// So long that the probes come and go several times.
const TURN: Duration = Duration::from_secs(10);

/// What the loop may cost under the default budget of 1 %.
const LIMIT: f64 = 1.015;

/// Measures and prints ratios.
pub(super) fn run() -> Result<()> {
    let mut workload = Workload::start("malloc_loop", &[])?;
    let nanoseconds = workload.median(Duration::from_secs(1))?;
    let mut within = Rounds::of(|workload| workload.mean(TURN));
    let mut calls = [Tracer::EveryCall, Tracer::EmptyProbes, Tracer::BpftraceMalloc]
        .map(|tracer| (tracer, Rounds::default()));
    for round in 1..=ROUNDS {
        eprint!("\rround {round} of {ROUNDS} ");
        within.add(&mut workload, Tracer::Nothing, Tracer::Malloc)?;
        for (tracer, rounds) in &mut calls {
            rounds.add(&mut workload, Tracer::Nothing, *tracer)?;
        }
    }
    eprintln!();
    println!("\nmalloc and free, {nanoseconds:.0} ns untraced, within 1 %: at most {LIMIT}");
    println!("{}", heading("pair"));
    println!("{}", within.line(Tracer::Malloc.name(), 1.0));
    println!("\nevery call counted: at most 1.15 of empty probes, a third of bpftrace");
    println!("{}", heading("call"));
    for (tracer, rounds) in &calls {
        println!("{}", rounds.line(tracer.name(), 2.0));
    }
    Ok(())
}
