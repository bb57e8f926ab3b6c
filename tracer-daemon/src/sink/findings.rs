//! Findings of closer looks for programs: the same fields in the daemon's answers and in what `top` prints.

use std::time::Instant;

use serde::Serialize;

use crate::{aggregate::machine::LookTotals, diagnose::Finding};

/// A finding of a recording, and whose it is.
#[derive(Serialize)]
pub struct ActiveFinding<'a> {
    group: &'a str,
    comm: &'a str,
    pid: u32,
    age_seconds: f64,
    #[serde(flatten)]
    finding: &'a Finding,
}

/// Those that hold, worst first.
#[must_use]
pub fn active(looks: &LookTotals, now: Instant) -> Vec<ActiveFinding<'_>> {
    let findings = looks.worst_first().into_iter();
    let findings = findings.map(|(group, found, finding)| ActiveFinding {
        group,
        comm: &found.comm,
        pid: found.process.pid,
        age_seconds: now.saturating_duration_since(found.at).as_secs_f64(),
        finding,
    });
    findings.collect()
}
