//! The daemon looks closer at what is suspicious, and says what it found for as long as it is so.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use alloctrace::census::cpu_clock_ns;
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use tempfile::TempDir;

use super::{Daemon, churn, named};
use crate::{
    support::{Ended, Machine, ensure, same},
    trial,
};

/// To become suspicious, to be looked at, and to be forgotten takes half a minute each.
const PATIENCE: Duration = Duration::from_secs(90);

const FINDING: &str = "alloctrace_finding_active{group=\"looked-at\",finding=\"mmap-churn\"}";

pub(super) fn trials(machine: &Machine) -> Vec<Trial> {
    let root = || machine.cannot_trace();
    let host = || machine.cannot_differ();
    vec![
        trial("looks_find_a_churn_and_its_end", root().or_else(host), churn_is_found),
        trial("looks_can_be_left_out", root().or_else(host), left_out),
    ]
}

fn churn_is_found() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let (sick, calm) =
        (named(directory.path(), "looked-at")?, named(directory.path(), "left-alone")?);
    let daemon = Daemon::start()?;
    let mut seldom = churn(&calm, u64::MAX);
    let _calm = Ended(seldom.args(["--pause-us", "20000"]).spawn()?);
    let busy = Ended(churn(&sick, u64::MAX).spawn()?);
    let began = Instant::now();
    let samples = wait(&daemon, |samples| samples.contains_key(FINDING))?;
    same("looks", samples["alloctrace_closer_looks_total"], 1.0)?;
    same("failed looks", samples["alloctrace_failed_closer_looks_total"], 0.0)?;
    let saving = FINDING.replace("active", "saving_cpu_ratio");
    let saving = samples.get(&saving).copied().unwrap_or(0.0);
    let cpu = cpu_clock_ns(busy.0.id()).ok_or("it has ended")? as f64 / 1e9;
    // All that it does is to map, to touch and to unmap, as often now as then.
    let part = saving / (cpu / began.elapsed().as_secs_f64());
    ensure((0.7..=1.2).contains(&part), format!("the cure saves {part} of its CPU time"))?;
    let other = samples.keys().find(|series| {
        series.starts_with("alloctrace_finding_active") && series.as_str() != FINDING
    });
    ensure(other.is_none(), format!("also found: {other:?}"))?;
    let page = String::from_utf8(daemon.get("/")?.1)?;
    ensure(page.contains("<h3>looked-at: mmap-churn</h3>"), page)?;
    let found: Value = serde_json::from_slice(&daemon.get("/api/v1/findings")?.1)?;
    let [only] = found["findings"].as_array().map_or(&[][..], Vec::as_slice) else {
        return Err(format!("{found}").into());
    };
    same("pid", only["pid"].as_u64(), Some(u64::from(busy.0.id())))?;
    ensure(only["remedy"].as_array().is_some_and(|remedy| !remedy.is_empty()), only.to_string())?;
    drop(busy);
    wait(&daemon, |samples| !samples.contains_key(FINDING)).map(drop)
}

fn left_out() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let sick = named(directory.path(), "looked-at")?;
    let daemon = Daemon::with(&["--look-again", "0"])?;
    let _busy = Ended(churn(&sick, u64::MAX).spawn()?);
    let began = Instant::now();
    // Longer than it takes until a look begins.
    while began.elapsed() < Duration::from_secs(20) {
        let children = format!("/proc/{0}/task/{0}/children", daemon.pid());
        same("workers", std::fs::read_to_string(children)?.as_str(), "")?;
        std::thread::sleep(Duration::from_millis(100));
    }
    same("looks", daemon.scrape()?["alloctrace_closer_looks_total"], 0.0)
}

/// The first samples that are so.
fn wait(
    daemon: &Daemon,
    so: impl Fn(&BTreeMap<String, f64>) -> bool,
) -> Result<BTreeMap<String, f64>, Failed> {
    let began = Instant::now();
    loop {
        let samples = daemon.scrape()?;
        if so(&samples) {
            return Ok(samples);
        }
        ensure(began.elapsed() < PATIENCE, "it did not come about")?;
        std::thread::sleep(Duration::from_millis(200));
    }
}
