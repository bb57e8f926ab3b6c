//! The worst-case cycle under each tracer.
//!
//! The workload never stops; the tracers come and go around it. Each round measures every tracer
//! and, next to it, the workload alone.

use super::{median, tracer::Tracer, workload::Workload};
use anyhow::Result;
use std::{collections::BTreeMap, time::Duration};

/// Rounds of all tracers. The median of as many ratios is what is printed.
const ROUNDS: usize = 5;

/// Measured in each turn.
pub(super) const TURN: Duration = Duration::from_millis(1200);

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
    for shape in SHAPES {
        println!("\n{}", shape.name);
        let ratios = measure(shape)?;
        print(shape, &ratios);
    }
    Ok(())
}

/// By tracer: (nanoseconds for a cycle alone, nanoseconds under it), a pair for each round.
type Pairs = BTreeMap<&'static str, Vec<(f64, f64)>>;

fn measure(shape: &Shape) -> Result<Pairs> {
    let mut workload = Workload::start(shape.arguments)?;
    let mut pairs = Pairs::new();
    for round in 1..=ROUNDS {
        eprint!("\rround {round} of {ROUNDS} ");
        for &tracer in Tracer::ALL {
            let alone = workload.nanoseconds(TURN)?;
            let running = tracer.start(workload.pid())?;
            let traced = workload.nanoseconds(TURN)?;
            running.stop()?;
            pairs.entry(tracer.name()).or_default().push((alone, traced));
        }
    }
    eprintln!();
    Ok(pairs)
}

fn print(shape: &Shape, pairs: &Pairs) {
    let (divisor, event) = shape.events;
    println!("{:<22} {:>9} {:>16}", "under", "ratio", format!("added per {event}"));
    for &tracer in Tracer::ALL {
        let Some(rounds) = pairs.get(tracer.name()) else {
            continue;
        };
        let ratio = median(rounds.iter().map(|(alone, traced)| traced / alone));
        let added = median(rounds.iter().map(|(alone, traced)| (traced - alone) / divisor));
        println!("{:<22} {ratio:>9.3} {added:>13.0} ns", tracer.name());
    }
}
