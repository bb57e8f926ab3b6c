//! Counts against a program that knows how many calls it makes, by every rung.

use std::process::Command;

use alloctrace::{aggregate::snapshot::ProbeStatus, sink::Recording};
use libtest_mimic::{Failed, Trial};

use crate::{
    losses::{is_all_but, may_skip_programs, missed_returns, no_loss},
    support::{Machine, Target, Tracer, ensure, same, truth},
    trial,
};

const THREADS: u64 = 8;
const ROUNDS: u64 = 500;
const CALLS: u64 = THREADS * ROUNDS;
const LENGTH: u64 = 16 * 4096;
/// Rounds of each thread that leave a ring of 4 KiB no chance.
const FLOOD: u64 = 1500;
const TOUCHES: u64 = 4;

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let mut trials = Vec::new();
    for backend in ["fexit", "fentry", "kprobe", "tp_btf", "tracepoint"] {
        trials.push(trial(
            format!("counts_by_{backend}_equal_the_truth"),
            machine.cannot_use("mmap", backend),
            {
                let refused = machine.refused(backend);
                move || counts(backend, &refused)
            },
        ));
    }
    for backend in ["tp_btf", "raw_tracepoint", "tracepoint"] {
        trials.push(trial(
            format!("faults_of_an_ended_process_by_{backend}_equal_the_truth"),
            machine.cannot_use("process", backend),
            move || faults_after_the_end(backend),
        ));
        trials.push(trial(
            format!("children_by_{backend}_are_followed"),
            machine.cannot_use("process", backend),
            move || follow(backend),
        ));
    }
    for backend in ["fexit", "fentry", "kprobe", "perf"] {
        trials.push(trial(
            format!("faults_by_{backend}_fall_where_they_fall"),
            machine.cannot_use("faults", backend),
            move || fault_places(backend),
        ));
    }
    trials.push(trial("an_overflowing_ring_costs_no_count", machine.cannot_trace(), overflow));
    trials
}

fn start() -> Target {
    let mut target =
        Target::start(Command::new(truth()).args([THREADS.to_string(), ROUNDS.to_string()]));
    target.hear("ready");
    target
}

/// One window over the truth's work, with the process idle at both ends.
fn measure(options: &[&str]) -> Result<(Recording, u64, u64), Failed> {
    let mut target = start();
    let before = target.stat();
    let tracer = Tracer::attach(target.pid(), options);
    target.nudge();
    target.hear("done");
    let recording = tracer.interrupt()?;
    let after = target.stat();
    let minor = after.minor_faults - before.minor_faults;
    Ok((recording, minor, after.major_faults - before.major_faults))
}

fn has_backend(name: &str) -> impl Fn(&ProbeStatus) -> bool {
    move |row| row.backend.as_deref() == Some(name)
}

/// Whether a number of calls is what it has to be. The rung that was made for kernels that preempt
/// programs sees one end of every call. On the others a call of which neither end was seen is rarer by far
/// than one of which one end was; and each thread's last return may be missing.
fn is_accounted_for(got: u64, truth: u64, recording: &Recording) -> bool {
    let row = recording.snapshot.tracer.probes.iter().find(|row| row.signal == "mmap");
    let missed = missed_returns(recording);
    if missed == 0 || row.is_some_and(has_backend("fexit")) {
        return got == truth;
    }
    (truth.saturating_sub(missed / 4 + THREADS)..=truth).contains(&got)
}

/// Each call's counts; a call that this kernel refuses to measure so has none.
fn check_calls(recording: &Recording, refused: &[String]) -> Result<(), Failed> {
    // Calls, failures, bytes.
    let expected = [
        ("mmap", 2 * CALLS, CALLS, CALLS * LENGTH),
        ("munmap", 2 * CALLS, CALLS, CALLS * 2 * LENGTH),
        ("mremap", 2 * CALLS, CALLS, CALLS * 2 * LENGTH),
        ("mprotect", 2 * CALLS, CALLS, CALLS * LENGTH),
        ("madvise", 2 * CALLS, CALLS, CALLS * LENGTH),
        ("brk", CALLS, 0, 0),
    ];
    for (name, calls, failures, bytes) in expected {
        let totals = recording.snapshot.syscalls.get(name);
        if refused.iter().any(|one| one == name) {
            ensure(totals.is_none(), format!("{name} has a count that nothing made"))?;
            continue;
        }
        let totals = totals.ok_or_else(|| format!("{name} was not measured"))?;
        let missed = missed_returns(recording);
        let exact = is_accounted_for(totals.calls, calls, recording)
            && is_all_but(missed, totals.failures, failures)
            && is_all_but(missed * 2 * LENGTH, totals.bytes, bytes);
        let truth = format!("true are {calls} calls, {failures} failed, {bytes} bytes");
        ensure(exact, format!("{name}, {missed} returns missed: {totals:?}, {truth}"))?;
        ensure(totals.seconds > 0.0, format!("{name} took no time"))?;
    }
    Ok(())
}

