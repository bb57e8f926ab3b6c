//! What is said of an address space, and of which nothing is said.

use std::process::Command;

use alloctrace::{diagnose::Severity, sink::Recording};
use libtest_mimic::{Failed, Trial};

use super::{vmas, workload_with};
use crate::{
    support::{Machine, Target, Tracer, ensure, same},
    trial,
};

/// Of an `mmap` of the workload.
const REQUEST: u64 = 512 << 10;

/// A limit that would take too long to reach.
const HIGH_LIMIT: u64 = 200_000;

pub(super) fn trials(machine: &Machine) -> Vec<Trial> {
    let root = || machine.cannot_trace();
    let python = machine
        .is_vm()
        .then(|| "Debian's programs are on the host".to_owned())
        .or_else(|| machine.lacks(&["python3"]));
    let high = limit()
        .ok()
        .filter(|limit| *limit > HIGH_LIMIT)
        .map(|limit| format!("vm.max_map_count is {limit}"));
    let check = if machine.is_vm() { announced_early } else { announced };
    vec![
        trial("vma_explosion_is_announced", root().or(high), check),
        trial("the_field_report_is_no_false_alarm", root(), field_report),
        trial("a_cured_address_space_has_no_finding", root(), cured),
        trial("an_ended_process_has_no_census", root(), ended),
        trial("attach_has_the_requests_that_vmas_has", root(), requests),
        trial("a_healthy_python3_has_no_finding", python, healthy),
    ]
}

fn limit() -> Result<u64, Failed> {
    Ok(std::fs::read_to_string("/proc/sys/vm/max_map_count")?.trim().parse()?)
}

/// Traces the workload's cycles.
fn trace(options: &[&str]) -> Result<Recording, Failed> {
    let (mut target, _, _) = workload_with(options)?;
    let tracer = Tracer::attach(target.pid(), &[]);
    target.nudge();
    target.hear("cycles");
    tracer.interrupt()
}

/// The limit of areas, which goes back to what it was.
struct Limit(Vec<u8>);

impl Limit {
    const FILE: &str = "/proc/sys/vm/max_map_count";

    fn lower(limit: &str) -> Result<Self, Failed> {
        let before = Self(std::fs::read(Self::FILE)?);
        std::fs::write(Self::FILE, limit)?;
        Ok(before)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = std::fs::write(Self::FILE, &self.0);
    }
}

/// An emulated CPU takes minutes for 64,000 areas, and the machine is the tests' own.
fn announced_early() -> Result<(), Failed> {
    let _before = Limit::lower("24000")?;
    announced()
}

/// Nearly all areas that the limit allows, 64,000 of 65,530, and some more each moment.
fn announced() -> Result<(), Failed> {
    let limit = limit()?;
    let areas = (limit - limit / 40).to_string();
    let recording = trace(&["--areas", &areas, "--grow", "400", "--cycles", "2000"])?;
    let space = recording.snapshot.address_space.as_ref().ok_or("no census")?;
    same("limit", space.limit, Some(limit))?;
    let finding = recording.findings.iter().find(|finding| finding.id == "vma-explosion");
    let finding = finding.ok_or("it is not announced")?;
    same("severity", finding.severity, Severity::High)?;
    ensure(finding.summary.contains("growing: in "), finding.summary.clone())?;
    let evidence = finding.evidence.join("\n");
    let before = space.areas - 400;
    let before: String = alloctrace::humanize::count(before);
    ensure(evidence.contains(&format!("{before} areas ")), format!("{before} in {evidence}"))?;
    let stack = finding.cause.stack.join("\n");
    ensure(stack.contains("map"), format!("no stack of the mappings: {stack}"))?;
    let stop_gap = finding.remedy.iter().any(|line| line.contains("sysctl -w vm.max_map_count="));
    ensure(stop_gap, "no stop-gap is named")
}

/// A size that the program never maps is searched for, and is no sign of anything.
fn requests() -> Result<(), Failed> {
    const SIZES: [&str; 4] = ["--request", "300K", "--request", "1G"];
    let (target, _, _) = workload_with(&[])?;
    let space = vmas(target.pid(), &SIZES)?;
    let recording = Tracer::attach(target.pid(), &SIZES).interrupt()?;
    let requests = recording.snapshot.address_space.ok_or("no census")?.requests;
    same("requests", serde_json::to_value(requests)?, space["requests"].clone())?;
    let found = recording.findings.iter().find(|finding| finding.id == "hole-search");
    ensure(found.is_none(), format!("found: {found:?}"))
}

/// Many areas and holes, but not too many for this kernel: both are told, and neither as a gain.
fn field_report() -> Result<(), Failed> {
    let recording = trace(&["--cycles", "3000"])?;
    let space = recording.snapshot.address_space.as_ref().ok_or("no census")?;
    let request = space.requests.iter().find(|request| request.bytes == REQUEST);
    let request = request.ok_or("512 KiB is not among the requests")?;
    ensure(request.holes_too_small > 4_000, format!("{request:?}"))?;
    for id in ["vma-explosion", "hole-search"] {
        let finding = recording.findings.iter().find(|finding| finding.id == id);
        let finding = finding.ok_or_else(|| format!("no {id}"))?;
        same(id, finding.severity, Severity::NoGain)?;
    }
    let hole_search = recording.findings.iter().find(|finding| finding.id == "hole-search");
    let summary = hole_search.map(|finding| finding.summary.clone()).unwrap_or_default();
    let release = recording.snapshot.tracer.kernel;
    ensure(summary.contains(&release), format!("it does not name the kernel: {summary}"))
}

fn cured() -> Result<(), Failed> {
    let recording = trace(&["--cured", "--cycles", "3000"])?;
    ensure(recording.findings.is_empty(), format!("found: {:?}", recording.findings))?;
    let space = recording.snapshot.address_space.as_ref().ok_or("no census")?;
    ensure(space.areas < 100, format!("{} areas after the cure", space.areas))
}

fn healthy() -> Result<(), Failed> {
    let script = "import time\n\
        print('ready', flush=True)\n\
        input()\n\
        x = [bytes(1000 * i) for i in range(500)]\n\
        print('done', flush=True)\n\
        input()";
    let mut target = Target::start(Command::new("/usr/bin/python3").args(["-c", script]));
    target.hear("ready");
    let tracer = Tracer::attach(target.pid(), &[]);
    target.nudge();
    target.hear("done");
    let recording = tracer.interrupt()?;
    ensure(recording.findings.is_empty(), format!("found: {:?}", recording.findings))
}

/// What ended before the window did has no address space left to read.
fn ended() -> Result<(), Failed> {
    let (target, _, _) = workload_with(&["--areas", "6000"])?;
    let tracer = Tracer::attach(target.pid(), &[]);
    drop(target);
    let recording = tracer.finish()?;
    ensure(recording.snapshot.address_space.is_none(), "a census of nothing")?;
    let found = recording.findings.iter().find(|finding| finding.id == "vma-explosion");
    ensure(found.is_none(), format!("found: {found:?}"))
}
