//! What a person sees who opens the daemon's address in a browser.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use tempfile::TempDir;

use super::{Daemon, PATIENCE, churn, named};
use crate::{
    support::{ALLOCTRACE, Ended, Machine, ensure, same},
    trial,
};

const GROUP: &str = "worst-of-all";
/// The workload has to be worse than the browser, and than whatever else the machine does meanwhile.
const PROCESSES: u32 = 3;

pub(super) fn trials(machine: &Machine) -> Vec<Trial> {
    vec![trial("landing_page_names_the_worst_first", machine.lacks(&["chromium"]), worst_first)]
}

/// Chromium, with a page.
fn chromium(directory: &Path, url: &str) -> Command {
    let mut browser = Command::new("chromium");
    browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
    browser.arg(format!("--user-data-dir={}", directory.join("browser").display()));
    browser.arg("--window-size=1100,1000").arg(url);
    browser
}

fn worst_first() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let program = named(directory.path(), GROUP)?;
    let mut command = Command::new(ALLOCTRACE);
    command.args(["daemon", "--listen", "127.0.0.1:0", "--interval", "2s"]);
    let daemon = Daemon::spawn(command)?;
    let churners: Result<Vec<_>, _> =
        (0..PROCESSES).map(|_| churn(&program, u64::MAX).spawn().map(Ended)).collect();
    let churners = churners?;
    let pids: Vec<u64> = churners.iter().map(|churner| churner.0.id().into()).collect();
    let began = Instant::now();
    loop {
        let answer: Value = serde_json::from_slice(&daemon.get("/api/v1/processes")?.1)?;
        let worst = &answer["processes"][0];
        if worst["group"] == GROUP {
            ensure(
                worst["pid"].as_u64().is_some_and(|pid| pids.contains(&pid)),
                format!("{worst}"),
            )?;
            ensure(worst["calls_per_second"].as_f64() > Some(100.0), format!("{worst}"))?;
            break;
        }
        ensure(began.elapsed() < PATIENCE, format!("it is not the worst: {answer}"))?;
        thread::sleep(Duration::from_millis(50));
    }
    let findings: Value = serde_json::from_slice(&daemon.get("/api/v1/findings")?.1)?;
    ensure(findings["findings"].is_array(), format!("{findings}"))?;
    let url = format!("http://{}/", daemon.address);
    let seen = chromium(directory.path(), &url).arg("--dump-dom").output()?;
    let page = String::from_utf8_lossy(&seen.stdout);
    let first = page.split_once("<table id=\"groups\">").and_then(|(_, table)| {
        let (_, cell) = table.split_once("<td class=\"name\">")?;
        Some(cell.split_once("</td>")?.0)
    });
    same("worst group", first, Some(GROUP))?;
    ensure(page.contains("<h2>Worst processes</h2>"), &*page)?;
    picture(directory.path(), &url)
}

/// A screenshot, for people to look at.
fn picture(directory: &Path, url: &str) -> Result<(), Failed> {
    let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("landing.png");
    let _ = fs::remove_file(&kept);
    let done = chromium(directory, url).arg(format!("--screenshot={}", kept.display())).output()?;
    let begin = fs::read(&kept).map_err(|error| {
        format!("no picture: {error}; {}", String::from_utf8_lossy(&done.stderr))
    })?;
    ensure(begin.starts_with(b"\x89PNG"), "no picture")
}
