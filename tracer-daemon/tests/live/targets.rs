//! The daemon traces the allocators of chosen processes, by turns, and serves what it found.

mod control_group;
mod profile;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use libtest_mimic::{Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{
    allocations::{FLAGS, THREADS, true_functions},
    daemon::Daemon,
    errors::nothing_is_left,
    support::{
        Machine, Target, alloctrace, built, ensure, same, state, truth, wait_until, workers,
    },
    trial,
};

const ROUNDS: u64 = 200;
/// So few that they cost less than half a CPU gives in advance.
const FEW_ROUNDS: u64 = 6;

/// Nothing that is waited for here takes longer than some seconds, unless others take the CPUs.
const PATIENCE: Duration = Duration::from_secs(120);

type Samples = BTreeMap<String, f64>;

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let uprobes = || machine.cannot_use("malloc", "uprobe");
    let strip = || uprobes().or_else(|| machine.lacks(&["strip"]));
    let host = || machine.cannot_differ().or_else(uprobes);
    let no_group = || host().or_else(control_group::missing);
    vec![
        trial("targets_every_call_is_in_the_metrics", uprobes(), every_call),
        trial("targets_two_at_once_do_not_disturb_each_other", host(), two_at_once),
        trial("targets_more_than_four_take_turns", host(), turns),
        trial("targets_go_by_control_group", no_group(), control_group::chosen),
        trial("targets_without_a_known_allocator_are_named", strip(), unknown_allocator),
        trial("targets_lose_a_window_with_its_worker", host(), lost_worker),
        trial("targets_are_left_alone_when_the_daemon_is_killed", uprobes(), killed),
        trial("targets_are_left_alone_when_the_daemon_ends", host(), ends),
        trial("targets_need_a_rule_that_makes_sense", machine.cannot_trace(), bad_rules),
    ]
}

/// The program that knows its calls, under a name that nothing else on the machine has.
fn named(directory: &TempDir, name: &str) -> Result<PathBuf, Failed> {
    let program = directory.path().join(name);
    fs::copy(built("allocations", &FLAGS), &program)?;
    Ok(program)
}

/// The same, started and about to work.
fn ready(program: &Path, words: &[&str]) -> Target {
    let mut target = Target::start(Command::new(program).args(words));
    target.hear("ready");
    target
}

/// One that is about to make so many rounds.
fn with_rounds(program: &Path, rounds: u64) -> Target {
    ready(program, &[&THREADS.to_string(), &rounds.to_string()])
}

/// Works to its end, and says how many blocks `realloc` to size 0 handed out.
fn work(target: &mut Target) -> Result<u64, Failed> {
    let kept = target.hear("done").trim_start_matches("done ").parse()?;
    target.nudge();
    ensure(target.child.wait()?.success(), "the target did not end well")?;
    Ok(kept)
}

fn series(metric: &str, group: &str) -> String {
    format!("alloctrace_allocator_{metric}{{group=\"{group}\"}}")
}

