//! What tracing costs the traced, as ratios measured side by side, by turns, in one run: so that a
//! machine which slows down slows down both sides.

mod added;
mod calls;
mod census;
mod coverage;
mod crowd;
mod cycle;
mod hot_loop;
mod rounds;
mod taken;
mod tracer;
mod workload;

use crate::{
    cargo,
    setup::{self, Group},
    sh,
};
use anyhow::{Result, bail};
use clap::ValueEnum;
use std::time::Duration;

/// What to measure
#[derive(clap::Args)]
pub(crate) struct Args {
    /// These only [default: all but crowd and coverage]
    parts: Vec<Part>,
    /// For coverage: windows at each rate
    #[arg(long, default_value_t = 20)]
    runs: usize,
    /// For coverage: seconds of each; for crowd: in all [default: 10, 600]
    #[arg(long)]
    seconds: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The worst-case cycle under each tracer
    Cycle,
    /// What came after the foundation
    Added,
    /// A loop of malloc and free within a budget
    Allocator,
    /// What each counted call of an allocator costs
    Calls,
    /// A census
    Census,
    /// The daemon on a crowded machine
    Crowd,
    /// Stated intervals of the rate of calls against the true one
    Coverage,
}

/// Measures and prints ratios.
pub(crate) fn run(args: &Args) -> Result<()> {
    if !sh::is_root() {
        bail!("tracing needs root: run it with sudo");
    }
    setup::ensure(&[Group::Build, Group::Bench])?;
    let daemon = ["--release", "--package", "tracer-daemon", "--bins", "--examples"];
    cargo::build(&[["build"].as_slice(), &daemon].concat())?;
    for part in Part::value_variants() {
        let takes_long = matches!(part, Part::Crowd | Part::Coverage);
        let by_itself = args.parts.is_empty() && !takes_long;
        if by_itself || args.parts.contains(part) {
            part.run(args)?;
        }
    }
    Ok(())
}

impl Part {
    fn run(self, args: &Args) -> Result<()> {
        match self {
            Self::Cycle => cycle::run(),
            Self::Added => added::run(),
            Self::Allocator => hot_loop::run(),
            Self::Calls => calls::run(),
            Self::Census => census::run(),
            Self::Crowd => crowd::run(Duration::from_secs(args.seconds.unwrap_or(600))),
            Self::Coverage => {
                coverage::run(args.runs, Duration::from_secs(args.seconds.unwrap_or(10)))
            }
        }
    }
}

/// A ratio of rounds: the median, and between which the middle half lies.
struct Ratio {
    median: f64,
    low: f64,
    high: f64,
}

impl Ratio {
    /// Of each pair the second by the first; NaN without a pair.
    fn of(pairs: &[(f64, f64)]) -> Self {
        let mut ratios: Vec<_> = pairs.iter().map(|(one, other)| other / one).collect();
        ratios.sort_by(f64::total_cmp);
        let at = |part: usize| ratios.get(ratios.len() * part / 4).copied().unwrap_or(f64::NAN);
        Self { median: at(2), low: at(1), high: at(3) }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
