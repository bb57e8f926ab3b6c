//! What a parser may and may not.

use std::{collections::BTreeMap, fs, process::Command};

use libtest_mimic::{Failed, Trial};
use rustix::process::Signal;

use crate::{
    errors::NOBODY,
    support::{Machine, Target, Tracer, ensure, same, state, truth, wait_until},
    trial,
};

pub(super) fn trials(machine: &Machine) -> Vec<Trial> {
    vec![
        trial("a_parser_has_no_privileges", machine.cannot_trace(), no_privileges),
        trial("a_parser_ends_with_its_session", machine.cannot_trace(), ends_with_its_session),
    ]
}

fn traced() -> (Target, Tracer) {
    let mut target = Target::start(Command::new(truth()).args(["1", "1"]));
    target.hear("ready");
    let tracer = Tracer::attach(target.pid(), &[]);
    (target, tracer)
}

/// The only child of a tracer.
fn parser_of(tracer: &Tracer) -> Result<u32, Failed> {
    let mut parsers = Vec::new();
    for task in fs::read_dir(format!("/proc/{}/task", tracer.pid()))? {
        let children = fs::read_to_string(task?.path().join("children"))?;
        parsers.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    match parsers[..] {
        [parser] => Ok(parser),
        _ => Err(format!("it has the children {parsers:?}").into()),
    }
}

fn no_privileges() -> Result<(), Failed> {
    let (_target, tracer) = traced();
    let parser = parser_of(&tracer)?;
    let said = fs::read_to_string(format!("/proc/{parser}/status"))?;
    let status: BTreeMap<_, _> = said.lines().filter_map(|line| line.split_once(":\t")).collect();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        same(set, status[set], "0000000000000000")?;
    }
    same("NoNewPrivs", status["NoNewPrivs"], "1")?;
    // A filter of system calls.
    same("Seccomp", status["Seccomp"], "2")?;
    let nobody = [NOBODY; 4].map(|id| id.to_string()).join("\t");
    for (name, ids) in [("Uid", &*nobody), ("Gid", &*nobody), ("Groups", "")] {
        same(name, status[name].trim(), ids)?;
    }
    let limits = fs::read_to_string(format!("/proc/{parser}/limits"))?;
    for (name, most) in [
        ("Max data size", "1073741824"),
        ("Max core file size", "0"),
        ("Max file size", "0"),
        ("Max processes", "0"),
    ] {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).ok_or(name)?;
        let values: Vec<_> = line.split_whitespace().take(2).collect();
        same(name, values, vec![most, most])?;
    }
    same("score", fs::read_to_string(format!("/proc/{parser}/oom_score_adj"))?.trim(), "1000")?;
    has_files_only(parser)?;
    tracer.interrupt().map(drop)
}

/// Nothing that it has open is a kernel program, a map or a process: only one socket, and files.
fn has_files_only(parser: u32) -> Result<(), Failed> {
    let mut sockets = Vec::new();
    for file in fs::read_dir(format!("/proc/{parser}/fd"))? {
        let link = fs::read_link(file?.path())?.to_string_lossy().into_owned();
        if link.starts_with("socket:") {
            sockets.push(link);
        } else {
            let harmless = link == "/dev/null" || link.starts_with("/memfd:") || is_file(&link);
            ensure(harmless, format!("it has {link}"))?;
        }
    }
    sockets.dedup();
    same("sockets", sockets.len(), 1)
}

fn is_file(path: &str) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

fn ends_with_its_session() -> Result<(), Failed> {
    let has_ended = |parser| state(parser).is_none_or(|state| state == 'Z');
    let (_target, tracer) = traced();
    let parser = parser_of(&tracer)?;
    tracer.interrupt()?;
    ensure(state(parser).is_none(), "it was not waited for")?;
    let (_target, tracer) = traced();
    let parser = parser_of(&tracer)?;
    tracer.signal(Signal::KILL);
    tracer.wait()?;
    wait_until("the parser ends", || has_ended(parser))
}
