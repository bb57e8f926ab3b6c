//! What goes wrong says so in one line, with the right status, and leaves no probe behind.

use std::{
    fs::File,
    os::unix::process::CommandExt,
    process::{Command, Output, Stdio},
};

use alloctrace::sink::Recording;
use aya::programs::loaded_programs;
use libtest_mimic::{Failed, Trial};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    support::{
        ALLOCTRACE, Machine, Target, Terminal, Tracer, alloctrace, ensure, same, truth, wait_until,
        workload,
    },
    trial,
};

/// Nobody.
pub(crate) const NOBODY: u32 = 65534;

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let root = || machine.cannot_trace();
    vec![
        trial("no_such_process_is_status_4", root(), no_such_process),
        trial("a_zombie_is_status_4", root(), zombie),
        trial("a_target_that_ends_is_reported", root(), target_ends),
        trial("a_reused_pid_is_not_counted", root(), reused_pid),
        trial("another_pid_namespace_is_status_3", root(), other_namespace),
        trial("not_root_is_status_3", root(), not_root),
        trial("no_btf_is_said_and_counts_go_on", root(), no_btf),
        trial("a_probe_that_cannot_attach_is_named", root(), no_probe),
        trial("a_signal_can_be_left_out", root(), left_out),
        trial("an_unwritable_output_is_status_2", root(), unwritable),
        trial("a_full_disk_loses_no_report", root(), full_disk),
        trial("a_command_that_is_not_there_is_status_2", root(), no_command),
        trial("run_passes_the_status_through", root(), status_through),
        trial("interrupted_twice_it_ends_at_once", root(), interrupted_twice),
        trial(
            "a_lost_terminal_loses_no_recording",
            root().or_else(|| machine.lacks(&["tmux"])),
            lost_terminal,
        ),
        trial("killed_it_leaves_nothing_behind", root(), killed),
        trial("strict_fails_after_a_loss", root(), strict),
    ]
}

/// Its status, and one line that has all the `words`.
pub(crate) fn fails(output: &Output, status: i32, words: &[&str]) -> Result<(), Failed> {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    same("status", output.status.code(), Some(status))
        .map_err(|error| format!("{}; it said {said}", error.message().unwrap_or_default()))?;
    let lines: Vec<_> =
        said.lines().filter(|line| words.iter().all(|word| line.contains(word))).collect();
    ensure(lines.len() == 1, format!("no single line has {words:?}: {said}"))
}

/// The kernel's programs of ours that are loaded.
fn our_programs() -> usize {
    let ours = |name: &str| {
        let kinds = ["syscalls_ent", "cpu_clock", "allocator_call"];
        name.ends_with("_enter") || kinds.iter().any(|kind| name.starts_with(kind))
    };
    loaded_programs()
        .filter_map(Result::ok)
        .filter(|program| program.name_as_str().is_some_and(ours))
        .count()
}

fn no_such_process() -> Result<(), Failed> {
    let output = alloctrace(&["attach", "--pid", "4194303"]);
    fails(&output, 4, &["no process 4194303"])?;
    same("lines", String::from_utf8_lossy(&output.stderr).lines().count(), 1)
}

fn zombie() -> Result<(), Failed> {
    let mut child = Command::new("true").spawn()?;
    let pid = child.id();
    while crate::support::state(pid) != Some('Z') {
        std::thread::yield_now();
    }
    let output = alloctrace(&["attach", "--pid", &pid.to_string()]);
    child.wait()?;
    fails(&output, 4, &["has ended"])
}

fn target_ends() -> Result<(), Failed> {
    let mut target = Target::start(Command::new(truth()).args(["2", "10", "exit"]));
    target.hear("ready");
    let tracer = Tracer::attach(target.pid(), &[]);
    target.nudge();
    let recording = tracer.finish()?;
    same("mremap calls", recording.snapshot.syscalls["mremap"].calls, 40)?;
    nothing_is_left()
}

