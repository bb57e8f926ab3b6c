//! CPU samples and look-ups of groups, against a process's own clock and its known number of calls.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
    time::Instant,
};

use alloctrace::census::cpu_clock_ns;
use libtest_mimic::Failed;
use tempfile::TempDir;

use super::{Daemon, PATIENCE, churn, named, run};
use crate::support::{Machine, Target, ensure, same, workload};

const SEARCH: &str = "vm_unmapped_area";
const SAMPLES_PER_SECOND: f64 = 99.0;

/// The values of a metric's series of a group.
fn of_group(samples: &BTreeMap<String, f64>, metric: &str, group: &str) -> BTreeMap<String, f64> {
    let series = samples.iter().filter_map(|(series, value)| {
        let labels = series.strip_prefix(metric)?.strip_prefix(&format!("{{group=\"{group}\","))?;
        Some((labels.split('"').nth(1)?.to_owned(), *value))
    });
    series.collect()
}

/// Each `mmap` without an address searches for room once.
pub(super) fn searches() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let (idle, busy) =
        (named(directory.path(), "find-idle")?, named(directory.path(), "find-busy")?);
    let daemon = Daemon::start()?;
    run(churn(&idle, 0))?;
    run(churn(&busy, 20_000))?;
    let counted = |samples: &BTreeMap<String, f64>, group| {
        let lookups = of_group(samples, "alloctrace_lookups_total", group);
        lookups.get(SEARCH).copied().ok_or("searches for room are not counted")
    };
    let alone = counted(&daemon.after("find-idle", 1.0)?, "find-idle")?;
    let once = counted(&daemon.after("find-busy", 1.0)?, "find-busy")?;
    same("searches", once - alone, 20_000.0)?;
    run(churn(&busy, 20_000))?;
    let twice = counted(&daemon.after("find-busy", 2.0)?, "find-busy")?;
    same("searches of both", twice, 2.0 * once)
}

/// Every function that the kernel lets anybody probe, once it is asked for.
pub(super) fn every_lookup(machine: &Machine) -> impl FnOnce() -> Result<(), Failed> + use<> {
    let functions = ["find_vma", "find_vma_intersection", "find_vma_prev", "lock_vma_under_rcu"];
    let probed =
        |name: &&str| ["fentry", "kprobe"].iter().any(|backend| machine.works(name, backend));
    let expected: BTreeSet<_> =
        functions.into_iter().filter(probed).chain([SEARCH]).map(str::to_owned).collect();
    move || {
        let directory = TempDir::new()?;
        let program = named(directory.path(), "find-all")?;
        let daemon = Daemon::with(&["--lookups"])?;
        run(churn(&program, 20_000))?;
        let samples = daemon.after("find-all", 1.0)?;
        let lookups = of_group(&samples, "alloctrace_lookups_total", "find-all");
        let names = lookups.keys().cloned().collect();
        let faults_look_up = expected.len() > 1;
        same("functions", names, expected)?;
        // Six pages are touched in each cycle, and each touch looks its area up.
        let others = lookups.iter().filter(|(name, _)| *name != SEARCH);
        let others: f64 = others.map(|(_, calls)| calls).sum();
        ensure(!faults_look_up || others >= 120_000.0, format!("{lookups:?}"))
    }
}

/// All that a process's clock says is in one of the places, as far as samples can tell.
pub(super) fn cpu() -> Result<(), Failed> {
    const GROUP: &str = "cpu-of-one";
    let directory = TempDir::new()?;
    let program = directory.path().join(GROUP);
    fs::copy(workload("address_space"), &program)?;
    let mut target =
        Target::start(Command::new(&program).args(["--wait", "--areas", "9", "--seconds", "3"]));
    target.hear("pid");
    target.nudge();
    target.hear("planted");
    let daemon = Daemon::start()?;
    let clock = |target: &Target| cpu_clock_ns(target.pid()).ok_or("it has no clock");
    let before = clock(&target)?;
    target.nudge();
    target.hear("cycles");
    let truth = (clock(&target)? - before) as f64 / 1e9;
    let places = settled(&daemon, GROUP)?;
    let sum: f64 = places.values().sum();
    // Four standard deviations of a count that has this mean.
    let error = 4.0 * (truth / SAMPLES_PER_SECOND).sqrt();
    ensure((sum - truth).abs() < error, format!("{sum} s of {truth} s (±{error}): {places:?}"))?;
    let of_kernel: f64 =
        ["fault", "mmap", "munmap", "unmap", "page_zeroing", "hole_search", "look_up", "tlb_flush"]
            .iter()
            .filter_map(|place| places.get(*place))
            .sum();
    ensure(of_kernel > 0.5 * sum, format!("it only maps, touches and unmaps: {places:?}"))
}

/// What two scrapes in a row agree on, a whole sample apart.
fn settled(daemon: &Daemon, group: &str) -> Result<BTreeMap<String, f64>, Failed> {
    let own = "alloctrace_self_cpu_seconds_total";
    let began = Instant::now();
    let mut last = daemon.scrape()?;
    let mut same_so_far = 0;
    while same_so_far < 2 {
        ensure(began.elapsed() < PATIENCE, "its CPU time does not settle")?;
        std::thread::sleep(std::time::Duration::from_millis(20));
        let now = daemon.scrape()?;
        if now[own] == last[own] {
            continue; // Still the same sample.
        }
        let cpu = |samples| of_group(samples, "alloctrace_cpu_seconds_total", group);
        let agrees = !cpu(&now).is_empty() && cpu(&now) == cpu(&last);
        same_so_far = if agrees { same_so_far + 1 } else { 0 };
        last = now;
    }
    Ok(of_group(&last, "alloctrace_cpu_seconds_total", group))
}
