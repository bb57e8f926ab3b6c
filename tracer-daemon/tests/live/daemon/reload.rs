//! The configuration, read at the start and again while processes come and go.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use libtest_mimic::{Failed, Trial};
use rustix::process::Signal;
use tempfile::TempDir;

use super::{Daemon, PATIENCE, churn, named, run, service::ANY_AGE};
use crate::{
    support::{Machine, Target, alloctrace, built, ensure, same, state, wait_until},
    trial,
};

type Samples = BTreeMap<String, f64>;

const SUCCEEDED: &str = "alloctrace_config_last_reload_successful";
const SUCCEEDED_AT: &str = "alloctrace_config_last_reload_success_timestamp_seconds";

pub(super) fn trials(machine: &Machine) -> Vec<Trial> {
    let root = || machine.cannot_trace();
    let host = || root().or_else(|| machine.cannot_differ());
    let uprobes = machine.cannot_use("malloc", "uprobe").or_else(|| machine.cannot_differ());
    vec![
        trial("config_is_checked", None, checked),
        trial("config_groups_processes", host(), groups),
        trial("config_makes_room_for_so_many_groups", host(), room),
        trial("config_gives_no_group_to_the_young", host(), young),
        trial("config_reload_moves_processes_and_loses_nothing", root(), moves),
        trial("config_reload_keeps_the_last_good_one", host(), last_good),
        trial("config_reload_chooses_other_allocators", uprobes, chooses),
    ]
}

fn rule(comm: &str, group: &str) -> String {
    format!("{ANY_AGE}[[group]]\nname = '{group}'\ncomm = '{comm}'\n")
}

fn of_group(samples: &Samples, metric: &str, group: &str) -> f64 {
    let metric = format!("alloctrace_{metric}{{group=\"{group}\"");
    let series = samples.iter().filter(|(series, _)| series.starts_with(&metric));
    series.map(|(_, value)| value).sum()
}

fn of_all(samples: &Samples, metric: &str) -> f64 {
    let metric = format!("alloctrace_{metric}{{");
    let series = samples.iter().filter(|(series, _)| series.starts_with(&metric));
    series.map(|(_, value)| value).sum()
}

/// The first scrape for which it holds.
fn until(daemon: &Daemon, what: &str, holds: impl Fn(&Samples) -> bool) -> Result<Samples, Failed> {
    let began = Instant::now();
    loop {
        let samples = daemon.scrape()?;
        if holds(&samples) {
            return Ok(samples);
        }
        ensure(began.elapsed() < PATIENCE, format!("waited in vain until {what}"))?;
        sleep(Duration::from_millis(20));
    }
}

fn checked() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let file = directory.path().join("a.toml");
    let path = file.display().to_string();
    let check = |words: &[&str]| {
        let output = alloctrace(&[&["daemon", "--config", &path], words].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/alloctrace.toml");
    if sample.exists() {
        fs::copy(sample, &file)?;
        let good = (Some(0), format!("alloctrace: {path} makes sense\n"));
        same("the sample", check(&["--check-config"]), good)?;
    }
    fs::write(&file, "\n[groups]\nmost = 0\n")?;
    for words in [&["--check-config"][..], &[]] {
        let (status, said) = check(words);
        same("status", status, Some(2))?;
        same("lines", said.lines().count(), 1)?;
        ensure(said.starts_with(&format!("alloctrace: {path}:3: groups.most: 0 is ")), said)?;
    }
    fs::remove_file(&file)?;
    let (status, said) = check(&["--check-config"]);
    same("status without a file", status, Some(2))?;
    ensure(said.contains("No such file") && said.lines().count() == 1, said)
}

fn groups() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let program = named(directory.path(), "cfg-churn")?;
    let text = format!(
        "{ANY_AGE}[[group]]\nname = 'queue-$queue'\nexe = '{}'\ncmdline = '.* --cycles (?<queue>\\d+)'\n",
        program.display()
    );
    let daemon = Daemon::configured(&text, &[])?;
    let cycles = 400_000;
    run(churn(&program, cycles))?;
    let samples = daemon.after(&format!("queue-{cycles}"), 1.0)?;
    let calls = of_group(&samples, "syscalls_total", &format!("queue-{cycles}"));
    ensure(calls >= 2.0 * cycles as f64, format!("{calls} calls"))?;
    same("elsewhere", of_group(&samples, "syscalls_total", "cfg-churn"), 0.0)
}

