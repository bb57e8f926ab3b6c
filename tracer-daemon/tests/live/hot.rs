//! `find-vma-hot` and `mmap-lock-contention`: found, cured, and the saving was the predicted one.

use std::process::Command;

use alloctrace::{diagnose::Finding, sink::Recording};
use libtest_mimic::{Failed, Trial};

use crate::{
    support::{Machine, Target, Tracer, ensure, workload},
    trial,
};

const SECONDS: &str = "3";
/// How far the realised saving may be from the predicted one.
const TOLERANCE: f64 = 0.25;

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let by_time = machine
        .cannot_trace()
        .or_else(|| machine.is_vm().then(|| "an emulated CPU's time proves nothing".to_owned()));
    vec![
        trial("find_vma_hot_saves_what_was_predicted", by_time.clone(), hot),
        trial("mmap_lock_contention_ends_with_its_cure", by_time, contention),
    ]
}

/// A window over the workload's work, and how much it got done.
fn trace(program: &str, options: &[&str], says: &str) -> Result<(Recording, f64), Failed> {
    let mut command = Command::new(workload(program));
    command.args(["--wait", "--seconds", SECONDS]).args(options);
    let mut target = Target::start(&mut command);
    target.hear("pid");
    let tracer = Tracer::attach(target.pid(), &[]);
    target.nudge();
    let line = target.hear(says);
    let done = line.split_whitespace().last().and_then(|number| number.parse().ok());
    Ok((tracer.interrupt()?, done.ok_or("the workload did nothing")?))
}

fn find<'a>(recording: &'a Recording, id: &str) -> Option<&'a Finding> {
    recording.findings.iter().find(|finding| finding.id == id)
}

/// CPU time in look-ups for each touch.
fn look_up_time(recording: &Recording, touches: f64) -> Result<f64, Failed> {
    let snapshot = &recording.snapshot;
    let share = snapshot.cpu_samples.iter().find(|sample| sample.place == "look_up");
    let cpu = snapshot.cpu.user_seconds.zip(snapshot.cpu.system_seconds);
    let (user, system) = cpu.ok_or("the CPU time is unknown")?;
    Ok(share.map_or(0.0, |sample| sample.share) * (user + system) / touches)
}

fn hot() -> Result<(), Failed> {
    let (before, touches) = trace("find_vma_hot", &[], "touches")?;
    let finding = find(&before, "find-vma-hot").ok_or("it was not found")?;
    ensure(finding.cause.text.contains("areas"), format!("cause: {}", finding.cause.text))?;
    let saving = finding.predicted_saving.ok_or("no saving is predicted")?;
    let predicted = saving.cpu_seconds_per_second * before.snapshot.window.seconds / touches;
    let (after, cured_touches) = trace("find_vma_hot", &["--cured"], "touches")?;
    ensure(find(&after, "find-vma-hot").is_none(), "it is found although it was cured")?;
    let realised = look_up_time(&before, touches)? - look_up_time(&after, cured_touches)?;
    let ratio = realised / predicted;
    ensure(
        (1.0 - TOLERANCE..1.0 + TOLERANCE).contains(&ratio),
        format!("{realised:e} s of look-ups saved a touch, predicted {predicted:e} s"),
    )
}

fn contention() -> Result<(), Failed> {
    const ID: &str = "mmap-lock-contention";
    let (before, _) = trace("mmap_lock_contention", &[], "blocks")?;
    let finding = find(&before, ID).ok_or("it was not found")?;
    let writer = ["mmap", "munmap"].iter().any(|call| finding.cause.text.starts_with(call));
    ensure(writer, format!("cause: {}", finding.cause.text))?;
    let saving = finding.predicted_saving.ok_or("no saving is predicted")?;
    let predicted = saving.waited_seconds_per_second;
    let (after, _) = trace("mmap_lock_contention", &["--cured"], "blocks")?;
    ensure(find(&after, ID).is_none(), "it is found although it was cured")?;
    let waits = after.snapshot.lock_waits.as_ref().ok_or("lock waits were not measured")?;
    let left: f64 = waits.iter().map(|row| row.seconds).sum();
    let left = left / after.snapshot.window.seconds;
    ensure(left < predicted * TOLERANCE, format!("{left} s/s of {predicted} are left"))
}
