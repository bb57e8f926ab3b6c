//! Debian's programs as they are, against strace's counts and the kernel's own.

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use alloctrace::{census::ProcRoot, sink::Recording};
use libtest_mimic::{Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{
    redis::Redis,
    support::{ALLOCTRACE, Machine, Tracer, ensure, same, state, wait_until},
    trial,
};

const CALLS: &str = "trace=mmap,munmap,mremap,mprotect,brk,madvise";

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let missing = |programs: &[&str]| {
        let vm = machine.is_vm().then(|| "Debian's programs are on the host".to_owned());
        vm.or_else(|| machine.lacks(programs))
    };
    vec![
        trial("python3_counts_equal_strace", missing(&["strace", "python3", "setarch"]), python),
        trial("sort_counts_equal_strace", missing(&["strace", "sort", "setarch"]), sort),
        trial(
            "redis_under_load_equals_strace_and_proc",
            missing(&["strace", "redis-server", "redis-benchmark"]),
            redis,
        ),
    ]
}

fn python() -> Result<(), Failed> {
    let script = "x = [bytearray(300000) for _ in range(200)]; del x; y = list(range(1000000))";
    // Debian's own: another python3 may come first on the path.
    same_as_strace(&["/usr/bin/python3", "-S", "-c", script])
}

fn sort() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let file = directory.path().join("lines");
    let mut lines = std::io::BufWriter::new(std::fs::File::create(&file)?);
    let mut x = 1u64;
    for _ in 0..1_000_000 {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        writeln!(lines, "{:016x} {:08x}", x, x >> 40)?;
    }
    lines.flush()?;
    let name = file.to_string_lossy().into_owned();
    same_as_strace(&["sort", "--parallel=1", "-S", "40M", "-o", "/dev/null", &name])
}

/// Two runs of a command that does the same every time: one under strace, one under alloctrace.
/// Without address randomisation, which decides whether the heap can grow by `brk`.
fn same_as_strace(command: &[&str]) -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let summary = directory.path().join("strace");
    let status = Command::new("setarch")
        .args(["-R", "strace", "-f", "-c", "-U", "name,calls,errors", "-e", CALLS, "-o"])
        .arg(&summary)
        .args(command)
        .status()?;
    ensure(status.success(), format!("strace ended with {status}"))?;
    let truth = strace_counts(&summary)?;
    let output = Command::new("setarch")
        .args(["-R", ALLOCTRACE, "run", "--follow", "--format", "json", "--"])
        .args(command)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(output.status.success(), format!("alloctrace ended with {}: {said}", output.status))?;
    let recording = Recording::read_from(output.stdout.as_slice(), "stdout")?;
    same("calls and failures", counts(&recording), truth)?;
    ensure(recording.findings.is_empty(), format!("found: {:?}", recording.findings))
}

/// Both watch the same window of the same process: a server's own timers would make two differ.
fn redis() -> Result<(), Failed> {
    let server = Redis::start()?;
    let pid = server.pid();
    // Stopped at both ends of the window: else redis's timers would fault in between.
    let redis = pid_of(pid)?;
    kill_process(redis, Signal::STOP)?;
    wait_until("redis has stopped", || state(pid) == Some('T'))?;
    let before = ProcRoot::default().stat(pid)?;
    let tracer = Tracer::attach(pid, &[]);
    let summary = server.directory().join("strace");
    let mut strace = Command::new("strace")
        .args(["-f", "-c", "-U", "name,calls,errors", "-e", CALLS, "-p", &pid.to_string(), "-o"])
        .arg(&summary)
        .stderr(Stdio::null())
        .spawn()?;
    let traced_by = |tracer: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line == format!("TracerPid:\t{tracer}"))
    };
    let strace_pid = strace.id();
    wait_until("strace holds redis", || traced_by(strace_pid))?;
    kill_process(redis, Signal::CONT)?;
    server.load(20_000, "set,lpush")?;
    kill_process(redis, Signal::STOP)?;
    wait_until("redis has stopped again", || matches!(state(pid), Some('T' | 't')))?;
    kill_process(pid_of(strace.id())?, Signal::INT)?;
    strace.wait()?;
    let recording = tracer.interrupt()?;
    let after = ProcRoot::default().stat(pid)?;
    same("calls and failures", counts(&recording), strace_counts(&summary)?)?;
    let faults = &recording.snapshot.faults;
    same("minor faults", faults.minor, Some(after.minor_faults - before.minor_faults))?;
    same("major faults", faults.major, Some(after.major_faults - before.major_faults))?;
    let gains: Vec<_> =
        recording.findings.iter().filter(|one| one.predicted_saving.is_some()).collect();
    ensure(gains.is_empty(), format!("found: {gains:?}"))
}

/// Calls and failures by name; what was not called is left out, as strace does.
type Counts = BTreeMap<String, (u64, u64)>;

fn counts(recording: &Recording) -> Counts {
    let all = recording.snapshot.syscalls.iter();
    all.filter(|(_, totals)| totals.calls > 0)
        .map(|(name, totals)| (name.clone(), (totals.calls, totals.failures)))
        .collect()
}

/// Reads `strace -c -U name,calls,errors`; a call without errors has an empty last column.
fn strace_counts(file: &Path) -> Result<Counts, Failed> {
    let text = std::fs::read_to_string(file)?;
    let rows = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        let calls = words.next()?.parse().ok()?;
        let errors = words.next().map_or(Some(0), |word| word.parse().ok())?;
        (name != "total").then(|| (name.to_owned(), (calls, errors)))
    });
    Ok(rows.collect())
}

fn pid_of(id: u32) -> Result<Pid, Failed> {
    Pid::from_raw(id.cast_signed()).ok_or_else(|| "no pid".into())
}
