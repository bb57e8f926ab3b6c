//! The daemon counts the whole machine, by group, and serves what it counted.

mod endpoint;
mod landing;
mod looks;
mod manager;
mod privileges;
mod prometheus;
mod reload;
mod service;
mod signals;
mod strangers;

use std::{
    collections::BTreeMap,
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use libtest_mimic::{Failed, Trial};
use rustix::process::Signal;
use tempfile::TempDir;

pub(crate) use service::Daemon;

use crate::{
    support::{Machine, Target, alloctrace, ensure, same, workload},
    trial,
};

const CALLS: [&str; 6] = ["mmap", "munmap", "mremap", "mprotect", "brk", "madvise"];
/// Many samples long.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let root = || machine.cannot_trace();
    let mut trials = vec![
        trial("daemon_counts_exactly", root(), exact),
        trial("daemon_agrees_with_strace", machine.lacks(&["strace"]), as_strace),
        trial("daemon_never_counts_down", root(), monotone),
        trial("daemon_counts_areas", root(), areas),
        trial("daemon_counts_searches_for_room", root(), signals::searches),
        trial("daemon_counts_every_lookup_if_asked", root(), signals::every_lookup(machine)),
        trial("daemon_cpu_time_is_that_of_the_clock", root(), signals::cpu),
        trial("daemon_needs_a_free_port", root(), port_in_use),
        trial("daemon_ends_by_signal", root(), ends),
        trial("daemon_tells_its_manager", root(), manager::hears),
        trial("daemon_puts_privileges_down", root(), privileges::are_put_down),
    ];
    trials.extend(looks::trials(machine));
    trials.extend(reload::trials(machine));
    trials.extend(endpoint::trials(machine));
    trials.extend(landing::trials(machine));
    trials.extend(prometheus::trials(machine));
    trials.extend(strangers::trials(machine));
    trials
}

/// The workload under a name that nothing else on the machine has.
fn named(directory: &Path, name: &str) -> Result<PathBuf, Failed> {
    let program = directory.join(name);
    fs::copy(workload("mmap_churn"), &program)?;
    Ok(program)
}

fn churn(program: &Path, cycles: u64) -> Command {
    let mut command = Command::new(program);
    command.args(["--cycles", &cycles.to_string()]);
    command.stdout(Stdio::null());
    command
}

fn run(mut command: Command) -> Result<(), Failed> {
    let status = command.status()?;
    ensure(status.success(), format!("{command:?} ended with {status}"))
}

fn calls(samples: &BTreeMap<String, f64>, group: &str) -> BTreeMap<&'static str, u64> {
    let calls = CALLS.into_iter().filter_map(|call| {
        let series = format!("alloctrace_syscalls_total{{group=\"{group}\",syscall=\"{call}\"}}");
        Some((call, *samples.get(&series)? as u64))
    });
    calls.filter(|(_, count)| *count > 0).collect()
}

fn exact() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let (idle, busy) = (named(directory.path(), "at-idle")?, named(directory.path(), "at-busy")?);
    let daemon = Daemon::start()?;
    run(churn(&idle, 0))?;
    run(churn(&busy, 20_000))?;
    daemon.after("at-idle", 1.0)?;
    let samples = daemon.after("at-busy", 1.0)?;
    let mut expected = calls(&samples, "at-idle");
    for call in ["mmap", "munmap"] {
        *expected.entry(call).or_default() += 20_000;
    }
    same("calls", calls(&samples, "at-busy"), expected)?;
    let faults = "alloctrace_page_faults_total{group=\"at-busy\",kind=\"minor\"}";
    let faults = samples.get(faults).copied().unwrap_or(0.0);
    ensure(faults >= 120_000.0, format!("{faults} faults"))
}

