//! `alloctrace top`, in a real terminal and without one.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use libtest_mimic::{Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    errors::nothing_is_left,
    support::{
        ALLOCTRACE, Ended, Machine, Terminal, alloctrace, ensure, same, state, wait_until, workers,
        workload,
    },
    trial,
};

const GROUP: &str = "worst-in-top";
const PROCESSES: u32 = 3;

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let tools = || machine.lacks(&["tmux", "stty"]);
    vec![
        trial("top_shows_the_worst_first", tools(), in_a_terminal),
        trial("top_gives_the_terminal_back_when_it_is_ended", tools(), ended),
        trial("top_prints_a_table_once", machine.cannot_trace(), once),
        trial(
            "top_prints_a_line_of_json_each_interval",
            machine.cannot_trace().or_else(|| machine.cannot_differ()),
            json,
        ),
        trial("top_finds_out_why_by_itself", tools().or_else(|| machine.cannot_differ()), why),
        trial(
            "nothing_is_left_when_top_ends",
            machine.cannot_trace().or_else(|| machine.cannot_differ()),
            nothing_is_left_of_a_look,
        ),
    ]
}

/// Processes that are worse than whatever else the machine does.
fn churners(directory: &Path) -> Result<Vec<Ended>, Failed> {
    let program = directory.join(GROUP);
    fs::copy(workload("mmap_churn"), &program)?;
    let churn = || -> Result<Ended, Failed> {
        Ok(Ended(Command::new(&program).stdout(Stdio::null()).spawn()?))
    };
    (0..PROCESSES).map(|_| churn()).collect()
}

/// The row below the headings.
fn first_row(screen: &[String]) -> Option<&str> {
    let headings = screen.iter().position(|line| line.contains("CALLS/S"))?;
    Some(screen.get(headings + 1)?.as_str())
}

/// Runs it between two looks at the terminal's settings.
fn script() -> String {
    format!("stty -a; {ALLOCTRACE} top; echo \"status $?\"; stty -a; echo over; exec sleep 600")
}

/// What is on the screen after it: the settings before and after are the same, and nothing of its picture is left.
fn is_given_back(screen: &[String]) -> Result<(), Failed> {
    let over = screen.iter().position(|line| line == "over").ok_or("not over")?;
    let status = screen.iter().position(|line| line == "status 0").ok_or("another status")?;
    same("settings", &screen[..status], &screen[status + 1..over])?;
    ensure(status > 0, "no settings")
}

fn in_a_terminal() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let _churners = churners(directory.path())?;
    let terminal = Terminal::run(directory.path(), &script())?;
    let is_first = |name: &'static str| {
        move |screen: &[String]| first_row(screen).is_some_and(|row| row.starts_with(name))
    };
    let groups = terminal.wait_for("the group first", is_first("worst-in-top "))?;
    ensure(groups.iter().any(|line| line.starts_with("GROUP ")), groups.join("\n"))?;
    terminal.tmux(&["send-keys", "p"])?;
    let processes = terminal.wait_for("a process first", is_first("worst-in-top ("))?;
    ensure(processes.iter().any(|line| line.starts_with("PROCESS ")), processes.join("\n"))?;
    terminal.tmux(&["send-keys", "g"])?;
    terminal.wait_for("groups again", is_first("worst-in-top  "))?;
    terminal.tmux(&["send-keys", "q"])?;
    is_given_back(&terminal.wait_for("the end", |screen| screen.iter().any(|line| line == "over"))?)
}

fn ended() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let pid = directory.path().join("pid");
    let top = format!("sh -c 'echo $$ > {}; exec {ALLOCTRACE} top'", pid.display());
    let terminal =
        Terminal::run(directory.path(), &script().replace(&format!("{ALLOCTRACE} top"), &top))?;
    terminal.wait_for("a table", |screen| first_row(screen).is_some_and(|row| !row.is_empty()))?;
    let pid = fs::read_to_string(pid)?;
    let killed = Command::new("kill").args(["-TERM", pid.trim()]).status()?;
    ensure(killed.success(), "it cannot be ended")?;
    is_given_back(&terminal.wait_for("the end", |screen| screen.iter().any(|line| line == "over"))?)
}

