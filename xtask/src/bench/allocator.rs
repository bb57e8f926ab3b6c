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

/// Steps between two pairs, for about 5 microseconds: so that calls can be counted within a budget, and their
/// results cannot.
const WORK: &str = "20000";

/// Measures and prints ratios.
pub(super) fn run() -> Result<()> {
    let mut hot = Workload::start("malloc_loop", &[])?;
    let nanoseconds = hot.median(Duration::from_secs(1))?;
    let mut within = Rounds::of(|workload| workload.mean(TURN));
    rounds(|| within.add(&mut hot, Tracer::Nothing, Tracer::Malloc))?;
    drop(hot);
    println!("\nmalloc and free, {nanoseconds:.0} ns untraced, within 1 %: at most {LIMIT}");
    println!("{}", heading("pair"));
    println!("{}", within.line(Tracer::Malloc.name(), 1.0));

    let mut paced = Workload::start("malloc_loop", &["--work", WORK])?;
    let tracers = [Tracer::Calls, Tracer::EmptyProbes, Tracer::BpftraceMalloc, Tracer::Results];
    let mut calls = tracers.map(|tracer| (tracer, Rounds::default()));
    rounds(|| {
        let mut tracers = calls.iter_mut();
        tracers.try_for_each(|(tracer, one)| one.add(&mut paced, Tracer::Nothing, *tracer))
    })?;
    println!("\nevery call counted: at most 1.15 of empty probes, a third of bpftrace");
    println!("{}", heading("call"));
    for (tracer, rounds) in &calls {
        println!("{}", rounds.line(tracer.name(), 2.0));
    }
    Ok(())
}

fn rounds(mut one: impl FnMut() -> Result<()>) -> Result<()> {
    for round in 1..=ROUNDS {
        eprint!("\rround {round} of {ROUNDS} ");
        one()?;
    }
    eprintln!();
    Ok(())
}
