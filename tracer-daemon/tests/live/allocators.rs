//! Whose `malloc` a process has, of Debian's allocators as they are.

use std::{ffi::OsStr, path::Path, process::Command};

use libtest_mimic::{Failed, Trial};

use crate::{
    support::{ALLOCTRACE, Machine, Target, ensure, truth},
    trial,
};

pub(crate) const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";

/// A library to preload, and what it is to be called.
pub(crate) const PRELOADED: [(&str, &str); 3] = [
    ("libjemalloc.so.2", "jemalloc 5."),
    ("libtcmalloc_minimal.so.4", "tcmalloc 2."),
    ("libmimalloc.so.2.0", "mimalloc (libmimalloc.so.2"),
];

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let vm = machine.is_vm().then(|| "Debian's programs are on the host".to_owned());
    let unless_there = |file: &Path| {
        let missing = || (!file.exists()).then(|| format!("{} is not installed", file.display()));
        vm.clone().or_else(|| machine.cannot_trace()).or_else(missing)
    };
    let mut trials: Vec<_> = PRELOADED
        .into_iter()
        .map(|(library, name)| {
            let file = Path::new(LIBRARIES).join(library);
            let family = name.split(' ').next().unwrap_or(name);
            let title = format!("a_preloaded_{family}_is_named");
            trial(title, unless_there(&file), move || preloaded(&file, name))
        })
        .collect();
    let libc = Path::new(LIBRARIES).join("libc.so.6");
    trials.push(trial("glibc_is_named", unless_there(&libc), || named(reader(), "glibc 2.")));
    trials.push(trial("a_static_glibc_is_named", machine.cannot_trace(), || {
        named(known_calls(truth()), "glibc (truth)")
    }));
    let compiler = Path::new("/usr/bin/musl-gcc");
    trials.push(trial("musl_is_named", unless_there(compiler), musl));
    let strip = unless_there(Path::new("/usr/bin/strip"));
    trials.push(trial("an_unknown_allocator_is_said_to_be", strip, stripped));
    trials
}

/// A program that repeats a line and waits for more.
fn reader() -> Command {
    Command::new("/usr/bin/cat")
}

fn known_calls(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.args(["1", "1"]);
    command
}

fn preloaded(library: &Path, name: &str) -> Result<(), Failed> {
    let mut command = reader();
    command.env("LD_PRELOAD", library);
    named(command, name)
}

fn named(command: Command, name: &str) -> Result<(), Failed> {
    let said = doctor(command)?;
    ensure(said.contains(&format!(": {name}")), format!("not {name}: {said}"))
}

/// What the doctor says of a process once it runs its own code.
fn doctor(mut command: Command) -> Result<String, Failed> {
    let mut target = Target::start(&mut command);
    target.nudge();
    target.hear("");
    let pid = target.pid().to_string();
    let output = Command::new(ALLOCTRACE).args(["doctor", "--pid", &pid]).output()?;
    ensure(output.status.success(), String::from_utf8_lossy(&output.stderr))?;
    Ok(String::from_utf8(output.stdout)?)
}

/// The same for a C library that is not the system's; it takes memory, for else a static program has
/// no allocator.
const READER: &str = r#"
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
    for (int byte; (byte = getchar()) != EOF;) {
        free(malloc(byte));
        putchar(byte);
        fflush(stdout);
    }
}
"#;

fn musl() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let source = directory.path().join("known.c");
    std::fs::write(&source, READER)?;
    for (how, name) in [("-static", "musl (known)"), ("-rdynamic", "musl 1.")] {
        let program = directory.path().join("known");
        let built =
            Command::new("musl-gcc").args([how, "-o"]).args([&program, &source]).status()?;
        ensure(built.success(), "musl-gcc failed")?;
        named(Command::new(&program), name)?;
    }
    Ok(())
}

fn stripped() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let program = directory.path().join("stripped");
    let done = Command::new("strip").arg("-o").args([&program, &truth()]).status()?;
    ensure(done.success(), "strip failed")?;
    let said = doctor(known_calls(&program))?;
    ensure(said.contains("its allocator is unknown"), said)
}