/// Another process gets the target's pid while the tracer runs.
fn reused_pid() -> Result<(), Failed> {
    let mut first = Target::start(Command::new(truth()).args(["1", "10"]));
    first.hear("ready");
    let pid = first.pid();
    let tracer = Tracer::attach(pid, &[]);
    tracer.signal(Signal::STOP);
    drop(first);
    let mut second = None;
    for _ in 0..200 {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string())?;
        let candidate = Target::start(Command::new(truth()).args(["1", "500"]));
        if candidate.pid() == pid {
            second = Some(candidate);
            break;
        }
    }
    let mut second = second.ok_or("the pid did not come again")?;
    second.hear("ready");
    second.nudge();
    second.hear("done");
    tracer.signal(Signal::CONT);
    let recording = tracer.finish()?;
    same("mremap calls of the first", recording.snapshot.syscalls["mremap"].calls, 0)
}

fn not_root() -> Result<(), Failed> {
    let output = Command::new(ALLOCTRACE)
        .args(["attach", "--pid", "1"])
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir("/")
        .output();
    // The build directory may be closed to other users; the file descriptor is not.
    let output = match output {
        Ok(output) => output,
        Err(_) => as_nobody_by_copy()?,
    };
    fails(&output, 3, &["CAP_", "root"])
}

fn other_namespace() -> Result<(), Failed> {
    let output =
        Command::new("unshare").args(["-p", "-f", ALLOCTRACE, "run", "--", "true"]).output()?;
    fails(&output, 3, &["pid namespace"])
}

fn as_nobody_by_copy() -> Result<Output, Failed> {
    use std::os::unix::fs::PermissionsExt;
    let directory = TempDir::with_prefix_in("alloctrace", "/tmp")?;
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;
    let copy = directory.path().join("alloctrace");
    std::fs::copy(ALLOCTRACE, &copy)?;
    Ok(Command::new(copy)
        .args(["attach", "--pid", "1"])
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir("/")
        .output()?)
}

/// An empty file system hides the kernel's BTF, for one command and its children only.
fn no_btf() -> Result<(), Failed> {
    let script = format!(
        "mount -t tmpfs none /sys/kernel/btf && exec {ALLOCTRACE} run --format json -- {} 2 10 exit",
        truth().display()
    );
    let output =
        Command::new("unshare").args(["-m", "sh", "-c", &script]).stdin(Stdio::null()).output()?;
    fails(&output, 0, &["BTF (type information)"])?;
    let recording = recording_behind_words(&output)?;
    // Without BTF the user registers are not found, but frame pointers may be followed.
    let stacks = &recording.snapshot.stacks;
    ensure(stacks.iter().any(|stack| !stack.frames.is_empty()), format!("{stacks:?}"))?;
    same("mremap calls", recording.snapshot.syscalls["mremap"].calls, 40)
}

/// The recording on stdout, which the command wrote its own words on before.
fn recording_behind_words(output: &Output) -> Result<Recording, Failed> {
    let start = output.stdout.iter().position(|byte| *byte == b'{').unwrap_or(0);
    Ok(Recording::read_from(&output.stdout[start..], "stdout")?)
}

fn no_probe() -> Result<(), Failed> {
    // A file system that is not empty keeps alloctrace from mounting tracefs itself.
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c"])
        .arg(format!(
            "mount -t tmpfs none /sys/kernel/tracing && touch /sys/kernel/tracing/hidden && exec {ALLOCTRACE} run --backend brk=tracepoint --format json -- {} 1 10 exit </dev/null",
            truth().display()
        ))
        .output()?;
    fails(&output, 0, &["brk is not measured"])?;
    let recording = recording_behind_words(&output)?;
    ensure(!recording.snapshot.syscalls.contains_key("brk"), "brk has a number all the same")?;
    ensure(recording.snapshot.syscalls["mmap"].calls > 0, "mmap was not counted")
}