fn room() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let daemon = Daemon::configured("[groups]\nmost = 1\nminimum_age = '0s'\n", &[])?;
    let before = of_group(&daemon.scrape()?, "syscalls_total", "~other");
    for name in ["cfg-one", "cfg-two", "cfg-three"] {
        run(churn(&named(directory.path(), name)?, 20_000))?;
    }
    let samples = until(&daemon, "their calls are counted", |samples| {
        of_group(samples, "syscalls_total", "~other") >= before + 120_000.0
    })?;
    let groups = samples.keys().filter(|series| series.starts_with("alloctrace_forks_total"));
    same("groups", groups.count(), 2)
}

fn young() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    // Older than what a test starts.
    let daemon = Daemon::configured("[groups]\nminimum_age = '1h'\n", &[])?;
    let young = named(directory.path(), "cfg-young")?;
    run(churn(&young, 20_000))?;
    let samples = until(&daemon, "it has ended", |samples| {
        of_group(samples, "syscalls_total", "~new") >= 40_000.0
    })?;
    same("a group", of_group(&samples, "exits_total", "cfg-young"), 0.0)?;
    ensure(!samples.keys().any(|series| series.contains("cfg-")), "a group of the young")?;
    ensure(samples.keys().any(|series| series.contains("\"kernel\"")), "no lasting group")
}

/// Its faults and those of its children, as the kernel has them of one that has ended and waits to be waited for.
fn true_faults(pid: u32) -> Result<f64, Failed> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<_> = line.rsplit(") ").next().ok_or("no stat")?.split(' ').collect();
    let faults = fields.get(7..11).ok_or("no faults")?.iter().map(|field| field.parse::<f64>());
    Ok(faults.sum::<Result<f64, _>>()?)
}

/// A program that forks, about to begin, under a name of its own.
fn forker(directory: &TempDir, name: &str) -> Result<Target, Failed> {
    let program: PathBuf = directory.path().join(name);
    fs::copy(built("forks", &["-O1", "-static"]), &program)?;
    let mut target = Target::start(&mut Command::new(&program));
    target.hear("ready");
    Ok(target)
}

fn moves() -> Result<(), Failed> {
    const NAME: &str = "cfg-forks";
    let directory = TempDir::new()?;
    let mut target = forker(&directory, NAME)?;
    let faults_before = true_faults(target.pid())?;
    let mut daemon = Daemon::start()?;
    let groups = [NAME, "red", "blue-forks", "green"];
    let counted = |samples: &Samples, metric| -> f64 {
        groups.iter().map(|group| of_group(samples, metric, group)).sum()
    };
    let mut last =
        until(&daemon, "it has a group", |samples| of_group(samples, "processes", NAME) > 0.0)?;
    target.nudge();
    let rules =
        [rule(NAME, "red"), rule("cfg-(.*)", "blue-$1"), ANY_AGE.to_owned(), rule(NAME, "green")];
    for (text, group) in
        rules.iter().cycle().zip(["red", groups[2], NAME, "green"].iter().cycle()).take(8)
    {
        let before = of_group(&last, "page_faults_total", group);
        let said = daemon.reconfigure(text)?;
        ensure(said.trim_end().ends_with("alloctrace.toml again"), said)?;
        let now = until(&daemon, "the faults are in their new group", |samples| {
            of_group(samples, "page_faults_total", group) >= before + 500.0
                && of_group(samples, "processes", group) > 0.0
        })?;
        for metric in ["page_faults_total", "forks_total", "exits_total", "syscalls_total"] {
            let (was, is) = (of_all(&last, metric), of_all(&now, metric));
            ensure(is >= was, format!("{metric} of all groups: {was} became {is}"))?;
        }
        last = now;
    }
    target.nudge();
    let forks: f64 = target.hear("done").trim_start_matches("done ").parse()?;
    let pid = target.pid();
    wait_until("it has ended", || state(pid) == Some('Z'))?;
    let truth = true_faults(pid)? - faults_before;
    let samples =
        until(&daemon, "all have ended", |samples| counted(samples, "exits_total") >= forks + 1.0)?;
    same("ends", counted(&samples, "exits_total"), forks + 1.0)?;
    same("forks", counted(&samples, "forks_total"), forks)?;
    same("faults", counted(&samples, "page_faults_total"), truth)
}

