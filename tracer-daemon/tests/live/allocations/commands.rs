//! A command's allocator is watched from its first call on.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use alloctrace::sink::Recording;
use libtest_mimic::{Failed, Trial};
use tempfile::TempDir;

use super::{
    FLAGS, ROUNDS, THREADS, allocations, by_function, equals_the_truth, reason, true_functions,
};
use crate::{
    allocators::{LIBRARIES, PRELOADED},
    errors::{fails, nothing_is_left},
    support::{ALLOCTRACE, Machine, built, compile, ensure, same},
    trial,
};

/// What the program is to end with.
const STATUS: i32 = 7;

pub(super) fn trials(machine: &Machine) -> Vec<Trial> {
    let uprobes = || machine.cannot_use("malloc", "uprobe");
    let lacks = |programs: &[&str]| uprobes().or_else(|| machine.lacks(programs));
    let busybox = || machine.is_vm().then(|| "its shell has no symbols".to_owned());
    let mut trials = vec![
        trial("a_command_is_counted_from_its_first_call", uprobes(), glibc),
        trial("a_static_command_is_counted_from_its_first_call", uprobes(), || {
            from_the_first_call("", &built("allocations-static", &STATIC))
        }),
        trial("a_command_of_musl_is_counted_from_its_first_call", lacks(&["musl-gcc"]), musl),
        trial("constructors_of_libraries_are_counted", lacks(&["cc"]), constructors),
        trial("a_script_is_counted_as_its_interpreter", busybox().or_else(uprobes), script),
        trial(
            "a_command_that_executes_another_says_so",
            busybox().or_else(uprobes),
            executes_another,
        ),
        trial("a_command_has_no_tracer_any_more", lacks(&["grep"]), has_no_tracer),
        trial("a_command_that_fails_at_once_is_passed_through", uprobes(), fails_at_once),
    ];
    for (library, name) in PRELOADED {
        let file = Path::new(LIBRARIES).join(library);
        let absent = (!file.exists()).then(|| format!("{} is not installed", file.display()));
        let family = name.split(' ').next().unwrap_or(name);
        let title = format!("a_command_with_{family}_is_counted_from_its_first_call");
        trials.push(trial(title, uprobes().or(absent), move || {
            from_the_first_call(&file.to_string_lossy(), &built("allocations", &FLAGS))
        }));
    }
    trials
}

const STATIC: [&str; 4] = [FLAGS[0], FLAGS[1], FLAGS[2], "-static"];

/// What `run --malloc` made of a command.
struct Traced {
    output: Output,
    recording: Recording,
}

/// A library or none to be loaded before all others, and a command.
fn run(preloaded: &str, command: &[&str]) -> Result<Traced, Failed> {
    let directory = TempDir::new()?;
    let file = directory.path().join("recording.json");
    let mut tracer = Command::new(ALLOCTRACE);
    tracer.args(["run", "--malloc", "--budget", "100%", "--output"]).arg(&file);
    let output = tracer.arg("--").args(command).env("LD_PRELOAD", preloaded).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let opened = fs::File::open(&file).map_err(|error| format!("{error}: {said}"))?;
    let recording = Recording::read_from(opened, "recording")?;
    Ok(Traced { output, recording })
}

impl Traced {
    fn ended_with(&self, status: i32) -> Result<(), Failed> {
        same("status", self.output.status.code(), Some(status))
    }

    /// What the command said after `word`.
    fn heard(&self, word: &str) -> Result<String, Failed> {
        let said = String::from_utf8_lossy(&self.output.stdout);
        let line = said.lines().find_map(|line| line.strip_prefix(word));
        Ok(line.ok_or_else(|| format!("no {word} in {said}"))?.trim().to_owned())
    }

    /// Calls and bytes by function.
    fn calls(&self) -> Result<BTreeMap<&str, (u64, Option<u64>)>, Failed> {
        Ok(by_function(allocations(&self.recording)?))
    }
}

