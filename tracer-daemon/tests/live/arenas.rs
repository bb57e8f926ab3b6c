//! `arena-contention`: waits counted and timed as the program itself does it, found where they are, and cured.

use std::process::Command;

use alloctrace::{diagnose::Severity, sink::Recording};
use libtest_mimic::{Failed, Trial};

use crate::{
    cure::{Workload, find, nothing_found},
    losses::{is_all_but, may_skip_programs, no_loss},
    support::{Machine, Target, Tracer, built, ensure, one_of},
    trial,
};

const ID: &str = "arena-contention";

const CONTENDED: Workload<'_> = Workload { program: "arena_contention", options: &[] };
const CURED: Workload<'_> = Workload { options: &["--cured"], ..CONTENDED };

/// Waits of the program of known waits.
const WAITS: u64 = 600;

/// Of them, those that a kernel that preempts programs may skip.
const FEW: u64 = 6;

/// The program's own clock is read before the kernel's and after it.
const SAME_TIME: f64 = 0.1;

/// The waiting is estimated from a stack for each ten milliseconds, a hundred and more of them.
const TOLERANCE: f64 = 0.3;

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let time = machine.is_vm().then(|| "an emulated CPU's time proves nothing".to_owned());
    let root = || time.clone().or_else(|| machine.cannot_trace());
    let mut trials = vec![
        trial("arena_contention_is_found", root(), || one_of(3, found)),
        trial("arenas_of_their_own_save_the_waiting_that_was_predicted", root(), || {
            one_of(3, saving)
        }),
    ];
    // Linux 5.10 refuses it: "invalid bpf_context access".
    let fentry = (!machine.works("futex", "fentry")).then(|| "refused by this kernel".to_owned());
    let tracepoint = machine.cannot_use("futex", "tracepoint");
    for (backend, missing) in [("fentry", fentry), ("tracepoint", tracepoint)] {
        trials.push(trial(format!("futex_waits_are_counted_by_{backend}"), missing, move || {
            counted(backend)
        }));
    }
    trials
}

/// Without breakpoints in the allocator, which hold its locks for longer.
fn options(backend: &str) -> Vec<&str> {
    vec!["--malloc", "--backend", "malloc=off", "--backend", backend]
}

fn counted(backend: &str) -> Result<(), Failed> {
    let mut target = Target::start(&mut Command::new(built("futexes", &["-O1"])));
    target.hear("ready");
    let forced = format!("futex={backend}");
    let tracer = Tracer::attach(target.pid(), &options(&forced));
    target.nudge();
    let done = target.hear("done");
    let recording = tracer.interrupt()?;
    let truth: f64 = done.trim_start_matches("done ").parse()?;
    no_loss(&recording)?;
    let all = recording.snapshot.futex_waits.ok_or("waits are not measured")?;
    // A wait whose beginning goes unseen is not known to be missing.
    let skipped = if may_skip_programs(&recording) { FEW } else { 0 };
    ensure(is_all_but(skipped, all.waits, WAITS), format!("{all:?}, true are {WAITS}"))?;
    let error = (all.seconds - truth).abs() / truth;
    ensure(error < SAME_TIME, format!("{} s of waiting, true is {truth}", all.seconds))?;
    let stacks = recording.snapshot.stacks.iter().filter(|stack| stack.kind == "futex");
    let mut seconds = 0.0;
    for stack in stacks {
        let inside = |name: &str| stack.frames.iter().any(|it| it.symbol.as_deref() == Some(name));
        ensure(inside("wait_for"), format!("{:?}", stack.frames))?;
        seconds += stack.seconds.unwrap_or(0.0);
    }
    // A stack for ten milliseconds, so that there are about thirty.
    ensure(
        (0.3 * truth..3.0 * truth).contains(&seconds),
        format!("stacks of {seconds} s of {truth}"),
    )?;
    let text = alloctrace::sink::report::text(&recording, Default::default());
    ensure(text.contains(&format!("waits for futexes\n  {}, ", all.waits)), text)
}

/// With the exact time that its threads waited for each other: all of it but the first thread's, which waits for
/// the others to end.
fn traced(workload: Workload<'_>) -> Result<(Recording, f64), Failed> {
    let mut target = Target::start(workload.command().arg("--wait"));
    target.hear("pid");
    let tracer = Tracer::attach(target.pid(), &["--malloc", "--backend", "malloc=off"]);
    target.nudge();
    let line = target.hear("exchanged");
    let wall = line.split_whitespace().last().and_then(|word| word.parse::<f64>().ok());
    let wall = wall.ok_or_else(|| format!("no time in {line:?}"))?;
    let recording = tracer.interrupt()?;
    let all = recording.snapshot.futex_waits.ok_or("waits are not measured")?.seconds;
    Ok((recording, all - wall))
}

fn found() -> Result<(), Failed> {
    let (recording, truth) = traced(CONTENDED)?;
    let finding = find(&recording, ID)?;
    ensure(finding.severity >= Severity::Medium, "it is called harmless")?;
    let cause = &finding.cause.text;
    let both = cause.contains("glibc") && cause.contains("arena_contention::exchange");
    ensure(both, cause.clone())?;
    ensure(finding.remedy[0].contains("arena_max="), finding.remedy.join("\n"))?;
    let predicted = finding.cost.waited_seconds_per_second * recording.snapshot.window.seconds;
    let error = (predicted - truth).abs() / truth;
    ensure(error < TOLERANCE, format!("{predicted} s of waiting, true is {truth}"))
}

fn saving() -> Result<(), Failed> {
    let (before, _) = traced(CONTENDED)?;
    let saving = find(&before, ID)?.predicted_saving.ok_or("no saving is predicted")?;
    let predicted = saving.waited_seconds_per_second * before.snapshot.window.seconds;
    let (after, left) = traced(CURED)?;
    nothing_found(&after)?;
    ensure(left < predicted * TOLERANCE, format!("{left} s of {predicted} s are left"))
}