/// What nobody wants is not measured, and the recording says so.
fn left_out() -> Result<(), Failed> {
    let out = ["--backend", "cpu=off", "--backend", "brk=off"];
    let directory = TempDir::new()?;
    let file = directory.path().join("recording.json");
    let (file, program) = (file.to_string_lossy(), truth());
    let command = ["--output", &file, "--", &program.to_string_lossy(), "1", "1", "exit"];
    alloctrace(&[&["run"], &out[..], &command].concat());
    let recording = Recording::read_from(File::open(&*file)?, &file)?;
    let snapshot = recording.snapshot;
    let off = snapshot.tracer.probes.iter().filter(|probe| probe.status == "off");
    let off: Vec<_> = off.map(|probe| probe.signal.as_str()).collect();
    same("left out", off, vec!["brk", "cpu"])?;
    ensure(!snapshot.syscalls.contains_key("brk"), "brk is counted")?;
    ensure(snapshot.syscalls["mmap"].calls > 0, "mmap is not counted")
}

fn unwritable() -> Result<(), Failed> {
    let output = alloctrace(&["run", "--output", "/no/such/place/file.json", "--", "true"]);
    fails(&output, 2, &["/no/such/place/file.json", "directory"])
}

fn full_disk() -> Result<(), Failed> {
    let output = alloctrace(&["run", "--output", "/dev/full", "--", "true"]);
    fails(&output, 2, &["/dev/full", "No space left"])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure(text.contains("system calls"), "the report was not printed")
}

fn no_command() -> Result<(), Failed> {
    fails(&alloctrace(&["run", "--", "/no/such/program"]), 2, &["/no/such/program"])
}

fn status_through() -> Result<(), Failed> {
    let status = |script: &str| alloctrace(&["run", "--", "sh", "-c", script]).status.code();
    same("exit status", status("exit 17"), Some(17))?;
    same("status of a signal", status("kill -TERM $$"), Some(128 + 15))
}

fn interrupted_twice() -> Result<(), Failed> {
    let mut target = Target::start(Command::new(workload("mmap_churn")).arg("--wait"));
    target.hear("pid");
    let tracer = Tracer::attach(target.pid(), &[]);
    tracer.signal(Signal::INT);
    tracer.signal(Signal::INT);
    // The second one may come when the report is already out.
    let status = tracer.wait()?;
    ensure(matches!(status.code(), Some(0 | 130)), format!("it ended with {status}"))?;
    nothing_is_left()
}

/// As when a connection breaks.
fn lost_terminal() -> Result<(), Failed> {
    const ROUNDS: u64 = 30;
    let directory = TempDir::new()?;
    let mut target = Target::start(Command::new(truth()).args(["1", &ROUNDS.to_string()]));
    target.hear("ready");
    let file = directory.path().join("recording.json");
    let script = format!("{ALLOCTRACE} attach --pid {} --output {}", target.pid(), file.display());
    let terminal = Terminal::run(directory.path(), &script)?;
    terminal.wait_for("it traces", |screen| screen.join(" ").contains("alloctrace: tracing "))?;
    target.nudge();
    target.hear("done");
    drop(terminal);
    let read =
        || -> Result<_, Failed> { Ok(Recording::read_from(File::open(&file)?, "the recording")?) };
    wait_until("the recording is whole", || read().is_ok())?;
    // One that succeeds and one that fails in each round.
    same("calls", read()?.snapshot.syscalls["mprotect"].calls, 2 * ROUNDS)?;
    nothing_is_left()
}

fn killed() -> Result<(), Failed> {
    let mut target = Target::start(Command::new(workload("mmap_churn")).arg("--wait"));
    target.hear("pid");
    let tracer = Tracer::attach(target.pid(), &[]);
    ensure(our_programs() > 0, "no program of ours is recognised while tracing")?;
    tracer.signal(Signal::KILL);
    tracer.wait()?;
    nothing_is_left()
}

/// The kernel frees programs after a grace period.
pub(crate) fn nothing_is_left() -> Result<(), Failed> {
    let begin = std::time::Instant::now();
    while our_programs() > 0 {
        ensure(begin.elapsed().as_secs() < 10, "programs are left behind")?;
        std::thread::yield_now();
    }
    Ok(())
}

fn strict() -> Result<(), Failed> {
    let program = truth();
    let output = Command::new(ALLOCTRACE)
        .args(["run", "--strict", "--ring", "4", "--"])
        .arg(program)
        .args(["8", "1500", "exit"])
        .stdin(Stdio::null())
        .output()?;
    fails(&output, 5, &["lost", "mapping_records"])
}