/// The program that knows its calls, and what it said of them.
fn alone(preloaded: &str, program: &Path, rounds: u64) -> Result<(Traced, u64), Failed> {
    let (program, rounds) = (program.to_string_lossy(), rounds.to_string());
    let traced = run(preloaded, &[&program, "alone", &rounds, &STATUS.to_string()])?;
    traced.ended_with(STATUS)?;
    let kept = traced.heard("done")?.parse()?;
    Ok((traced, kept))
}

fn glibc() -> Result<(), Failed> {
    let (traced, kept) = alone("", &built("allocations", &FLAGS), THREADS * ROUNDS)?;
    equals_the_truth(&traced.recording, ROUNDS, kept)?;
    nothing_is_left()
}

/// Beyond what is called before `main`, which a program without rounds tells.
fn from_the_first_call(preloaded: &str, program: &Path) -> Result<(), Failed> {
    let (none, _) = alone(preloaded, program, 0)?;
    let (traced, kept) = alone(preloaded, program, THREADS * ROUNDS)?;
    let (before, mut calls) = (none.calls()?, traced.calls()?);
    let has_reallocarray = calls.contains_key("reallocarray");
    for (name, (calls, bytes)) in &mut calls {
        let before = before.get(name).copied().unwrap_or_default();
        *calls -= before.0;
        *bytes = bytes.map(|bytes| bytes - before.1.unwrap_or(0));
    }
    calls.retain(|_, (calls, _)| *calls > 0);
    same("functions", calls, true_functions(ROUNDS, kept, has_reallocarray))
}

fn musl() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let program = directory.path().join("allocations");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live/allocations.c");
    compile("musl-gcc", &FLAGS, &source, &program)?;
    from_the_first_call("", &program)
}

const CONSTRUCTOR: &str = "
#include <stdlib.h>
__attribute__((constructor)) static void begin(void)
{
    for (int call = 0; call < 1000; call++)
        free(malloc(999));
}
";

/// They run before the program's first instruction.
fn constructors() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let (source, library) = (directory.path().join("begin.c"), directory.path().join("begin.so"));
    fs::write(&source, CONSTRUCTOR)?;
    compile("cc", &["-O1", "-fno-builtin", "-shared", "-fPIC"], &source, &library)?;
    let (traced, _) = alone(&library.to_string_lossy(), &built("allocations", &FLAGS), 0)?;
    same("malloc", traced.calls()?["malloc"], (1000, Some(999_000)))
}

fn script() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let script = directory.path().join("script");
    fs::write(&script, "#!/bin/sh\nexit 3\n")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let traced = run("", &[&script.to_string_lossy()])?;
    traced.ended_with(3)?;
    let malloc = traced.calls()?["malloc"];
    ensure(malloc.0 > 0, format!("{malloc:?}"))
}

fn executes_another() -> Result<(), Failed> {
    let program = built("allocations-static", &STATIC);
    let command = format!("exec {} alone 10 {STATUS}", program.display());
    let traced = run("", &["sh", "-c", &command])?;
    traced.ended_with(STATUS)?;
    let said = reason(&traced.recording);
    ensure(said.contains("executed another program"), said)
}

fn has_no_tracer() -> Result<(), Failed> {
    let traced = run("", &["grep", "TracerPid", "/proc/self/status"])?;
    same("its tracer", traced.heard("TracerPid:")?.as_str(), "0")
}

fn fails_at_once() -> Result<(), Failed> {
    run("", &["true"])?.ended_with(0)?;
    run("", &["sh", "-c", "kill -KILL $$"])?.ended_with(128 + 9)?;
    let refused =
        |command: &str| Command::new(ALLOCTRACE).args(["run", "--malloc", "--", command]).output();
    fails(&refused("/no/such/program")?, 2, &["/no/such/program"])?;
    nothing_is_left()
}
