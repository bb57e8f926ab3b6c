//! The daemon looks closer at a process with such a file, and serves on.

use std::{
    fs,
    process::{Command, Stdio},
};

use libtest_mimic::{Failed, Trial};
use tempfile::TempDir;

use super::{GIVEN_UP, build_library, build_program};
use crate::{
    daemon::Daemon,
    support::{Ended, Machine, same, wait_until},
    trial,
};

pub(super) fn trials(machine: &Machine) -> Vec<Trial> {
    let lacks = machine.lacks(&["gcc"]).or_else(|| machine.cannot_differ());
    vec![trial("the_daemon_looks_at_such_a_process_and_serves_on", lacks, looks)]
}

fn looks() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    build_library(directory.path(), "s", include_str!("lines.s"))?;
    build_program(directory.path())?;
    let program = directory.path().join("looked-through");
    fs::rename(directory.path().join("program"), &program)?;
    let mut daemon = Daemon::start()?;
    let _busy = Ended(Command::new(&program).arg("busy").stdout(Stdio::null()).spawn()?);
    // It says so when the look has ended.
    loop {
        let line = daemon.hear()?;
        if line.contains("library.so") && line.contains(GIVEN_UP) {
            break;
        }
    }
    let finding = "alloctrace_finding_active{group=\"looked-through\",finding=\"mmap-churn\"}";
    let has_it = || daemon.scrape().is_ok_and(|samples| samples.contains_key(finding));
    wait_until("the finding is served", has_it)?;
    let samples = daemon.scrape()?;
    same("looks", samples["alloctrace_closer_looks_total"], 1.0)?;
    same("failed looks", samples["alloctrace_failed_closer_looks_total"], 0.0)
}
