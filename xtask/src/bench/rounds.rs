//! One measurement between two of another: the machine may itself become faster or slower at any
//! time, as one that shares its processor with others does.

use super::{Ratio, median, tracer::Tracer, workload::Workload};
use anyhow::Result;
use std::time::Duration;

/// How far apart the outer two may be. Further apart, the machine changed in between, and nothing
/// can be said of the inner one.
const STEADY: f64 = 0.025;

/// Attempts at a round on an unsteady machine.
const ATTEMPTS: usize = 4;

/// Of what is the same in every moment this tells enough.
const TURN: Duration = Duration::from_millis(700);

/// Nanoseconds for a cycle, base and other, by round.
#[derive(Default)]
pub(super) struct Rounds {
    pairs: Vec<(f64, f64)>,
    left_out: usize,
}

impl Rounds {
    /// Measures a cycle under `other` between two under `base`.
    pub(super) fn add(
        &mut self,
        workload: &mut Workload,
        base: Tracer,
        other: Tracer,
    ) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let before = self.under(base, workload)?;
            let between = self.under(other, workload)?;
            let after = self.under(base, workload)?;
            if (after / before - 1.0).abs() <= STEADY {
                self.pairs.push(((before + after) / 2.0, between));
                return Ok(());
            }
            self.left_out += 1;
        }
        Ok(())
    }

    fn under(&self, tracer: Tracer, workload: &mut Workload) -> Result<f64> {
        let running = tracer.start(workload.pid())?;
        let nanoseconds = workload.median(TURN)?;
        running.stop()?;
        Ok(nanoseconds)
    }

    /// A line of the table: the median ratio, between which the middle half lies, the nanoseconds
    /// added to each of `events` in a cycle, and how many rounds count.
    pub(super) fn line(&self, name: &str, events: f64) -> String {
        let Ratio { median: ratio, low, high } = Ratio::of(&self.pairs);
        let added = median(self.pairs.iter().map(|(base, other)| (other - base) / events));
        let (count, out) = (self.pairs.len(), self.left_out);
        format!(
            "{name:<22} {ratio:>6.3}  {low:.3} to {high:.3} {added:>9.0} ns  {count} of {}",
            count + out
        )
    }
}

/// What [`Rounds::line`] writes.
pub(super) fn heading(event: &str) -> String {
    format!(
        "{:<22} {:>6}  {:<14} {:>12}  rounds",
        "under",
        "ratio",
        "middle half",
        format!("per {event}")
    )
}
