//! `alloctrace attach --live`, in a real terminal and without one.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

use alloctrace::sink::Recording;
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    errors::nothing_is_left,
    support::{ALLOCTRACE, Ended, Machine, Target, Terminal, ensure, same, truth, workload},
    trial,
};

const ROUNDS: u64 = 1500;
/// Of `mprotect`: one that succeeds and one that fails in each round.
const CALLS: u64 = 2 * ROUNDS;

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let tmux = || machine.lacks(&["tmux"]).or_else(|| machine.cannot_differ());
    let root = machine.cannot_trace().or_else(|| machine.cannot_differ());
    vec![
        trial("live_view_shows_the_finding_and_then_the_report", tmux(), in_a_terminal),
        trial("live_view_ends_with_its_process", tmux(), with_its_process),
        trial("live_view_counts_what_was_done", root, lines),
    ]
}

/// What a terminal shows of it, and says after it.
fn script(pid: u32) -> String {
    format!("{ALLOCTRACE} attach --live --pid {pid}; echo \"status $?\"; echo over; exec sleep 600")
}

fn is_over(screen: &[String]) -> bool {
    screen.iter().any(|line| line == "over")
}

/// All that the terminal was told, from before what is in sight as well.
fn told(terminal: &Terminal) -> Result<Vec<String>, Failed> {
    let all = terminal.tmux(&["capture-pane", "-p", "-S", "-"])?;
    let all: Vec<_> = all.lines().map(str::to_owned).collect();
    let has = |line: &str| all.iter().any(|seen| seen.starts_with(line));
    for line in ["status 0", "mmap-churn: ", "system calls", "next  alloctrace"] {
        ensure(has(line), format!("{line} is missing:\n{}", all.join("\n")))?;
    }
    ensure(!has("q ends and reports"), "the picture stays")?;
    Ok(all)
}

fn in_a_terminal() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let churner = Ended(Command::new(workload("mmap_churn")).stdout(Stdio::null()).spawn()?);
    let pid = churner.0.id();
    let terminal = Terminal::run(directory.path(), &script(pid))?;
    let title = format!("mmap_churn (pid {pid}), 1 thread");
    let finding = ["mmap-churn (high): ", "  cure  reuse "];
    let rates = [title.as_str(), "calls ", "CPU ", "mmap ", "munmap ", "minor faults "];
    terminal.wait_for_lines(&[&rates[..], &finding].concat())?;
    terminal.tmux(&["send-keys", "q"])?;
    terminal.wait_for("the end", is_over)?;
    told(&terminal)?;
    nothing_is_left()
}

fn with_its_process() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let churner = Ended(Command::new(workload("mmap_churn")).stdout(Stdio::null()).spawn()?);
    let terminal = Terminal::run(directory.path(), &script(churner.0.id()))?;
    terminal.wait_for("rates", |screen| screen.iter().any(|line| line.starts_with("munmap ")))?;
    drop(churner);
    terminal.wait_for("the end", is_over)?;
    told(&terminal).map(drop)
}

/// A line each second, whose rates add up to what the program did, and then the recording.
fn lines() -> Result<(), Failed> {
    let mut target = Target::start(Command::new(truth()).args(["1", &ROUNDS.to_string()]));
    target.hear("ready");
    let mut command = Command::new(ALLOCTRACE);
    command.args(["attach", "--live", "--format", "json", "--pid", &target.pid().to_string()]);
    let mut tracer = Ended(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
    let mut output = BufReader::new(tracer.0.stdout.take().ok_or("no stdout")?);
    let (mut elapsed, mut calls) = (0.0, 0.0);
    let mut next = || -> Result<u64, Failed> {
        let mut line = String::new();
        output.read_line(&mut line)?;
        let line: Value = serde_json::from_str(&line)?;
        let number = |value: &Value| value.as_f64().ok_or_else(|| format!("{line}"));
        let interval = number(&line["interval_seconds"])?;
        let now = number(&line["elapsed_seconds"])?;
        ensure((now - elapsed - interval).abs() < 1e-6, format!("{elapsed} before {line}"))?;
        elapsed = now;
        same("lost", &line["lost"], &serde_json::json!({}))?;
        ensure(line["findings"].is_array(), line.to_string())?;
        calls += interval * number(&line["syscalls"]["mprotect"]["calls_per_second"])?;
        Ok(calls.round() as u64)
    };
    same("calls before", next()?, 0)?;
    target.nudge();
    target.hear("done");
    // Lines that were written before may still be there to be read.
    let mut lines = 0;
    while next()? < CALLS && lines < 30 {
        lines += 1;
    }
    same("calls", next()?, CALLS)?;
    target.nudge();
    let mut rest = String::new();
    output.read_to_string(&mut rest)?;
    let recording: Vec<_> = rest.lines().skip_while(|line| *line != "{").collect();
    let recording = Recording::read_from(recording.join("\n").as_bytes(), "stdout")?;
    same("calls of the window", recording.snapshot.syscalls["mprotect"].calls, CALLS)?;
    same("status", tracer.0.wait()?.code(), Some(0))
}
