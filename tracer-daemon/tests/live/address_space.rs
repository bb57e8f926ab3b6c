//! The census: the workload's areas and holes come out as it planted them, those of real programs
//! as another reader of `/proc/PID/maps` finds them, and a full address space is announced.

mod findings;
mod reader;

use std::{
    collections::{BTreeMap, HashMap},
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt,
    process::{Command, Output, Stdio},
};

use libtest_mimic::{Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use reader::as_another_reader;

use crate::{
    support::{
        Ended, Machine, Target, Tracer, alloctrace, ensure, same, state, wait_until, workload,
    },
    trial,
};

const KIB: u64 = 1 << 10;
const NOBODY: u32 = 65534;

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let root = || machine.cannot_trace();
    let lacks = |programs: &[&str]| {
        let vm = machine.is_vm().then(|| "Debian's programs are on the host".to_owned());
        vm.or_else(|| machine.lacks(programs))
    };
    // A turn takes seconds where the CPU is emulated.
    let step = if machine.is_vm() { 6 } else { 1 };
    let mut trials = vec![
        trial("vmas_finds_what_was_planted", root(), || planted(9_053)),
        trial("vmas_finds_65000_areas", root(), || planted(65_000)),
        trial("vmas_agrees_on_sleep", lacks(&["sleep"]), || agrees(&["sleep", "1000"])),
        trial("vmas_agrees_on_python3", lacks(&["python3"]), python),
        trial("vmas_agrees_on_redis", lacks(&["redis-server"]), redis),
        trial("vmas_sees_arenas_and_stacks", lacks(&["python3"]), arenas),
        trial("vmas_reads_a_stopped_process", root(), stopped),
        trial("vmas_survives_ends_and_execs", root(), move || restless(step)),
        trial("vmas_reads_hostile_names", lacks(&["python3"]), hostile),
        trial("vmas_has_statuses", root(), statuses),
    ];
    trials.extend(findings::trials(machine));
    trials
}

