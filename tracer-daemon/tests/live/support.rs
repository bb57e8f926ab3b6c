//! Starting targets and tracers, and waiting for what they say instead of for time to pass.
#![expect(clippy::panic, reason = "a test may panic")]

mod programs;
mod terminal;

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use alloctrace::{census::ProcRoot, sink::Recording};
use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};

pub(crate) use programs::{built, compile, truth, workload};
pub(crate) use terminal::Terminal;

/// The program under test.
pub(crate) const ALLOCTRACE: &str = env!("CARGO_BIN_EXE_alloctrace");

/// What this machine offers.
pub(crate) struct Machine {
    root: bool,
    vm: bool,
    rungs: Vec<(String, String, Option<String>)>,
}

impl Machine {
    /// Asks the doctor.
    pub(crate) fn look() -> Self {
        let root = rustix::process::geteuid().is_root();
        let vm = is_vm();
        let rungs = if root { rungs().unwrap_or_default() } else { Vec::new() };
        Self { root, vm, rungs }
    }

    /// Why nothing can be traced here.
    pub(crate) fn cannot_trace(&self) -> Option<String> {
        (!self.root).then(|| "tracing needs root".to_owned())
    }

    /// Why a rung cannot be tested here. In the virtual machines there is no excuse.
    pub(crate) fn cannot_use(&self, signal: &str, backend: &str) -> Option<String> {
        if self.vm {
            return None;
        }
        self.cannot_trace().or_else(|| {
            let row = self.rungs.iter().find(|row| row.0 == signal && row.1 == backend);
            row.map_or(Some("the doctor does not know it".to_owned()), |row| row.2.clone())
        })
    }

    /// Whether a rung works here.
    pub(crate) fn works(&self, signal: &str, backend: &str) -> bool {
        self.rungs.iter().any(|row| row.0 == signal && row.1 == backend && row.2.is_none())
    }

    /// Signals that this kernel does not let this backend have, although others work.
    pub(crate) fn refused(&self, backend: &str) -> Vec<String> {
        let rows = self.rungs.iter().filter(|row| row.1 == backend && row.2.is_some());
        rows.map(|row| row.0.clone()).collect()
    }

    /// Why a test that needs Debian's programs cannot be run here.
    pub(crate) fn lacks(&self, programs: &[&str]) -> Option<String> {
        let found = |program: &&&str| {
            ["/usr/bin", "/bin", "/usr/sbin"]
                .iter()
                .any(|dir| Path::new(dir).join(program).exists())
        };
        self.cannot_trace().or_else(|| {
            let missing = programs.iter().find(|program| !found(program))?;
            Some(format!("{missing} is not installed"))
        })
    }

    /// Why what user space makes of the same records is not tested here once more: the host's run holds it.
    pub(crate) fn cannot_differ(&self) -> Option<String> {
        self.vm.then(|| "held on the host; no kernel differs in it".to_owned())
    }

    /// Whether the kernel runs in the project's own virtual machine.
    pub(crate) fn is_vm(&self) -> bool {
        self.vm
    }
}

/// Whether this is one of the project's own virtual machines.
pub(crate) fn is_vm() -> bool {
    std::env::var("ALLOCTRACE_TIER").is_ok_and(|tier| tier == "vm")
}

fn rungs() -> Option<Vec<(String, String, Option<String>)>> {
    let out = Command::new(ALLOCTRACE).args(["doctor", "--format", "json"]).output().ok()?;
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).ok()?;
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let rows = report["rungs"].as_array()?;
    Some(
        rows.iter()
            .filter_map(|row| {
                Some((text(&row["signal"])?, text(&row["backend"])?, text(&row["refusal"])))
            })
            .collect(),
    )
}

/// A process that says lines and waits for lines.
pub(crate) struct Target {
    pub(crate) child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Target {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, input, output }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that starts with `word`.
    pub(crate) fn hear(&mut self, word: &str) -> String {
        let mut line = String::new();
        while self.output.read_line(&mut line).expect("readable") > 0 {
            if line.starts_with(word) {
                return line.trim().to_owned();
            }
            line.clear();
        }
        panic!("the target ended without saying {word}");
    }

    /// Lets it go on.
    pub(crate) fn nudge(&mut self) {
        // One that has ended cannot be nudged, which its test will find out by other means.
        let _ = self.input.write_all(b"\n");
    }