/// `strace -c` prints a row for each call: share, seconds, µs per call, calls, errors, name.
fn as_strace() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let program = named(directory.path(), "at-strace")?;
    let table = directory.path().join("table");
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-c", "-e", &format!("trace={}", CALLS.join(",")), "-o"])
        .args([&table, &program])
        .args(["--cycles", "20000"])
        .stdout(Stdio::null());
    run(strace)?;
    let table = fs::read_to_string(table)?;
    let rows = table.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let call = CALLS.into_iter().find(|call| words.last() == Some(call))?;
        Some((call, words.get(3)?.parse().ok()?))
    });
    let truth: BTreeMap<&str, u64> = rows.collect();
    let daemon = Daemon::start()?;
    run(churn(&program, 20_000))?;
    let samples = daemon.after("at-strace", 1.0)?;
    same("calls", calls(&samples, "at-strace"), truth)
}

fn monotone() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let program = named(directory.path(), "at-again")?;
    let daemon = Daemon::start()?;
    let mut last = daemon.scrape()?;
    for round in 1..=5_u32 {
        let mut child = churn(&program, 20_000).spawn()?;
        let pid = format!("\"{}\"", child.id());
        child.wait()?;
        // Long enough for the kernel to have forgotten the process of the round before.
        let now = daemon.after("at-again", f64::from(round))?;
        for (series, value) in &last {
            let name = series.split('{').next().unwrap_or(series);
            let counts = name.ends_with("_total") || name.ends_with("_bucket");
            let after = now.get(series).copied().unwrap_or(-1.0);
            ensure(!counts || after >= *value, format!("{series}: {value} became {after}"))?;
        }
        let labelled = now.keys().find(|series| series.contains(&pid));
        ensure(labelled.is_none(), format!("a pid in {labelled:?}"))?;
        same("rounds", calls(&now, "at-again")["mmap"] / 20_000, u64::from(round))?;
        last = now;
    }
    Ok(())
}

fn port_in_use() -> Result<(), Failed> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let output = alloctrace(&["daemon", "--listen", &address]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    same("status", output.status.code(), Some(2))?;
    same("lines", said.lines().count(), 1)?;
    ensure(said.contains("choose another port"), said)
}

fn ends() -> Result<(), Failed> {
    for signal in [Signal::TERM, Signal::INT] {
        let daemon = Daemon::start()?;
        // A client that never says what it wants must not keep it.
        let _silent = TcpStream::connect(&daemon.address)?;
        same("status", daemon.end(signal)?, Some(0))?;
    }
    Ok(())
}

/// The largest process of a group, counted once and then not again for a while.
fn areas() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let program = directory.path().join("areas-of-one");
    fs::copy(workload("address_space"), &program)?;
    let mut target = Target::start(Command::new(&program).args(["--wait", "--areas", "9053"]));
    target.hear("pid");
    target.nudge();
    target.hear("planted");
    let pid = target.pid();
    let truth = fs::read_to_string(format!("/proc/{pid}/maps"))?.lines().count() as f64;
    let daemon = Daemon::start()?;
    let began = Instant::now();
    let series = "alloctrace_areas{group=\"areas-of-one\"}";
    let samples = loop {
        let samples = daemon.scrape()?;
        if samples.contains_key(series) {
            break samples;
        }
        ensure(began.elapsed() < PATIENCE, "its areas are not counted")?;
        std::thread::sleep(Duration::from_millis(20));
    };
    same("areas", samples[series], truth)?;
    same("all", samples["alloctrace_areas_of_all_processes{group=\"areas-of-one\"}"], truth)?;
    let space: serde_json::Value = serde_json::from_slice(
        &alloctrace(&["vmas", "--format", "json", "--pid", &pid.to_string()]).stdout,
    )?;
    let holes = space["holes"]["count"].as_f64().ok_or("no holes in the census")?;
    ensure(holes > 4000.0, format!("{holes} holes"))?;
    same("holes", samples["alloctrace_holes{group=\"areas-of-one\"}"], holes)?;
    let limit: f64 = fs::read_to_string("/proc/sys/vm/max_map_count")?.trim().parse()?;
    same("limit", samples["alloctrace_areas_limit"], limit)?;
    ensure(samples["alloctrace_area_counts_total"] >= 1.0, "no counts")?;
    ensure(samples["alloctrace_area_count_seconds_total"] > 0.0, "no time in counts")?;
    same("how it ends", daemon.end(Signal::TERM)?, Some(0))
}
