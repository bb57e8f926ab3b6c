//! A control group of the test's own, below the one that the test is in.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use alloctrace::census::ProcRoot;
use libtest_mimic::Failed;
use tempfile::TempDir;

use super::{FEW_ROUNDS, equals_the_truth, named, opened, scrape_until, with_rounds, work};
use crate::{
    allocations::THREADS,
    daemon::Daemon,
    support::{Target, same},
};

/// A group with one below it, both gone with this.
struct ControlGroup {
    /// As `/proc/PID/cgroup` has it.
    path: String,
    directory: PathBuf,
}

impl ControlGroup {
    fn make(name: &str) -> Result<Self, String> {
        let top = Path::new("/sys/fs/cgroup");
        let tops = [top.to_owned(), top.join("unified")];
        let top = tops.iter().find(|top| top.join("cgroup.procs").exists());
        let top = top.ok_or("no control groups of the unified hierarchy are mounted")?;
        let own = ProcRoot::default().cgroup(std::process::id()).unwrap_or_default();
        let path = format!("{}/{name}-{}", own.trim_end_matches('/'), std::process::id());
        let directory = top.join(path.trim_start_matches('/'));
        fs::create_dir_all(directory.join("inner"))
            .map_err(|error| format!("no control group can be made: {error}"))?;
        Ok(Self { path, directory })
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.directory.join("inner"));
        let _ = fs::remove_dir(&self.directory);
    }
}

/// Why this cannot be tested here.
pub(super) fn missing() -> Option<String> {
    ControlGroup::make("targets-try").err()
}

/// Of two processes of one program only the one inside is traced.
pub(super) fn chosen() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let group = ControlGroup::make("targets-test")?;
    let program = named(&directory, "targets-inside")?;
    let mut outside = with_rounds(&program, FEW_ROUNDS);
    let mut enter = Command::new("sh");
    enter.arg("-c").arg("echo $$ > \"$0\" && exec \"$@\"");
    enter.arg(group.directory.join("inner/cgroup.procs")).arg(&program);
    let mut inside = Target::start(enter.args([THREADS, FEW_ROUNDS].map(|word| word.to_string())));
    inside.hear("ready");
    let rule = format!("--malloc=cgroup={}", group.path);
    let daemon = Daemon::with(&[&rule, "--malloc-budget=100%", "--malloc-window=10m"])?;
    let samples = opened(&daemon, 1.0)?;
    let of = |metric: &str| {
        let start = format!("alloctrace_allocator_{metric}{{group=\"");
        let mut rows = samples.iter().filter_map(move |(name, value)| {
            Some((name.strip_prefix(&start)?.strip_suffix("\"}")?, *value))
        });
        rows.next().zip(Some(rows.count()))
    };
    let ((name, targets), others) = of("targets").ok_or("no group has targets")?;
    same("targets", (targets, others), (1.0, 0))?;
    inside.nudge();
    outside.nudge();
    work(&mut outside)?;
    let kept = work(&mut inside)?;
    let series = super::series("windows_total", name);
    let samples = scrape_until(&daemon, "the window has ended", |samples| {
        samples.get(&series) == Some(&1.0)
    })?;
    equals_the_truth(&samples, name, FEW_ROUNDS, kept)
}
