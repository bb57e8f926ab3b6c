//! A report in a browser.

use std::process::Command;

use libtest_mimic::{Failed, Trial};

use crate::{
    losses::recorded_whole,
    support::{Machine, Target, alloctrace, ensure, truth},
    trial,
};

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    vec![trial("a_page_is_what_a_browser_understands", machine.lacks(&["chromium"]), understood)]
}

/// Chromium reads the page, runs what it has to, and writes down what it made of it.
fn understood() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let (recording, page) = (directory.path().join("r.json"), directory.path().join("r.html"));
    // Long enough to be met by a clock that ticks a hundred times a second.
    let target = Target::start(Command::new(truth()).args(["2", "1500"]));
    recorded_whole(target, &[])?.save(&recording)?;
    let [recording, page] = [&recording, &page].map(|path| path.to_string_lossy());
    let done = alloctrace(&["report", &recording, "--format", "html", "--output", &page]);
    ensure(done.status.success(), String::from_utf8_lossy(&done.stderr))?;
    let mut browser = Command::new("chromium");
    browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]);
    browser.arg(format!("--user-data-dir={}", directory.path().join("browser").display()));
    let seen = browser.arg(format!("file://{page}")).output()?;
    let seen = String::from_utf8_lossy(&seen.stdout);
    ensure(seen.contains("<title>alloctrace: truth (pid"), &*seen)?;
    for title in ["system calls", "where the CPU time goes"] {
        ensure(seen.contains(&format!("<h2 class=\"heading\">{title}")), title)?;
    }
    ensure(seen.contains("<iframe title=\"mmap by count\""), "no flame graph")
}
