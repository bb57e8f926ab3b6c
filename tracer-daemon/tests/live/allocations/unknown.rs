//! Processes whose allocator cannot be watched: everything else is, and both the doctor and the recording say why.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use alloctrace::sink::report;
use libtest_mimic::{Failed, Trial};
use tempfile::TempDir;

use super::reason;
use crate::{
    support::{Machine, Target, Tracer, alloctrace, ensure, same, truth},
    trial,
};

pub(super) fn trials(machine: &Machine) -> Vec<Trial> {
    let lacks =
        |program| machine.cannot_use("malloc", "uprobe").or_else(|| machine.lacks(&[program]));
    vec![
        trial("an_unknown_allocator_leaves_the_rest", lacks("strip"), stripped),
        trial("go_s_allocator_leaves_the_rest", lacks("go"), of_go),
    ]
}

fn stripped() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let program = directory.path().join("stripped");
    let done = Command::new("strip").arg("-o").args([&program, &truth()]).status()?;
    ensure(done.success(), "strip failed")?;
    let mut command = Command::new(&program);
    let why = "no file of the process tells its allocator";
    says(command.args(["1", "10"]), ": its allocator is unknown", why, "mremap", 20)
}

/// It gives back 1,000 pages of its own.
const PROGRAM: &str = r#"
package main

import (
	"bufio"
	"os"
	"syscall"
)

func main() {
	input := bufio.NewReader(os.Stdin)
	memory, _ := syscall.Mmap(-1, 0, 4096, 3, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	os.Stdout.WriteString("ready\n")
	input.ReadString('\n')
	for page := 0; page < 1000; page++ {
		syscall.Mprotect(memory, page&1)
	}
	os.Stdout.WriteString("done\n")
	input.ReadString('\n')
}
"#;

fn of_go() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    for flags in ["", "-s -w"] {
        let program = built_by_go(directory.path(), flags)?;
        let why = "Go's runtime hands out memory without malloc";
        says(&mut Command::new(program), ": Go (program)", why, "mprotect", 1000)?;
    }
    Ok(())
}

/// With what is installed, and nothing from a network.
fn built_by_go(directory: &Path, flags: &str) -> Result<PathBuf, Failed> {
    let (source, program) = (directory.join("program.go"), directory.join("program"));
    fs::write(&source, PROGRAM)?;
    let done = Command::new("go")
        .args(["build", "-ldflags", flags, "-o"])
        .args([&program, &source])
        .envs([("GOENV", "off"), ("GOFLAGS", ""), ("GOPROXY", "off"), ("GOTOOLCHAIN", "local")])
        .env("GO111MODULE", "off")
        .env("HOME", directory)
        .env("GOCACHE", directory.join("cache"))
        .current_dir(directory)
        .status()?;
    ensure(done.success(), "go build failed")?;
    Ok(program)
}

/// What the doctor calls its allocator; why that is not watched; and how often it makes a call, which is counted.
fn says(
    command: &mut Command,
    named: &str,
    why: &str,
    call: &str,
    calls: u64,
) -> Result<(), Failed> {
    let mut target = Target::start(command);
    target.hear("ready");
    let pid = target.pid();
    let doctor = alloctrace(&["doctor", "--pid", &pid.to_string()]);
    let said = String::from_utf8_lossy(&doctor.stdout);
    let next = format!("next  alloctrace attach --pid {pid} --duration 30s");
    let all = [named, why, "are measured all the same", &next];
    ensure(doctor.status.success() && all.iter().all(|words| said.contains(words)), &*said)?;
    let tracer = Tracer::attach(pid, &["--malloc"]);
    target.nudge();
    target.hear("done");
    let recording = tracer.interrupt()?;
    target.nudge();
    ensure(target.child.wait()?.success(), "the target did not end well")?;
    same(call, recording.snapshot.syscalls[call].calls, calls)?;
    ensure(recording.snapshot.allocations.is_none(), "something was counted")?;
    ensure(reason(&recording).contains(why), reason(&recording))?;
    let text = report::text(&recording, Default::default());
    let missing = text.lines().skip_while(|line| *line != "not measured").collect::<String>();
    ensure(missing.contains("malloc: "), text)
}
