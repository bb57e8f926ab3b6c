//! Who traces: alloctrace in its ways, and its peers doing the same.

use crate::sh;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// Somebody who traces a process.
#[derive(Clone, Copy)]
pub(super) enum Tracer {
    /// Nobody: what the method itself makes of two equal things.
    Nothing,
    Attach,
    /// Without look-ups, waits for the lock and CPU samples.
    Foundation,
    Daemon,
    Bpftrace,
    Strace,
    /// With the allocator's calls, as many as the budget allows.
    Malloc,
    /// With every call of the allocator, and nothing else.
    Calls,
    /// With what every call handed out besides.
    Results,
    /// An empty program of bpftrace at the beginning of `malloc`, whose first instruction alloctrace takes as well.
    /// That of `free` is another one, which costs several times as much.
    EmptyProbe,
    /// The allocator's calls, bytes and sizes.
    BpftraceMalloc,
}

/// What bpftrace needs to tell the same: calls, failures, bytes and durations of both system
/// calls, and the faults.
const BPFTRACE: &str = "
tracepoint:syscalls:sys_enter_mmap /pid == PID/ { @begin[tid] = nsecs; @bytes = sum(args->len); }
tracepoint:syscalls:sys_exit_mmap /@begin[tid]/ {
    @mmap = hist(nsecs - @begin[tid]); @failed = count(); delete(@begin[tid]); }
tracepoint:syscalls:sys_enter_munmap /pid == PID/ { @begin[tid] = nsecs; @freed = sum(args->len); }
tracepoint:syscalls:sys_exit_munmap /@begin[tid]/ {
    @munmap = hist(nsecs - @begin[tid]); delete(@begin[tid]); }
software:page-faults:1 /pid == PID/ { @faults = count(); }
";

/// What it needs for the same of `malloc`.
const COUNT_MALLOC: &str = "@calls = count(); @bytes = sum(arg0); @sizes = hist(arg0);";

/// Signals that came after the foundation's: calls, faults, processes.
pub(super) const ADDED: [&str; 7] = [
    "mmap_lock",
    "find_vma",
    "find_vma_intersection",
    "find_vma_prev",
    "lock_vma_under_rcu",
    "vm_unmapped_area",
    "cpu",
];

impl Tracer {
    pub(super) const ALL: &'static [Self] = &[
        Self::Nothing,
        Self::Foundation,
        Self::Attach,
        Self::Daemon,
        Self::Bpftrace,
        Self::Strace,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Attach => "alloctrace attach",
            Self::Foundation => "attach, foundation",
            Self::Daemon => "alloctrace daemon",
            Self::Bpftrace => "bpftrace, the same",
            Self::Strace => "strace -c",
            Self::Malloc => "attach --malloc",
            Self::Calls => "--malloc alone",
            Self::Results => "with results, 100%",
            Self::EmptyProbe => "empty probe, malloc",
            Self::BpftraceMalloc => "bpftrace, the same",
        }
    }

    /// Starts it and waits until it traces.
    pub(super) fn start(self, pid: u32) -> Result<Running> {
        let pid = pid.to_string();
        let (mut command, ready) = match self {
            Self::Nothing => return Ok(Running(None)),
            Self::Attach => (with(alloctrace(), &["attach", "--pid", &pid]), "tracing "),
            Self::Foundation => {
                let mut command = with(alloctrace(), &["attach", "--pid", &pid]);
                command.args(ADDED.map(|signal| format!("--backend={signal}=off")));
                (command, "tracing ")
            }
            Self::Daemon => {
                (with(alloctrace(), &["daemon", "--listen", "127.0.0.1:0"]), "serving ")
            }
            Self::Bpftrace => {
                (with("bpftrace", &["-e", &BPFTRACE.replace("PID", &pid)]), "Attaching ")
            }
            Self::Strace => (with("strace", &["-f", "-c", "-p", &pid]), "attached"),
            Self::Malloc => {
                (with(alloctrace(), &["attach", "--malloc", "--pid", &pid]), "tracing ")
            }
            // Enough for the calls, and not for their results.
            Self::Calls => (only_malloc(&pid, "60%")?, "tracing "),
            Self::Results => (only_malloc(&pid, "100%")?, "tracing "),
            Self::EmptyProbe => {
                let [malloc, _] = malloc_and_free(&pid)?;
                let script = format!("{malloc} {{}}");
                (with("bpftrace", &["-p", &pid, "-e", &script]), "Attaching ")
            }
            Self::BpftraceMalloc => {
                let [malloc, free] = malloc_and_free(&pid)?;
                let script =
                    format!("{malloc} {{ {COUNT_MALLOC} }} {free} {{ @frees = count(); }}");
                (with("bpftrace", &["-p", &pid, "-e", &script]), "Attaching ")
            }
        };
        // bpftrace says it on stdout, the others on stderr.
        let on_stdout = matches!(self, Self::Bpftrace | Self::EmptyProbe | Self::BpftraceMalloc);
        let (out, err) = if on_stdout {
            (Stdio::piped(), Stdio::null())
        } else {
            (Stdio::null(), Stdio::piped())
        };
        let mut child = command
            .stdout(out)
            .stderr(err)
            .spawn()
            .with_context(|| format!("cannot start {}", self.name()))?;
        if let Some(output) = child.stdout.take() {
            wait_for(ready, output)?;
        } else if let Some(output) = child.stderr.take() {
            wait_for(ready, output)?;
        }
        // bpftrace says so before it attaches.
        sleep(Duration::from_millis(400));
        Ok(Running(Some(child)))
    }
}

