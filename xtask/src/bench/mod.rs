//! What tracing costs the traced, as ratios measured side by side, by turns, in one run: so that a
//! machine which slows down slows down both sides.

mod added;
mod allocator;
mod census;
mod cycle;
mod rounds;
mod tracer;
mod workload;

use crate::{
    cargo,
    setup::{self, Group},
    sh,
};
use anyhow::{Result, bail};
use clap::ValueEnum;

/// What to measure
#[derive(clap::Args)]
pub(crate) struct Args {
    /// These only [default: all]
    parts: Vec<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The worst-case cycle under each tracer
    Cycle,
    /// What came after the foundation
    Added,
    /// A loop of malloc and free
    Allocator,
    /// A census
    Census,
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
        if args.parts.is_empty() || args.parts.contains(part) {
            part.run()?;
        }
    }
    Ok(())
}

impl Part {
    fn run(self) -> Result<()> {
        match self {
            Self::Cycle => cycle::run(),
            Self::Added => added::run(),
            Self::Allocator => allocator::run(),
            Self::Census => census::run(),
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
