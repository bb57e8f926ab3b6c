//! `major-faults`: counted, placed and timed as the program itself does it, and cured.

use alloctrace::sink::Recording;
use libtest_mimic::{Failed, Trial};

use crate::{
    cure::{Workload, find, nothing_found},
    losses::no_loss,
    support::{Machine, Target, Tracer, ensure, one_of},
    trial,
};

const ID: &str = "major-faults";

const DIRECTORY: &str = env!("CARGO_TARGET_TMPDIR");
const READING: Workload<'_> =
    Workload { program: "major_faults", options: &["--directory", DIRECTORY] };
const CURED: Workload<'_> = Workload { options: &["--directory", DIRECTORY, "--cured"], ..READING };

/// Faults on the program's own code, before and after the work.
const OTHERS: u64 = 50;

/// A hundred looks and more tell the waiting to a tenth, and twice that is exceeded once in twenty times.
const TOLERANCE: f64 = 0.25;

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let vm = machine.is_vm().then(|| "the virtual machines have no disk".to_owned());
    let missing = || vm.clone().or_else(|| machine.cannot_use("major_faults", "perf"));
    vec![
        trial("major_faults_are_counted_and_placed", missing(), found),
        trial("read_ahead_saves_the_waiting_that_was_predicted", missing(), || one_of(3, saving)),
    ]
}

/// What a run says of itself.
struct Truth {
    faults: u64,
    /// Neither running nor waiting for a CPU.
    waited: f64,
}

fn truth(line: &str) -> Result<Truth, Failed> {
    let words: Vec<_> = line.split_whitespace().collect();
    let after = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1)?.parse::<f64>().ok()
    };
    let number = |name: &str| after(name).ok_or_else(|| format!("no {name} in {line:?}"));
    let elsewhere = number("cpu_seconds")? + number("queued_seconds")?;
    Ok(Truth { faults: number("majflt")? as u64, waited: number("wall_seconds")? - elsewhere })
}

fn traced(workload: Workload<'_>) -> Result<(Recording, Truth), Failed> {
    let mut target = Target::start(workload.command().arg("--wait"));
    target.hear("pid");
    let tracer = Tracer::attach(target.pid(), &[]);
    target.nudge();
    let line = target.hear("touched");
    Ok((tracer.interrupt()?, truth(&line)?))
}

fn found() -> Result<(), Failed> {
    let (recording, truth) = traced(READING)?;
    let snapshot = &recording.snapshot;
    no_loss(&recording)?;
    ensure(truth.faults > 20_000, format!("only {} faults", truth.faults))?;
    let counted = snapshot.faults.major.ok_or("not counted")?;
    ensure((truth.faults..truth.faults + OTHERS).contains(&counted), format!("{counted} counted"))?;
    let finding = find(&recording, ID)?;
    // Each is seen: the finding says how many were.
    let places = format!("the places of {} were seen", alloctrace::humanize::count(counted));
    ensure(finding.evidence[0].contains(&places), finding.evidence.join("\n"))?;
    let cause = &finding.cause.text;
    let both = cause.starts_with("major_faults.") && cause.contains("major_faults::touch_all");
    ensure(both, cause.clone())?;
    ensure(finding.remedy[0].contains("MADV_WILLNEED"), finding.remedy.join("\n"))?;
    let stacks = snapshot.stacks.iter().filter(|stack| stack.kind == "major_fault");
    let stacked: u64 = stacks.map(|stack| stack.count).sum();
    let error = stacked.abs_diff(counted) as f64 / counted as f64;
    // One in 61 has a stack.
    ensure(error < 0.25, format!("stacks of {stacked} faults of {counted}"))
}

fn saving() -> Result<(), Failed> {
    let (recording, truth) = traced(READING)?;
    let saving = find(&recording, ID)?.predicted_saving.ok_or("no saving is predicted")?;
    let predicted = saving.waited_seconds_per_second * recording.snapshot.window.seconds;
    is_near("waiting", predicted, truth.waited)?;
    let (cured, after) = traced(CURED)?;
    nothing_found(&cured)?;
    is_near("saving", predicted, truth.waited - after.waited)
}

fn is_near(what: &str, predicted: f64, truth: f64) -> Result<(), Failed> {
    let error = (predicted - truth).abs() / truth;
    ensure(error <= TOLERANCE, format!("{what}: predicted {predicted:.2} s, true is {truth:.2} s"))
}
