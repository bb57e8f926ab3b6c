//! Processes whose names and control groups somebody chose to do harm.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsStr,
    fs::{self, File},
    io::Write,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use libtest_mimic::{Failed, Trial};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, open, openat, unlinkat};
use tempfile::TempDir;

use super::{Daemon, PATIENCE, churn, prometheus, run};
use crate::{
    support::{Machine, Target, ensure, workload},
    trial,
};

const CYCLES: u64 = 1000;

pub(super) fn trials(machine: &Machine) -> Vec<Trial> {
    vec![
        trial("strangers_names_do_no_harm", prometheus::lacks(machine), names),
        trial("strangers_groups_are_no_deeper_than_paths", deep_lacks(machine), deep),
    ]
}

/// Beyond what a file may be called, with everything that ends a label, a line, a string or a text.
fn hostile() -> [Vec<u8>; 6] {
    [
        b"at\"} 1\n# HELP alloctrace_forks_total".to_vec(),
        b"at\\".to_vec(),
        b"at\xff\xfe".to_vec(),
        b"at\x1b[2J".to_vec(),
        b"at<script>alert(1)<!--".to_vec(),
        [b"at".as_slice(), &[b'x'; 253]].concat(),
    ]
}

fn names() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let daemon = Daemon::start()?;
    let before: HashSet<_> = daemon.scrape()?.into_keys().collect();
    for name in hostile() {
        let program = directory.path().join(OsStr::from_bytes(&name));
        fs::copy(workload("mmap_churn"), &program)?;
        run(churn(&program, CYCLES))?;
    }
    // Whoever ends unseen counts by the beginning of its name: six processes can be twelve groups.
    let sum = |samples: &BTreeMap<String, f64>, metric: &str, end: &str| -> f64 {
        let start = format!("{metric}{{group=\"at");
        let new = samples.iter().filter(|(series, _)| !before.contains(*series));
        new.filter(|(series, _)| series.starts_with(&start) && series.ends_with(end))
            .map(|(_, value)| value)
            .sum()
    };
    let (mut samples, began) = (daemon.scrape()?, Instant::now());
    let processes = hostile().len() as f64;
    while sum(&samples, "alloctrace_exits_total", "\"}") < processes {
        ensure(began.elapsed() < PATIENCE, "not all of them have ended")?;
        samples = daemon.scrape()?;
    }
    let calls = sum(&samples, "alloctrace_syscalls_total", "\",syscall=\"munmap\"}") / processes;
    // Besides, the linker unmaps what it looked its libraries up in.
    let is_right = (CYCLES as f64..CYCLES as f64 + 10.0).contains(&calls);
    ensure(is_right, format!("each called munmap {calls} times"))?;
    let text = directory.path().join("metrics");
    fs::write(&text, daemon.get("/metrics")?.1)?;
    prometheus::promtool(&["check", "metrics"], File::open(text)?.into())?;
    let page = String::from_utf8(daemon.get("/")?.1)?;
    ensure(!page.contains("<script>alert"), "a name is markup")?;
    let processes = daemon.get("/api/v1/processes")?.1;
    serde_json::from_slice::<serde_json::Value>(&processes)?;
    Ok(())
}

/// Ten thousand bytes of a control group's path.
struct Deep {
    directories: Vec<OwnedFd>,
}

const LONG: usize = 250;
const LEVELS: usize = 40;

impl Deep {
    fn make() -> Result<Self, String> {
        let tops = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from);
        let top = tops.iter().find(|top| top.join("cgroup.procs").exists());
        let top = top.ok_or("no control groups of the unified hierarchy are mounted")?;
        Self::below(top).map_err(|error| format!("no control group can be made: {error}"))
    }

    fn below(top: &Path) -> rustix::io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut deep = Self { directories: vec![open(top, flags, Mode::empty())?] };
        for level in 0..LEVELS {
            let above = &deep.directories[level];
            mkdirat(above, Self::name().as_str(), Mode::from(0o755))?;
            let directory = openat(above, Self::name().as_str(), flags, Mode::empty())?;
            deep.directories.push(directory);
        }
        Ok(deep)
    }

    /// The test's own, for others may run beside it.
    fn name() -> String {
        format!("{:x<LONG$}", std::process::id())
    }

    /// Puts a process into the innermost.
    fn put(&self, pid: u32) -> Result<(), Failed> {
        let innermost = self.directories.last().ok_or("no control group")?;
        let members =
            openat(innermost, "cgroup.procs", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(File::from(members).write_all(pid.to_string().as_bytes())?)
    }
}

impl Drop for Deep {
    fn drop(&mut self) {
        for above in self.directories.iter().rev().skip(1) {
            let _ = unlinkat(above, Self::name().as_str(), AtFlags::REMOVEDIR);
        }
    }
}

fn deep_lacks(machine: &Machine) -> Option<String> {
    machine.cannot_trace().or_else(|| machine.cannot_differ()).or_else(|| Deep::make().err())
}

/// The kernel tells no path longer than a page: the process counts under its executable.
fn deep() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let groups = Deep::make()?;
    let program = super::named(directory.path(), "at-the-bottom")?;
    let daemon = Daemon::start()?;
    let mut waiting = Command::new("sh");
    waiting.args(["-c", "echo here; read -r _; exec \"$0\" --cycles 1000 >&2"]).arg(&program);
    let mut target = Target::start(waiting.stderr(Stdio::null()));
    target.hear("here");
    let pid = target.pid();
    groups.put(pid)?;
    let cgroup = fs::read(format!("/proc/{pid}/cgroup"));
    let unknown = cgroup.as_ref().map_or(true, |lines| lines.len() < LEVELS * LONG);
    ensure(unknown, "the kernel tells the path: the test tests nothing")?;
    target.nudge();
    target.child.wait()?;
    let samples = daemon.after("at-the-bottom", 1.0)?;
    let calls = super::calls(&samples, "at-the-bottom")["munmap"];
    ensure((CYCLES..CYCLES + 20).contains(&calls), format!("munmap: {calls}"))
}