/// What `vmas --format json` prints.
fn vmas(pid: u32, options: &[&str]) -> Result<Value, Failed> {
    let pid = pid.to_string();
    let output = alloctrace(&[&["vmas", "--pid", &pid, "--format", "json"], options].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(output.status.success(), format!("vmas ended with {}: {said}", output.status))?;
    ensure(said.is_empty(), format!("it said {said}"))?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn number(value: &Value) -> Result<i64, Failed> {
    value.as_i64().ok_or_else(|| format!("no number: {value}").into())
}

/// A list of rows as a map.
fn rows(rows: &Value, key: &str, count: &str) -> Result<BTreeMap<String, i64>, Failed> {
    let rows = rows.as_array().ok_or("no list")?.iter();
    rows.map(|row| Ok((row[key].to_string(), number(&row[count])?))).collect()
}

/// The workload and what it said.
fn workload_with(options: &[&str]) -> Result<(Target, HashMap<String, i64>, Value), Failed> {
    let mut command = Command::new(workload("address_space"));
    let mut target = Target::start(command.arg("--wait").args(options));
    target.hear("pid");
    let before = vmas(target.pid(), &[])?;
    target.nudge();
    let line = target.hear("planted");
    let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
    let said = pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
    Ok((target, said.collect(), before))
}

/// Every figure grows by what the workload says that it planted, and is what another reader finds.
fn planted(areas: u64) -> Result<(), Failed> {
    let (target, said, before) = workload_with(&["--areas", &areas.to_string()])?;
    let after = vmas(target.pid(), &["--request", "512K", "--request", "4096"])?;
    same("areas planted", said["areas"], areas.cast_signed())?;
    let grown = |place: &str| -> Result<i64, Failed> {
        let of = |value: &Value| number(value.pointer(place).unwrap_or(&Value::Null));
        Ok(of(&after)? - of(&before)?)
    };
    // Blocks that fill holes which were there before are the only other areas.
    let fillers = grown("/areas")? - said["areas"];
    ensure((0..=said["fillers"]).contains(&fillers), format!("{fillers} areas too many"))?;
    let (old, new) =
        (rows(&before["sizes"], "bytes", "areas")?, rows(&after["sizes"], "bytes", "areas")?);
    for kib in [516, 1032, 1548, 132] {
        let bytes = (kib * KIB).to_string();
        let of = |sizes: &BTreeMap<String, i64>| sizes.get(&bytes).copied().unwrap_or(0);
        same(&format!("areas of {kib} KiB"), of(&new) - of(&old), said[&format!("size_{kib}")])?;
    }
    if fillers == 0 {
        // One pair more: what was planted last, and its neighbour.
        let apart = grown("/unmerged/protection")? - said["by_protection"];
        let gaps = grown("/unmerged/gap")? - said["holes"];
        ensure(
            apart >= 0 && gaps >= 0 && apart + gaps <= 2,
            format!("{apart} and {gaps} pairs too many"),
        )?;
        same("bytes", grown("/kinds/3/bytes")?, said["bytes"])?;
    }
    let passed = number(&after["requests"][0]["holes_too_small"])?;
    ensure(
        passed >= said["holes"] && passed < said["holes"] + 20,
        format!("{passed} holes are too small for 512 KiB, {} were planted", said["holes"]),
    )?;
    same("4096 bytes fit at once", number(&after["requests"][1]["holes_too_small"])?, 0)?;
    as_another_reader(&after, target.pid())
}

/// Stops a process, so that both readers see the same.
fn agrees_on(pid: u32) -> Result<(), Failed> {
    kill_process(Pid::from_raw(pid.cast_signed()).ok_or("no pid")?, Signal::STOP)?;
    wait_until("it has stopped", || state(pid) == Some('T'))?;
    as_another_reader(&vmas(pid, &["--request", "64K", "--request", "2M"])?, pid)
}

fn agrees(command: &[&str]) -> Result<(), Failed> {
    let child = Ended(Command::new(command[0]).args(&command[1..]).spawn()?);
    let pid = child.0.id();
    wait_until("it sleeps", || state(pid) == Some('S'))?;
    agrees_on(pid)
}

fn python() -> Result<(), Failed> {
    let script = "import json, mmap, threading, time\n\
        kept = [mmap.mmap(-1, 4096 * (i + 1)) for i in range(50)]\n\
        del kept[::3]\n\
        print('ready', flush=True)\n\
        time.sleep(1000)";
    let mut target = Target::start(Command::new("/usr/bin/python3").args(["-c", script]));
    target.hear("ready");
    agrees_on(target.pid())
}

fn redis() -> Result<(), Failed> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let directory = TempDir::new()?;
    let mut command = Command::new("redis-server");
    command.args(["--port", &port, "--save", "", "--appendonly", "no", "--dir"]);
    let server = Ended(command.arg(directory.path()).stdout(Stdio::null()).spawn()?);
    wait_until("redis listens", || TcpStream::connect(format!("127.0.0.1:{port}")).is_ok())?;
    let tracer = Tracer::attach(server.0.id(), &["--duration", "500ms"]);
    let recording = tracer.finish()?;
    ensure(recording.findings.is_empty(), format!("found: {:?}", recording.findings))?;
    ensure(recording.snapshot.address_space.is_some(), "the recording has no census")?;
    agrees_on(server.0.id())
}

/// Eight threads of python3, each with an arena of its own and a stack.
fn arenas() -> Result<(), Failed> {
    let script = "import threading, time\n\
        def work():\n\
        \x20   kept = [bytes(20000) for _ in range(40)]\n\
        \x20   time.sleep(1000)\n\
        threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]\n\
        [thread.start() for thread in threads]\n\
        print('ready', flush=True)\n\
        time.sleep(1000)";
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", script]).env("MALLOC_ARENA_MAX", "64");
    let mut target = Target::start(&mut command);
    target.hear("ready");
    let pid = target.pid();
    let asleep = || {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
        let states = tasks
            .filter_map(Result::ok)
            .map(|task| std::fs::read_to_string(task.path().join("stat")).unwrap_or_default());
        states.filter(|stat| stat.contains(") S ")).count() == 9
    };
    wait_until("all threads sleep", asleep)?;
    let kinds = rows(&vmas(pid, &[])?["kinds"], "kind", "areas")?;
    // A heap and its remainder each; an arena may have more than one heap.
    ensure((16..=32).contains(&kinds["\"arena\""]), format!("arenas of 8 threads: {kinds:?}"))?;
    // A stack and its guard each, where guards are areas, and the main thread's.
    ensure([1, 17].contains(&kinds["\"stack\""]), format!("stacks of 9 threads: {kinds:?}"))
}

fn stopped() -> Result<(), Failed> {
    let (target, said, _) = workload_with(&["--areas", "5000"])?;
    kill_process(Pid::from_raw(target.pid().cast_signed()).ok_or("no pid")?, Signal::STOP)?;
    wait_until("it has stopped", || state(target.pid()) == Some('T'))?;
    let space = vmas(target.pid(), &[])?;
    ensure(number(&space["areas"])? >= said["areas"], "areas are missing")
}

/// Processes that execute, or end, while they are read: a census, or one line and status 4. Every `step`th turn.
fn restless(step: usize) -> Result<(), Failed> {
    let script = "n=$1; [ $n -gt 0 ] && exec sh \"$0\" $((n - 1))";
    let directory = TempDir::new()?;
    let file = directory.path().join("again");
    std::fs::write(&file, script)?;
    let mut seen = [0, 0];
    for turn in (0..60).step_by(step) {
        let child = Ended(Command::new("sh").arg(&file).arg((turn * 5).to_string()).spawn()?);
        let output = alloctrace(&["vmas", "--format", "json", "--pid", &child.0.id().to_string()]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => {
                let space: Value = serde_json::from_slice(&output.stdout)?;
                ensure(number(&space["areas"])? > 3, format!("a torn census: {space}"))?;
                seen[0] += 1;
            }
            Some(4) => {
                same("lines", said.lines().count(), 1)?;
                seen[1] += 1;
            }
            other => return Err(format!("status {other:?}: {said}").into()),
        }
    }
    ensure(seen[0] > 0 && seen[1] > 0, format!("censuses and ends: {seen:?}"))
}

/// Mapped files with newlines and 4,000 characters in their paths, and deleted ones.
fn hostile() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let script = "import mmap, os, sys, time\n\
        os.chdir(sys.argv[1])\n\
        kept = []\n\
        for name in ['a\\nb', 'x (deleted)', '\\x1b[2J', 'n' * 250]:\n\
        \x20   open(name, 'wb').write(b'x' * 8192)\n\
        \x20   kept.append(mmap.mmap(os.open(name, os.O_RDWR), 8192))\n\
        for depth in range(15):\n\
        \x20   os.mkdir('d' * 250)\n\
        \x20   os.chdir('d' * 250)\n\
        open('deep', 'wb').write(b'x' * 8192)\n\
        kept.append(mmap.mmap(os.open('deep', os.O_RDWR), 8192))\n\
        os.unlink('deep')\n\
        print('ready', flush=True)\n\
        time.sleep(1000)";
    let mut command = Command::new("/usr/bin/python3");
    let mut target = Target::start(command.args(["-c", script]).arg(directory.path()));
    target.hear("ready");
    let space = vmas(target.pid(), &[])?;
    let text = std::fs::read(format!("/proc/{}/maps", target.pid()))?;
    let lines: Vec<_> = text.split(|byte| *byte == b'\n').filter(|l| !l.is_empty()).collect();
    same("areas", number(&space["areas"])?, lines.len() as i64)?;
    ensure(lines.iter().any(|line| line.len() > 3_800), "no long line")?;
    let output = alloctrace(&["vmas", "--pid", &target.pid().to_string()]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure(!text.contains('\x1b'), "an escape sequence reaches the terminal")
}

fn fails(output: &Output, status: i32, words: &str) -> Result<(), Failed> {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    same("status", output.status.code(), Some(status))?;
    ensure(said.contains(words), format!("no {words:?} in {said}"))?;
    same("lines", said.lines().count(), 1)
}

fn statuses() -> Result<(), Failed> {
    fails(&alloctrace(&["vmas", "--pid", "4194303"]), 4, "no process 4194303")?;
    fails(&alloctrace(&["vmas", "--pid", "2"]), 4, "no address space")?;
    let mut zombie = Command::new("true").spawn()?;
    let pid = zombie.id();
    wait_until("it has ended", || state(pid) == Some('Z'))?;
    let output = alloctrace(&["vmas", "--pid", &pid.to_string()]);
    zombie.wait()?;
    same("status of a zombie", output.status.code(), Some(4))?;
    let nobody = Command::new(crate::support::ALLOCTRACE)
        .args(["vmas", "--pid", "1"])
        .uid(NOBODY)
        .output()?;
    fails(&nobody, 3, "CAP_SYS_PTRACE")?;
    let usage = alloctrace(&["vmas", "--pid", "1", "--request", "2 apples"]);
    same("status of a wrong size", usage.status.code(), Some(2))
}