fn once() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let _churners = churners(directory.path())?;
    let output = alloctrace(&["top", "--once"]);
    same("status", output.status.code(), Some(0))?;
    let text = String::from_utf8(output.stdout)?;
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    ensure(first_row(&lines).is_some_and(|row| !row.is_empty()), &*text)?;
    // Another may have been worse in that very second.
    let row = lines.iter().find(|line| line.starts_with(GROUP)).ok_or(text.clone())?;
    let processes = row.split_whitespace().nth(1);
    same("processes", processes, Some(PROCESSES.to_string().as_str()))?;
    ensure(lines.iter().all(|line| line.chars().count() <= 80), text)
}

fn json() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let churners = churners(directory.path())?;
    let mut command = Command::new(ALLOCTRACE);
    command.args(["top", "--format", "json", "--interval", "500ms"]);
    let mut top = command.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(top.stdout.take().ok_or("no stdout")?).lines();
    // Another may be worse for a moment.
    let mut worst = 0;
    for line in lines.by_ref().take(40) {
        let line: Value = serde_json::from_str(&line?)?;
        let (group, process) = (&line["groups"][0], &line["processes"][0]);
        if group["group"] == GROUP && process["group"] == GROUP {
            same("processes", group["processes"].as_u64(), Some(u64::from(PROCESSES)))?;
            let pid = process["pid"].as_u64();
            let is_one = churners.iter().any(|churner| Some(churner.0.id().into()) == pid);
            ensure(is_one, format!("{pid:?}"))?;
            worst += 1;
        }
        if worst == 3 {
            break;
        }
    }
    same("times that it was the worst", worst, 3)?;
    // A reader that has seen enough is no error.
    drop(lines);
    same("status", top.wait()?.code(), Some(0))
}

/// What is wrong with a process appears on the screen, and goes when it has ended.
fn why() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let program = directory.path().join(GROUP);
    fs::copy(workload("mmap_churn"), &program)?;
    let churner = Ended(Command::new(&program).stdout(Stdio::null()).spawn()?);
    let who = format!("{GROUP} (pid {})", churner.0.id());
    let terminal = Terminal::run(directory.path(), &script())?;
    let says = |text: String| move |screen: &[String]| screen.join("\n").contains(&text);
    terminal.wait_for("what it waits for", says(format!("{who} takes ")))?;
    terminal.wait_for("a look", says(format!("looking closer at {who}")))?;
    let all = format!("  all   alloctrace attach --pid {} --duration 30s", churner.0.id());
    let finding = ["mmap-churn (high): ", "  what  ", "  cure  reuse ", &all];
    let found = terminal.wait_for_lines(&finding)?;
    let is_finding = |line: &String| line.starts_with("mmap-churn (high)") && line.contains(&who);
    ensure(found.iter().any(is_finding), found.join("\n"))?;
    ensure(first_row(&found).is_some_and(|row| !row.is_empty()), found.join("\n"))?;
    drop(churner);
    terminal.wait_for("its end", |screen| !screen.iter().any(is_finding))?;
    terminal.tmux(&["send-keys", "q"])?;
    is_given_back(&terminal.wait_for("the end", |screen| screen.iter().any(|line| line == "over"))?)
}

/// However it ends, the worker of a look that is under way ends with it, and so do its probes.
fn nothing_is_left_of_a_look() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let churners = churners(directory.path())?;
    for (signal, status) in [(Signal::INT, Some(0)), (Signal::TERM, Some(0)), (Signal::KILL, None)]
    {
        let mut command = Command::new(ALLOCTRACE);
        command.args(["top", "--format", "json"]).stdout(Stdio::piped());
        let mut top = Ended(command.spawn()?);
        let pid = top.0.id();
        let lines = BufReader::new(top.0.stdout.take().ok_or("no stdout")?).lines();
        let mut looked_at = lines.take(120).filter(|_| !workers(pid).is_empty());
        ensure(looked_at.next().is_some(), "nobody was looked at")?;
        kill_process(Pid::from_raw(pid.cast_signed()).ok_or("no pid")?, signal)?;
        same("how it ends", top.0.wait()?.code(), status)?;
        wait_until("its worker has ended", || workers(pid).is_empty())?;
        nothing_is_left()?;
    }
    let running = churners.iter().filter(|churner| state(churner.0.id()) == Some('R')).count();
    ensure(running > 0, "the workload does not run on")
}