fn counts(backend: &str, refused: &[String]) -> Result<(), Failed> {
    let option = format!("--backend=all={backend}");
    let (recording, minor, major) = measure(&[&option])?;
    check_calls(&recording, refused)?;
    let snapshot = &recording.snapshot;
    same("minor faults", snapshot.faults.minor, Some(minor))?;
    same("major faults", snapshot.faults.major, Some(major))?;
    ensure(minor >= CALLS * TOUCHES, "fewer faults than touches")?;
    if missed_returns(&recording) > 0 {
        return ensure(!snapshot.window.complete, "an incomplete window is called complete");
    }
    no_loss(&recording)?;
    ensure(snapshot.window.complete, "the window is not complete")?;
    let mappings = snapshot.mappings.as_ref().ok_or("no mappings")?;
    if refused.iter().any(|one| one == "mremap") {
        return Ok(()); // Mappings that move out of sight cannot be followed.
    }
    same("cycles", mappings.cycles, CALLS)?;
    let sizes: Vec<_> = mappings.sizes.iter().map(|size| (size.bytes, size.cycles)).collect();
    same("sizes", sizes, vec![(2 * LENGTH, CALLS)])?;
    let row = snapshot.tracer.probes.iter().find(|row| row.signal == "mmap");
    ensure(row.is_some_and(has_backend(backend)), "another backend was used")
}

/// The kernel forgets a process's totals with the process: the probes must have them.
fn faults_after_the_end(backend: &str) -> Result<(), Failed> {
    let (threads, rounds) = (THREADS.to_string(), ROUNDS.to_string());
    let mut target = Target::start(Command::new(truth()).args([&threads, &rounds, "exit"]));
    target.hear("ready");
    let before = target.stat();
    let option = format!("--backend=process={backend}");
    let tracer = Tracer::attach(target.pid(), &[&option]);
    target.nudge();
    let recording = tracer.finish()?;
    // Not waited for yet: the kernel still keeps the sums of a zombie.
    let after = target.stat();
    same("state", after.state, 'Z')?;
    let truth = after.minor_faults - before.minor_faults;
    same("minor faults", recording.snapshot.faults.minor, Some(truth))?;
    check_calls(&recording, &[])
}

fn follow(backend: &str) -> Result<(), Failed> {
    let program = truth();
    let script = format!(
        "read line; for child in 1 2 3; do {} 2 100 exit </dev/null >/dev/null; done; echo done; read line",
        program.display()
    );
    let mut target = Target::start(Command::new("sh").args(["-c", &script]));
    let option = format!("--backend=process={backend}");
    let tracer = Tracer::attach(target.pid(), &[&option, "--follow"]);
    target.nudge();
    target.hear("done");
    let recording = tracer.interrupt()?;
    let mremap = &recording.snapshot.syscalls["mremap"];
    let lost = &recording.snapshot.lost;
    ensure(mremap.calls == 1200, format!("true are 1200 calls: {mremap:?}, lost: {lost:?}"))?;
    ensure(is_all_but(missed_returns(&recording), mremap.failures, 600), format!("{mremap:?}"))?;
    // Where a child's end went unseen, its faults are gone: unknown, and not a smaller number.
    if may_skip_programs(&recording) && recording.snapshot.faults.minor.is_none() {
        return Ok(());
    }
    let minor = recording.snapshot.faults.minor.unwrap_or(0);
    ensure(minor >= 3 * 200 * TOUCHES, format!("{minor} faults of children are too few"))?;
    no_loss(&recording)
}

/// All touches are inside short-lived mappings, and nearly all faults are touches.
fn fault_places(backend: &str) -> Result<(), Failed> {
    let option = format!("--backend=faults={backend}");
    let (recording, minor, _) = measure(&[&option])?;
    same("minor faults", recording.snapshot.faults.minor, Some(minor))?;
    let sampled: u64 = recording
        .snapshot
        .stacks
        .iter()
        .filter(|stack| stack.kind == "fault")
        .map(|stack| stack.count)
        .sum();
    ensure(sampled > 0, "no fault was sampled with its stack")?;
    if backend != "perf" {
        ensure(recording.snapshot.faults.seconds.is_some_and(|s| s > 0.0), "faults took no time")?;
    }
    Ok(())
}

fn overflow() -> Result<(), Failed> {
    let mut target =
        Target::start(Command::new(truth()).args([THREADS.to_string(), FLOOD.to_string()]));
    target.hear("ready");
    let before = target.stat();
    let tracer = Tracer::attach(target.pid(), &["--ring", "4"]);
    target.nudge();
    target.hear("done");
    let recording = tracer.interrupt()?;
    let after = target.stat();
    let snapshot = &recording.snapshot;
    let mmap = &snapshot.syscalls["mmap"];
    let calls = THREADS * FLOOD;
    let lost = &snapshot.lost;
    ensure(mmap.calls == 2 * calls, format!("true are 2 * {calls}: {mmap:?}, lost: {lost:?}"))?;
    ensure(is_all_but(missed_returns(&recording), mmap.failures, calls), format!("{mmap:?}"))?;
    let truth = after.minor_faults - before.minor_faults;
    same("minor faults", snapshot.faults.minor, Some(truth))?;
    let lost = snapshot.lost.get("mapping_records").copied().unwrap_or(0);
    ensure(lost > 0, "a ring of 4 KiB did not overflow")?;
    ensure(!snapshot.window.complete, "the window is called complete")?;
    let cycles = snapshot.mappings.as_ref().map_or(0, |mappings| mappings.cycles);
    ensure(cycles < calls, "every cycle is there although records were lost")?;
    // What is there and what is missing add up to what was written.
    let text = alloctrace::sink::report::text(&recording, Default::default());
    ensure(text.contains("lower bound"), "the report does not call them lower bounds")
}
