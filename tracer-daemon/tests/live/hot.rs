//! `find-vma-hot` and `mmap-lock-contention`: found at the right place, cured, and the saving was the
//! predicted one.

use std::process::Command;

use alloctrace::{diagnose::Finding, sink::Recording};
use libtest_mimic::{Failed, Trial};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use crate::{
    support::{Machine, Target, Tracer, ensure, one_of, workload},
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
        trial("find_vma_hot_has_the_right_call_site", by_time.clone(), || one_of(3, call_site)),
        trial("find_vma_hot_saves_what_was_predicted", by_time.clone(), || one_of(3, hot)),
        trial("mmap_lock_contention_ends_with_its_cure", by_time, || one_of(3, contention)),
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

/// The program and its C library have no frame pointers: unwind tables lead to the call site.
fn call_site() -> Result<(), Failed> {
    // From the innermost outwards, as in the workload's source.
    const CHAIN: [&str; 4] = ["touch_afresh", "touch_many", "work", "main"];
    let chain = CHAIN.map(|function| format!("find_vma_hot::{function}"));
    ensure(!sets_frame_pointer(&chain[0])?, "the workload was built with frame pointers")?;
    let (recording, _) = trace("find_vma_hot", &[], "touches")?;
    let finding = find(&recording, "find-vma-hot").ok_or("it was not found")?;
    let cause = &finding.cause;
    ensure(cause.text.contains(&chain[0]), format!("cause: {}", cause.text))?;
    let names: Vec<_> = cause.stack.iter().filter_map(|frame| frame.split(' ').next()).collect();
    ensure(names.windows(chain.len()).any(|some| some == chain), format!("{:#?}", cause.stack))
}

/// Whether a function of the workload begins with `push %rbp; mov %rsp,%rbp`.
fn sets_frame_pointer(function: &str) -> Result<bool, Failed> {
    const PROLOGUE: [u8; 4] = [0x55, 0x48, 0x89, 0xe5];
    let file = std::fs::read(workload("find_vma_hot"))?;
    let file = object::File::parse(&*file)?;
    let mangled = function.replace("::", "");
    let is_it = |symbol: &object::Symbol<'_, '_>| {
        let name: String = symbol.name().unwrap_or_default().split(char::is_numeric).collect();
        name.contains(&mangled)
    };
    let symbol = file.symbols().find(is_it).ok_or("the workload has no symbols")?;
    let code = file.section_by_name(".text").ok_or("no code")?;
    let at = symbol.address() - code.address();
    Ok(code.data()?.get(at as usize..).is_some_and(|code| code.starts_with(&PROLOGUE)))
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