/// The first scrape for which it holds.
fn scrape_until(
    daemon: &Daemon,
    what: &str,
    holds: impl Fn(&Samples) -> bool,
) -> Result<Samples, Failed> {
    let began = Instant::now();
    loop {
        let samples = daemon.scrape()?;
        if holds(&samples) {
            return Ok(samples);
        }
        let found: Vec<_> = samples.iter().filter(|(name, _)| name.contains("allocator")).collect();
        ensure(began.elapsed() < PATIENCE, format!("waited in vain until {what}: {found:?}"))?;
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until so many windows count.
fn opened(daemon: &Daemon, windows: f64) -> Result<Samples, Failed> {
    scrape_until(daemon, "windows are open", |samples| {
        samples.get("alloctrace_allocator_open_windows") == Some(&windows)
    })
}

/// Waits until so many windows over processes of a group have ended.
fn ended(daemon: &Daemon, group: &str, windows: f64) -> Result<Samples, Failed> {
    let name = series("windows_total", group);
    scrape_until(daemon, "windows have ended", |samples| {
        samples.get(&name).is_some_and(|ended| *ended >= windows)
    })
}

/// Calls and bytes by function, as far as there were calls.
fn functions(samples: &Samples, group: &str) -> BTreeMap<String, (u64, Option<u64>)> {
    let of = |metric: &str| -> BTreeMap<String, u64> {
        let start = format!("alloctrace_allocator_{metric}{{group=\"{group}\",function=\"");
        let rows = samples.iter().filter_map(|(name, value)| {
            let function = name.strip_prefix(&start)?.strip_suffix("\"}")?;
            Some((function.to_owned(), *value as u64))
        });
        rows.collect()
    };
    let bytes = of("bytes_total");
    let calls = of("calls_total").into_iter().filter(|(_, calls)| *calls > 0);
    calls.map(|(name, calls)| (name.clone(), (calls, bytes.get(&name).copied()))).collect()
}

fn equals_the_truth(samples: &Samples, group: &str, rounds: u64, kept: u64) -> Result<(), Failed> {
    let found = functions(samples, group);
    let truth = true_functions(rounds, kept, found.contains_key("reallocarray"));
    let truth = truth.into_iter().map(|(name, sums)| (name.to_owned(), sums)).collect();
    same("functions", found, truth)?;
    let seconds = |metric| samples.get(&series(metric, group)).copied();
    let (all, counted) = (seconds("window_seconds_total"), seconds("counted_seconds_total"));
    ensure(all.is_some_and(|all| all > 0.0) && all == counted, format!("{counted:?} of {all:?}"))
}

/// One window, which the end of the process ends.
fn every_call() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let mut target = with_rounds(&named(&directory, "targets-one")?, ROUNDS);
    let daemon =
        Daemon::with(&["--malloc=exe=targets-one", "--malloc-budget=100%", "--malloc-window=10m"])?;
    opened(&daemon, 1.0)?;
    target.nudge();
    let kept = work(&mut target)?;
    let samples = ended(&daemon, "targets-one", 1.0)?;
    equals_the_truth(&samples, "targets-one", ROUNDS, kept)?;
    same("budget", samples["alloctrace_allocator_budget_ratio"], 1.0)?;
    same("failed", samples[&series("failed_windows_total", "targets-one")], 0.0)?;
    ensure(samples[&series("tracing_seconds_total", "targets-one")] > 0.0, "tracing was free")?;
    let pid = target.pid();
    let labelled = samples.keys().find(|series| series.contains(&format!("\"{pid}\"")));
    ensure(labelled.is_none(), format!("a pid in {labelled:?}"))?;
    profile::is_served(&daemon, pid, "one_round")
}

fn two_at_once() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let names = ["targets-left", "targets-right"];
    let rounds = [FEW_ROUNDS, FEW_ROUNDS / 2];
    let mut targets = Vec::new();
    for (name, rounds) in names.iter().zip(rounds) {
        targets.push(with_rounds(&named(&directory, name)?, rounds));
    }
    let rules = names.map(|name| format!("--malloc=exe={name}"));
    let daemon =
        Daemon::with(&[&rules[0], &rules[1], "--malloc-budget=100%", "--malloc-window=10m"])?;
    opened(&daemon, 2.0)?;
    targets.iter_mut().for_each(Target::nudge);
    for ((name, rounds), target) in names.iter().zip(rounds).zip(&mut targets) {
        let kept = work(target)?;
        equals_the_truth(&ended(&daemon, name, 1.0)?, name, rounds, kept)?;
    }
    Ok(())
}

