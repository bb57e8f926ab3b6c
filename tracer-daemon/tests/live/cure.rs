//! Workloads with a cure: traced, left alone, and whether the cure saves what was predicted.

use std::process::Command;

use alloctrace::{diagnose::Finding, sink::Recording};
use libtest_mimic::Failed;

use crate::support::{Target, Tracer, ensure, is_vm, workload};

/// Runs that the fastest is taken of: a neighbour can only make a run slower.
const RUNS: usize = 3;

/// A workload with its options.
#[derive(Clone, Copy)]
pub(crate) struct Workload<'a> {
    pub(crate) program: &'a str,
    pub(crate) options: &'a [&'a str],
}

impl Workload<'_> {
    /// A window over all of its cycles.
    pub(crate) fn traced(self) -> Result<Recording, Failed> {
        let mut target = Target::start(self.command().arg("--wait"));
        target.hear("pid");
        let tracer = Tracer::attach(target.pid(), &[]);
        target.nudge();
        target.hear("cycles");
        tracer.interrupt()
    }

    pub(crate) fn command(self) -> Command {
        let mut command = Command::new(workload(self.program));
        command.args(self.options);
        command
    }
}

/// The finding of this name.
pub(crate) fn find<'a>(recording: &'a Recording, id: &str) -> Result<&'a Finding, Failed> {
    let found = recording.findings.iter().find(|finding| finding.id == id);
    found.ok_or_else(|| format!("no {id} among {:?}", recording.findings).into())
}

/// What was found, but for what the machine itself does: with the probes on them, look-ups take a tenth of
/// the time and more where the CPU is emulated.
pub(crate) fn findings(recording: &Recording) -> impl Iterator<Item = &Finding> {
    recording.findings.iter().filter(|finding| !(is_vm() && finding.id == "find-vma-hot"))
}

/// Fails if anything was found.
pub(crate) fn nothing_found(recording: &Recording) -> Result<(), Failed> {
    let found: Vec<_> = findings(recording).map(|finding| &finding.summary).collect();
    ensure(found.is_empty(), format!("found in a healthy program: {found:?}"))
}

/// Holds a finding's prediction against what the cure saves of each cycle, untraced.
pub(crate) fn saves(
    finding: &Finding,
    before: impl Fn() -> Command,
    after: impl Fn() -> Command,
    tolerance: f64,
) -> Result<(), Failed> {
    let predicted = finding.predicted_saving.ok_or("no saving is predicted")?.cpu_seconds_per_cycle;
    let (mut sick, mut cured) = (f64::MAX, f64::MAX);
    // By turns, so that neither has a better time of it.
    for _ in 0..RUNS {
        sick = sick.min(cpu_per_cycle(&mut before())?);
        cured = cured.min(cpu_per_cycle(&mut after())?);
    }
    let realised = sick - cured;
    let error = (predicted - realised).abs() / realised;
    ensure(
        error <= tolerance,
        format!(
            "predicted {:.2} µs a cycle, realised {:.2} µs ({:.2} → {:.2}): off by {:.0} %",
            predicted * 1e6,
            realised * 1e6,
            sick * 1e6,
            cured * 1e6,
            error * 100.0
        ),
    )
}

/// CPU seconds for each cycle.
fn cpu_per_cycle(command: &mut Command) -> Result<f64, Failed> {
    let line = Target::start(command).hear("cycles");
    let number = line.split_whitespace().last().and_then(|word| word.parse::<f64>().ok());
    number.map(|ns| ns / 1e9).ok_or_else(|| format!("no time in {line:?}").into())
}