    pub(crate) fn stat(&self) -> alloctrace::census::ProcessStat {
        ProcRoot::default().stat(self.pid()).expect("the target is alive")
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running `alloctrace attach` that has begun to count.
pub(crate) struct Tracer {
    child: Child,
    errors: BufReader<std::process::ChildStderr>,
}

impl Tracer {
    pub(crate) fn attach(pid: u32, options: &[&str]) -> Self {
        let mut child = Command::new(ALLOCTRACE)
            .args(["attach", "--format", "json", "--pid", &pid.to_string()])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("alloctrace starts");
        let mut errors = BufReader::new(child.stderr.take().expect("piped"));
        let mut said = String::new();
        while !said.contains("alloctrace: tracing ") {
            let more = errors.read_line(&mut said).expect("readable");
            assert!(more > 0, "alloctrace did not begin: {said}");
        }
        Self { child, errors }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a child has a pid");
        kill_process(pid, signal).expect("the tracer can be signalled");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end and returns the recording.
    pub(crate) fn finish(self) -> Result<Recording, Failed> {
        Ok(self.finish_and_hear()?.0)
    }

    /// The same, and what it said on the way.
    pub(crate) fn finish_and_hear(mut self) -> Result<(Recording, String), Failed> {
        // Read before waiting: a full pipe would keep it from ending.
        let mut stdout = self.child.stdout.take().expect("piped");
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut stdout, &mut text)?;
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.errors, &mut said)?;
        let status = self.child.wait()?;
        if !status.success() {
            return Err(format!("alloctrace ended with {status}: {said}").into());
        }
        Ok((Recording::read_from(text.as_slice(), "stdout")?, said))
    }

    /// Waits for the end, whatever it is.
    pub(crate) fn wait(mut self) -> Result<std::process::ExitStatus, Failed> {
        // Nobody reads what it prints, so that it must not have to wait for a reader.
        drop(self.child.stdout.take());
        Ok(self.child.wait()?)
    }

    /// Ends it as Ctrl-C does and returns the recording.
    pub(crate) fn interrupt(self) -> Result<Recording, Failed> {
        self.signal(Signal::INT);
        self.finish()
    }
}

/// A process's state letter, if there is such a process.
pub(crate) fn state(pid: u32) -> Option<char> {
    ProcRoot::default().stat(pid).ok().map(|stat| stat.state)
}

/// The workers of a daemon, or of `top`.
pub(crate) fn workers(of: u32) -> Vec<u32> {
    let root = ProcRoot::default();
    let parent = format!("--parent={of}");
    let is_worker = |pid: &u32| root.cmdline(*pid).contains(&parent);
    root.pids().into_iter().filter(is_worker).collect()
}

/// Runs alloctrace to its end.
pub(crate) fn alloctrace(arguments: &[&str]) -> Output {
    Command::new(ALLOCTRACE).args(arguments).output().expect("alloctrace starts")
}

/// Fails with both values unless they are equal.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    got: T,
    truth: T,
) -> Result<(), Failed> {
    if got == truth {
        Ok(())
    } else {
        Err(format!("{what}: got {got:?}, true is {truth:?}").into())
    }
}

/// Fails with `why` unless it holds.
pub(crate) fn ensure(holds: bool, why: impl Into<String>) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(why.into().into()) }
}

/// Makes up to so many attempts at what chance may spoil, and fails with all their reasons: a neighbour may
/// change the machine's pace, and an interval of 95 % may miss.
pub(crate) fn one_of(
    attempts: usize,
    attempt: impl Fn() -> Result<(), Failed>,
) -> Result<(), Failed> {
    let mut reasons = Vec::new();
    for _ in 0..attempts {
        let Err(why) = attempt() else { return Ok(()) };
        reasons.push(why);
    }
    Err(format!("{attempts} attempts: {reasons:?}").into())
}

/// Waits until it holds, or fails.
pub(crate) fn wait_until(what: &str, holds: impl Fn() -> bool) -> Result<(), Failed> {
    let begin = Instant::now();
    while !holds() {
        ensure(begin.elapsed() < Duration::from_secs(20), format!("waited in vain until {what}"))?;
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A child that does not outlive its test.
pub(crate) struct Ended(pub(crate) Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