/// Five processes, of which four are traced at the same time.
fn turns() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let names = ["turns-a", "turns-b", "turns-c", "turns-d", "turns-e"];
    let mut targets = Vec::new();
    for name in names {
        targets.push(ready(&named(&directory, name)?, &["hot"]));
    }
    let rules = names.map(|name| format!("--malloc=exe={name}"));
    let mut options: Vec<_> = rules.iter().map(String::as_str).collect();
    options.extend(["--malloc-budget=4%", "--malloc-window=1s"]);
    let daemon = Daemon::with(&options)?;
    let counts = |samples: &Samples| {
        names.map(|name| samples.get(&series("windows_total", name)).copied().unwrap_or(0.0))
    };
    let samples = scrape_until(&daemon, "each has had two windows", |samples| {
        counts(samples).iter().all(|windows| *windows >= 2.0)
    })?;
    let all = counts(&samples);
    let (least, most) = all.iter().fold((f64::MAX, 0.0_f64), |(least, most), windows| {
        (least.min(*windows), most.max(*windows))
    });
    ensure(most - least <= 1.0, format!("windows: {all:?}"))?;
    let info = samples.keys().filter(|name| name.starts_with("alloctrace_allocator_info{"));
    same("allocators", info.count(), names.len())?;
    same("workers", workers(daemon.pid()).len() <= 4, true)
}

/// A static program without symbols.
fn unknown_allocator() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let program = directory.path().join("targets-bare");
    let done = Command::new("strip").arg("-o").args([&program, &truth()]).status()?;
    ensure(done.success(), "strip failed")?;
    let _target = ready(&program, &["1", "10"]);
    let mut daemon = Daemon::with(&["--malloc=exe=targets-bare"])?;
    let line = daemon.hear()?;
    for part in ["targets-bare (pid ", "tells its allocator", "tried again in 30 s"] {
        ensure(line.contains(part), &*line)?;
    }
    let name = series("failed_windows_total", "targets-bare");
    scrape_until(&daemon, "the failure is counted", |samples| samples.get(&name) == Some(&1.0))
        .map(drop)
}

/// A worker that is ended by others: of its window nothing is known, and the daemon goes on.
fn lost_worker() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let _target = ready(&named(&directory, "targets-lost")?, &["hot"]);
    let mut daemon = Daemon::with(&["--malloc=exe=targets-lost", "--malloc-window=10m"])?;
    opened(&daemon, 1.0)?;
    let workers = workers(daemon.pid());
    let [worker] = workers.as_slice() else { return Err(format!("{workers:?}").into()) };
    kill_process(Pid::from_raw(worker.cast_signed()).ok_or("no pid")?, Signal::KILL)?;
    let line = daemon.hear()?;
    ensure(line.contains("targets-lost") && line.contains("signal: 9"), line)?;
    let samples = opened(&daemon, 0.0)?;
    let count = |metric| samples.get(&series(metric, "targets-lost")).copied();
    same("windows", count("windows_total"), Some(0.0))?;
    same("failed windows", count("failed_windows_total"), Some(1.0))
}

fn while_traced(act: impl FnOnce(Daemon) -> Result<(), Failed>) -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let mut target = ready(&named(&directory, "targets-hot")?, &["hot"]);
    let daemon = Daemon::with(&["--malloc=exe=targets-hot", "--malloc-window=10m"])?;
    opened(&daemon, 1.0)?;
    target.nudge();
    let pid = daemon.pid();
    same("workers", workers(pid).len(), 1)?;
    act(daemon)?;
    wait_until("its worker has ended", || workers(pid).is_empty())?;
    nothing_is_left()?;
    same("the target's state", state(target.pid()), Some('R'))
}

fn killed() -> Result<(), Failed> {
    while_traced(|daemon| same("how it ends", daemon.end(Signal::KILL)?, None))
}

fn ends() -> Result<(), Failed> {
    while_traced(|daemon| same("how it ends", daemon.end(Signal::TERM)?, Some(0)))
}

fn bad_rules() -> Result<(), Failed> {
    for rule in ["nonsense", "exe=", "exe=bin/app", "unit=a.scope", "cgroup=a\nb"] {
        let output = alloctrace(&["daemon", "--listen", "127.0.0.1:0", "--malloc", rule]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        same("status", output.status.code(), Some(2))?;
        same("lines", said.lines().count(), 1)?;
        ensure(said.starts_with("alloctrace: --malloc ") && said.contains("give "), said)?;
    }
    Ok(())
}