fn last_good() -> Result<(), Failed> {
    const NAME: &str = "cfg-keeps";
    let directory = TempDir::new()?;
    let mut target = forker(&directory, NAME)?;
    let mut daemon = Daemon::configured(&rule(NAME, "kept"), &[])?;
    target.nudge();
    let first =
        until(&daemon, "it counts", |samples| of_group(samples, "forks_total", "kept") > 9.0)?;
    let at = |samples: &Samples| samples.get(SUCCEEDED_AT).copied().unwrap_or(0.0);
    same("succeeded", first[SUCCEEDED], 1.0)?;
    let said = daemon.reconfigure(&format!("{ANY_AGE}\n[[group]]\nname = '$1'\ncomm = 'a'\n"))?;
    ensure(said.contains("alloctrace.toml:5: group.name: $1: ") && said.contains("stays"), said)?;
    let failed = until(&daemon, "that is told", |samples| samples[SUCCEEDED] == 0.0)?;
    same("the time of the last good one", at(&failed), at(&first))?;
    let forks = of_group(&failed, "forks_total", "kept");
    until(&daemon, "it counts on", |samples| {
        of_group(samples, "forks_total", "kept") >= forks + 20.0
    })?;
    let said = daemon
        .reconfigure(&format!("lookups = true\nlisten = ['[::1]:0']\n{}", rule(NAME, "next")))?;
    ensure(said.trim_end().ends_with("; a restart is needed for: lookups"), said)?;
    let cured = until(&daemon, "it is in its next group", |samples| {
        of_group(samples, "forks_total", "next") > 9.0
    })?;
    same("succeeded", cured[SUCCEEDED], 1.0)?;
    ensure(at(&cured) > at(&first), "no later time")?;
    same("how it ends", daemon.end(Signal::TERM)?, Some(0))
}

fn chooses() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let target = forker(&directory, "cfg-chosen")?;
    let mut daemon = Daemon::start()?;
    let targets = "alloctrace_allocator_targets{group=\"cfg-chosen\"}";
    same("before", daemon.scrape()?.get(targets), None)?;
    let malloc = "[malloc]\nrules = ['exe=cfg-chosen']\nwindow = '1s'\nbudget = '2%'\n";
    daemon.reconfigure(malloc)?;
    let chosen = until(&daemon, "it is chosen", |samples| samples.contains_key(targets))?;
    same("targets", chosen[targets], 1.0)?;
    same("budget", chosen["alloctrace_allocator_budget_ratio"], 0.02)?;
    daemon.reconfigure(ANY_AGE)?;
    let left = until(&daemon, "it is left alone", |samples| {
        samples.get(targets).is_none_or(|targets| *targets == 0.0)
    })?;
    same("budget", left["alloctrace_allocator_budget_ratio"], 0.01)?;
    drop(target);
    same("how it ends", daemon.end(Signal::TERM)?, Some(0))
}
