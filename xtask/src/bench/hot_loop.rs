//! What following an allocator within a budget costs a program that does nothing but call it.
//!
//! Probes come and go, so that a few moments pay for all; and a machine that shares its processor becomes faster and
//! slower by itself, by far more than the budget. So two things are told apart: how quick the loop is when nothing
//! disturbs it, with and without a tracer; and what is lost in moments slower than those around them.

use super::{tracer::Tracer, workload::Workload};
use anyhow::Result;
use std::time::Duration;

/// What the loop may cost under the default budget of 1 %.
const LIMIT: f64 = 1.015;

const ROUNDS: usize = 12;

/// So long that the probes come and go several times.
const TURN: Duration = Duration::from_secs(10);

/// Slices on either side, whose median says how quick the machine was then: an eighth of a second.
const AROUND: usize = 6;

/// Measures and prints.
pub(super) fn run() -> Result<()> {
    let mut hot = Workload::start("malloc_loop", &[])?;
    let (mut untraced, mut traced) = (Turns::default(), Turns::default());
    for round in 1..=ROUNDS {
        eprint!("\rround {round} of {ROUNDS} ");
        untraced.add(hot.slices(TURN)?);
        let tracer = Tracer::Malloc.start(hot.pid())?;
        traced.add(hot.slices(TURN)?);
        tracer.stop()?;
    }
    eprintln!();
    let ratio = traced.quick() / untraced.quick() * (1.0 - untraced.lost()) / (1.0 - traced.lost());
    println!("\nmalloc and free for ever, within 1 %: at most {LIMIT}");
    println!("under                   ratio   undisturbed   lost in slow moments");
    println!("{}", untraced.line("nothing", 1.0));
    println!("{}", traced.line(Tracer::Malloc.name(), ratio));
    Ok(())
}

/// Nanoseconds of CPU time for a pair, slice by slice, of several turns.
#[derive(Default)]
struct Turns(Vec<Vec<f64>>);

impl Turns {
    fn add(&mut self, slices: Vec<f64>) {
        self.0.push(slices);
    }

    /// In the quickest tenth.
    fn quick(&self) -> f64 {
        let mut all: Vec<_> = self.0.iter().flatten().copied().collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 10).copied().unwrap_or(f64::NAN)
    }

    /// The share of the time in which nothing came of it. A little below 0 where slices differ by chance alone.
    fn lost(&self) -> f64 {
        let lost: f64 = self.0.iter().map(|turn| lost(turn)).sum();
        lost / self.0.iter().map(Vec::len).sum::<usize>() as f64
    }

    fn line(&self, name: &str, ratio: f64) -> String {
        let lost = self.lost() * 100.0;
        format!("{name:<22} {ratio:>6.3} {:>10.3} ns {lost:>20.2} %", self.quick())
    }
}

/// In slices.
fn lost(turn: &[f64]) -> f64 {
    let usual = |at: usize| {
        let around = turn.get(at.saturating_sub(AROUND)..(at + AROUND + 1).min(turn.len()));
        super::median(around.unwrap_or_default().iter().copied())
    };
    turn.iter().enumerate().map(|(at, slice)| 1.0 - usual(at) / slice).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_moments_are_told_from_a_machine_that_changed() {
        let mut turns = Turns::default();
        turns.add(vec![8.0; 100]);
        assert!(turns.lost().abs() < 1e-9);
        let mut changed = vec![8.0; 100];
        changed[50..].fill(13.0);
        turns.add(changed.clone());
        assert!(turns.lost().abs() < 1e-9, "{}", turns.lost());
        // Nothing else went on in one slice of a hundred.
        changed[20] = 800.0;
        turns.add(changed);
        assert!((turns.lost() - 0.99 / 300.0).abs() < 1e-9, "{}", turns.lost());
        assert!((turns.quick() - 8.0).abs() < 1e-9);
    }
}
