//! The worst-case cycle under each tracer.
//!
//! The workload never stops; the tracers come and go around it.

use super::{
    rounds::{Rounds, heading},
    tracer::Tracer,
    workload::Workload,
};
use anyhow::Result;

/// Rounds of all tracers. The median of as many ratios is what is printed.
const ROUNDS: usize = 9;

/// What the workload does in each cycle.
struct Shape {
    name: &'static str,
    arguments: &'static [&'static str],
    /// Events by which the added time is divided, and what they are called.
    events: (f64, &'static str),
}

const SHAPES: &[Shape] = &[
    Shape {
        name: "mmap 2 MiB, 6 touches, munmap",
        arguments: &["--touches", "6"],
        events: (1.0, "cycle"),
    },
    Shape {
        name: "mmap 2 MiB, 256 touches, munmap",
        arguments: &["--touches", "256"],
        events: (256.0, "fault"),
    },
];

/// Measures and prints ratios.
pub(super) fn run() -> Result<()> {
    SHAPES.iter().try_for_each(measure)
}

fn measure(shape: &Shape) -> Result<()> {
    let mut workload = Workload::start("mmap_churn", shape.arguments)?;
    let mut all: Vec<_> = Tracer::ALL.iter().map(|&tracer| (tracer, Rounds::default())).collect();
    for round in 1..=ROUNDS {
        eprint!("\rround {round} of {ROUNDS} ");
        for (tracer, rounds) in &mut all {
            rounds.add(&mut workload, Tracer::Nothing, *tracer)?;
        }
    }
    eprintln!();
    let (events, event) = shape.events;
    println!("\n{}\n{}", shape.name, heading(event));
    for (tracer, rounds) in &all {
        println!("{}", rounds.line(tracer.name(), events));
    }
    Ok(())
}
