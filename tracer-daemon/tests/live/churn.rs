//! The first pathology end to end: found, explained, and its cure predicted.

use alloctrace::{diagnose::Severity, sink::Recording};
use libtest_mimic::{Failed, Trial};

use crate::{
    cure::{Workload, find, nothing_found, saves},
    losses::no_loss,
    support::{Machine, ensure, one_of, same},
    trial,
};

const CYCLES: u64 = 20_000;
const SIZE: u64 = 2 << 20;

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let no_time = machine
        .cannot_trace()
        .or_else(|| machine.is_vm().then(|| "an emulated CPU's time proves nothing".to_owned()));
    vec![
        trial("mmap_churn_is_found", machine.cannot_trace(), found),
        trial("mmap_churn_through_malloc_is_found", machine.cannot_trace(), found_in_malloc),
        trial("a_seldom_cycle_is_no_gain", no_time.clone(), seldom),
        trial("mmap_churn_saves_what_was_predicted", no_time, || one_of(3, saving)),
        trial("a_healthy_program_has_no_finding", machine.cannot_trace(), healthy),
    ]
}

fn trace(options: &[&str]) -> Result<Recording, Failed> {
    Workload { program: "mmap_churn", options }.traced()
}

fn found() -> Result<(), Failed> {
    let recording = trace(&["--cycles", &CYCLES.to_string()])?;
    let snapshot = &recording.snapshot;
    no_loss(&recording)?;
    let mappings = snapshot.mappings.as_ref().ok_or("no mappings")?;
    same("cycles", (mappings.cycles, mappings.short_lived), (CYCLES, CYCLES))?;
    same(
        "size",
        mappings.sizes.first().map(|size| (size.bytes, size.cycles)),
        Some((SIZE, CYCLES)),
    )?;
    let faults = snapshot.faults.minor.unwrap_or(0) as f64 / CYCLES as f64;
    ensure((6.0..6.01).contains(&faults), format!("{faults} faults in each cycle, not 6"))?;
    let lifetime = mappings.lifetime_seconds.ok_or("no lifetimes")?;
    let cycle = snapshot.window.seconds / CYCLES as f64;
    ensure(
        lifetime.p50 > 0.0 && lifetime.p50 < cycle,
        format!("half live for {} s in a cycle of {cycle} s", lifetime.p50),
    )?;
    let finding = recording.findings.first().ok_or("nothing was found")?;
    same("finding", finding.id.as_str(), "mmap-churn")?;
    ensure(finding.severity >= Severity::Medium, "it is called harmless")?;
    same("size of the cause", finding.cause.bytes, Some(SIZE))?;
    let stack = finding.cause.stack.join("\n");
    ensure(stack.contains("take_block"), format!("the stack does not name the caller:\n{stack}"))?;
    let remedy = finding.remedy.join("\n");
    ensure(remedy.contains("reuse"), format!("the remedy is not to reuse it:\n{remedy}"))
}

fn found_in_malloc() -> Result<(), Failed> {
    let recording = trace(&["--via", "malloc", "--cycles", &CYCLES.to_string()])?;
    let finding = recording.findings.first().ok_or("nothing was found")?;
    same("finding", finding.id.as_str(), "mmap-churn")?;
    // glibc adds a page for the chunk's header.
    same("size of the cause", finding.cause.bytes, Some(SIZE + 4096))?;
    let remedy = finding.remedy.join("\n");
    ensure(
        remedy.contains("glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold="),
        format!("the remedy does not name glibc's tunables:\n{remedy}"),
    )
}

fn saving() -> Result<(), Failed> {
    let cycles = (9 * CYCLES).to_string();
    let churning = Workload { program: "mmap_churn", options: &["--cycles", &cycles] };
    let cured = || {
        let mut command = churning.command();
        command.arg("--cured");
        command
    };
    saves(find(&churning.traced()?, "mmap-churn")?, || churning.command(), cured, 0.2)
}

fn healthy() -> Result<(), Failed> {
    nothing_found(&trace(&["--cured", "--cycles", "50000"])?)
}

/// Mappings come and go, and next to what the program does in between they cost nothing.
fn seldom() -> Result<(), Failed> {
    let options = ["--bytes", "8192", "--touches", "1", "--spin-us", "3000", "--cycles", "800"];
    let recording = trace(&options)?;
    let gain = recording.findings.iter().find(|finding| finding.predicted_saving.is_some());
    ensure(gain.is_none(), format!("a gain is promised: {gain:?}"))
}
