//! Profiles as `go tool pprof` reads them.

use std::{
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use libtest_mimic::Failed;
use tempfile::TempDir;

use super::{program, sites::tolerance};
use crate::{
    losses::recorded_whole,
    support::{Target, alloctrace, ensure, same},
};

/// Of each block, as the program has it.
const SIZE: u64 = 2_000_000;

/// Functions, and how many blocks they took; heaviest first.
const TAKEN: [(&str, u64); 3] = [("take_large", 100), ("keep_much", 50), ("keep_little", 25)];

pub(super) fn lists_call_sites() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let begin = now()?;
    let target = Target::start(program().arg("kept"));
    let recording = recorded_whole(target, &["--malloc", "--budget", "100%"])?;
    let started = recording.snapshot.window.started_at.ok_or("nobody knows when it began")?;
    ensure((begin..=now()?).contains(&started), format!("it began at {started}, not {begin}"))?;
    let file = directory.path().join("recording.json");
    recording.save(&file)?;
    for kind in [&[][..], &["--kind", "malloc"]] {
        let profile = directory.path().join("profile.pb.gz");
        let [file, output] = [&file, &profile].map(|path| path.to_string_lossy());
        let report = ["report", &file, "--format", "pprof", "--output", &output];
        let done = alloctrace(&[&report[..], kind].concat());
        ensure(done.status.success(), String::from_utf8_lossy(&done.stderr))?;
        has_shares(&top(&profile, "alloc_space", &directory)?, &TAKEN)?;
        has_shares(&top(&profile, "inuse_space", &directory)?, &TAKEN[1..])?;
    }
    Ok(())
}

fn now() -> Result<f64, Failed> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

/// What Go's reader makes of a profile, in bytes; it has no network and no files but these.
fn top(profile: &Path, index: &str, directory: &TempDir) -> Result<String, Failed> {
    let done = Command::new("go")
        .args(["tool", "pprof", "-top", "-unit=B", &format!("-sample_index={index}")])
        .arg(profile)
        .env("HOME", directory.path())
        .env("PPROF_TMPDIR", directory.path())
        .envs([("GOENV", "off"), ("GOFLAGS", ""), ("GOPROXY", "off"), ("GOTOOLCHAIN", "local")])
        .current_dir(directory.path())
        .output()?;
    ensure(done.status.success(), String::from_utf8_lossy(&done.stderr))?;
    Ok(String::from_utf8(done.stdout)?)
}

/// The functions are listed first, in this order and with these many blocks; the program is the right one.
fn has_shares(listed: &str, truth: &[(&str, u64)]) -> Result<(), Failed> {
    let header = |name: &str| listed.lines().find_map(|line| line.strip_prefix(name));
    let build_id = build_id(&program())?.ok_or("the program has no build-id")?;
    same("build-id", header("Build ID: "), Some(&*build_id))?;
    ensure(header("Duration: ").is_some() && header("Time: ").is_some(), listed)?;
    let rows = listed.lines().skip_while(|line| !line.trim_start().starts_with("flat ")).skip(1);
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split_whitespace().collect()).collect();
    for (row, (function, blocks)) in rows.iter().zip(truth) {
        same("function", row.last(), Some(function))?;
        let flat = row[0].trim_end_matches('B').parse::<f64>()?;
        let error = flat / (blocks * SIZE) as f64 - 1.0;
        ensure(error.abs() <= tolerance(*blocks, SIZE), format!("{function}: {error}: {listed}"))?;
    }
    let rest = rows.get(truth.len()..).ok_or_else(|| format!("too few rows: {listed}"))?;
    ensure(rest.iter().all(|row| row[0] == "0"), listed)
}

/// As binutils read it.
fn build_id(program: &Command) -> Result<Option<String>, Failed> {
    let notes = Command::new("readelf").arg("-n").arg(program.get_program()).output()?;
    let notes = String::from_utf8(notes.stdout)?;
    let id = notes.lines().find_map(|line| line.trim().strip_prefix("Build ID: "));
    Ok(id.map(str::to_owned))
}