/// Starts what saves a recording of the allocator's calls, as many as the budget allows, and waits until it traces.
pub(super) fn record(pid: u32, file: &Path) -> Result<Running> {
    let pid = pid.to_string();
    let mut command = with(alloctrace(), &["attach", "--malloc", "--pid", &pid, "--output"]);
    let mut child = command.arg(file).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    wait_for("tracing ", child.stderr.take().context("no stderr")?)?;
    Ok(Running(Some(child)))
}

fn alloctrace() -> PathBuf {
    sh::workspace().join("target/release/alloctrace")
}

fn only_malloc(pid: &str, budget: &str) -> Result<Command> {
    let mut command = with(alloctrace(), &["attach", "--malloc", "--budget", budget]);
    let others = signals()?.into_iter().filter(|signal| signal != "malloc");
    command.args(others.map(|signal| format!("--backend={signal}=off")));
    command.args(["--pid", pid]);
    Ok(command)
}

/// Every signal that there is.
fn signals() -> Result<BTreeSet<String>> {
    let examination = doctor(&[])?;
    let rungs = examination["rungs"].as_array().context("the doctor has no rungs")?;
    Ok(rungs.iter().filter_map(|rung| rung["signal"].as_str()).map(str::to_owned).collect())
}

/// Where the workload's calls begin, for bpftrace. Debian's refuses any other instruction.
fn malloc_and_free(pid: &str) -> Result<[String; 2]> {
    let patient = doctor(&["--pid", pid])?;
    let file = patient["module"].as_str().context("the workload has no allocator")?;
    Ok(["malloc", "free"].map(|function| format!("uprobe:{file}:{function}")))
}

/// What the doctor says.
pub(super) fn doctor(arguments: &[&str]) -> Result<Value> {
    let mut doctor = Command::new(alloctrace());
    let text = sh::output(doctor.args(["doctor", "--format", "json"]).args(arguments))?;
    Ok(serde_json::from_str(&text)?)
}

fn with(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// The first line that has the word; somebody must go on reading, or the writer would block.
pub(super) fn wait_for(word: &str, output: impl std::io::Read + Send + 'static) -> Result<String> {
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    let mut said = Vec::new();
    for line in lines.by_ref() {
        if line.contains(word) {
            std::thread::spawn(move || lines.for_each(drop));
            return Ok(line);
        }
        said.push(line);
    }
    bail!("a tracer ended before it traced: {}", said.join(" / "))
}

/// A tracer at work.
pub(super) struct Running(Option<Child>);

impl Running {
    /// What somebody else has started.
    pub(super) const fn of(child: Child) -> Self {
        Self(Some(child))
    }

    /// Ends it as Ctrl-C does.
    pub(super) fn stop(self) -> Result<()> {
        let Some(mut child) = self.0 else {
            return Ok(());
        };
        if let Some(status) = child.try_wait()? {
            bail!("a tracer ended with {status} while it was measured");
        }
        let pid = child.id().to_string();
        sh::run(Command::new("kill").args(["-INT", &pid]))?;
        let begin = Instant::now();
        while child.try_wait()?.is_none() {
            if begin.elapsed() > Duration::from_secs(20) {
                // What was measured stands; bpftrace now and then does not hear the signal.
                let name = fs::read_to_string(format!("/proc/{pid}/comm"))?;
                eprintln!("\rbench: {} did not end when told to, and was killed", name.trim());
                child.kill()?;
                child.wait()?;
                break;
            }
            sleep(Duration::from_millis(10));
        }
        // Programs are freed after a grace period.
        sleep(Duration::from_millis(200));
        Ok(())
    }
}
