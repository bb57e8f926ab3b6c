//! Look-ups and lock waits, against the kernel's own counters and bpftrace.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use alloctrace::{aggregate::snapshot::StackTotals, sink::Recording};
use libtest_mimic::{Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    support::{Machine, Target, Tracer, ensure, same, truth, workload},
    trial,
};

const TRACEFS: &str = "/sys/kernel/tracing";
/// Counts by thread, of the program's own threads.
const TRIGGER: &str = "hist:keys=common_pid if comm == \"truth\"";

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let exists = |file: &str| Path::new(TRACEFS).join(file).exists();
    let can_count = exists("kprobe_events") && exists("events/sched/sched_switch/hist");
    let no_triggers = (!can_count)
        .then(|| "this kernel has no kprobe events or no histograms of them".to_owned());
    vec![
        trial(
            "lookups_equal_the_kernels_own_count",
            machine.cannot_trace().or(no_triggers),
            lookups,
        ),
        trial(
            "searches_for_room_and_lock_waits_equal_bpftrace",
            machine.lacks(&["bpftrace"]),
            bpftrace,
        ),
        trial(
            "lookups_name_their_callers_and_mappings",
            machine.cannot_use("find_vma", "kprobe"),
            callers,
        ),
        trial(
            "searches_for_room_name_their_callers",
            machine.cannot_use("vm_unmapped_area", "raw_tracepoint"),
            searchers,
        ),
    ]
}

/// Traces the program's work while `other` counts the same; the program is idle at both ends.
fn measure<T>(other: impl FnOnce() -> Result<T, Failed>) -> Result<(Recording, T), Failed> {
    let mut target = Target::start(Command::new(truth()).args(["8", "500"]));
    target.hear("ready");
    let other = other()?;
    let tracer = Tracer::attach(target.pid(), &[]);
    target.nudge();
    target.hear("done");
    Ok((tracer.interrupt()?, other))
}

/// A kprobe of tracefs on a function, counting; taken out when dropped.
struct Histogram(&'static str);

impl Histogram {
    fn start(function: &'static str) -> Result<Self, Failed> {
        let definition = format!("p:at/{function} {function}\n");
        append("kprobe_events", &definition)?;
        let histogram = Self(function);
        append(&format!("events/at/{function}/trigger"), TRIGGER)?;
        Ok(histogram)
    }

    /// The sum over the program's threads, from lines such as `{ common_pid: 7 } hitcount: 9`.
    fn total(&self) -> Result<u64, Failed> {
        let text = fs::read_to_string(format!("{TRACEFS}/events/at/{}/hist", self.0))?;
        let counts = text.lines().filter_map(|line| line.split("hitcount:").nth(1));
        Ok(counts.filter_map(|count| count.trim().parse::<u64>().ok()).sum())
    }
}

impl Drop for Histogram {
    fn drop(&mut self) {
        let _ = append(&format!("events/at/{}/trigger", self.0), &format!("!{TRIGGER}"));
        let _ = append("kprobe_events", &format!("-:at/{}\n", self.0));
    }
}

fn append(file: &str, text: &str) -> Result<(), Failed> {
    let mut file = fs::OpenOptions::new().append(true).open(format!("{TRACEFS}/{file}"))?;
    Ok(std::io::Write::write_all(&mut file, text.as_bytes())?)
}

fn lookups() -> Result<(), Failed> {
    const FUNCTIONS: [&str; 5] = [
        "find_vma",
        "find_vma_intersection",
        "find_vma_prev",
        "lock_vma_under_rcu",
        "vm_unmapped_area",
    ];
    let (recording, histograms) = measure(|| {
        // A kernel that does not have a function lets nobody probe it.
        let histograms = FUNCTIONS.into_iter().filter_map(|name| Histogram::start(name).ok());
        Ok(histograms.collect::<Vec<_>>())
    })?;
    ensure(histograms.len() >= 3, format!("only {} can be probed", histograms.len()))?;
    let truth = histograms.iter().map(|one| Ok((one.0.to_owned(), one.total()?)));
    let truth = truth.collect::<Result<BTreeMap<_, _>, Failed>>()?;
    let counted = |name: &String| recording.snapshot.lookups.get(name).map(|totals| totals.calls);
    let got: BTreeMap<_, _> =
        truth.keys().filter_map(|name| Some((name.clone(), counted(name)?))).collect();
    ensure(truth.values().sum::<u64>() > 1000, format!("the kernel counted {truth:?}"))?;
    same("look-ups", got, truth)
}

/// Functions of a stack, innermost first.
fn names(stack: &StackTotals) -> Vec<&str> {
    stack.frames.iter().map(|frame| frame.symbol.as_deref().unwrap_or("??")).collect()
}

/// The heaviest stack of a function's look-ups.
fn heaviest<'a>(recording: &'a Recording, function: &str) -> Result<&'a StackTotals, Failed> {
    let is_it =
        |stack: &&StackTotals| stack.kind == "lookup" && stack.place.as_deref() == Some(function);
    let stack = recording.snapshot.stacks.iter().find(is_it);
    Ok(stack.ok_or_else(|| format!("no stack of {function}"))?)
}

/// Every touch makes the kernel look areas up, in mappings of one size.
fn callers() -> Result<(), Failed> {
    const CHAIN: [&str; 4] = ["touch_afresh", "touch_many", "work", "main"];
    let chain = CHAIN.map(|function| format!("find_vma_hot::{function}"));
    let mut workload = Command::new(workload("find_vma_hot"));
    let mut target = Target::start(workload.args(["--wait", "--seconds", "3", "--areas", "9000"]));
    target.hear("pid");
    let tracer = Tracer::attach(target.pid(), &[]);
    target.nudge();
    target.hear("touches");
    let recording = tracer.interrupt()?;
    let lookups = &recording.snapshot.lookups;
    let busy: Vec<_> = lookups.iter().filter(|(_, totals)| totals.calls > 10_000).collect();
    ensure(!busy.is_empty(), format!("hardly any look-ups: {lookups:?}"))?;
    for (function, totals) in busy {
        let first = totals.mappings.first().ok_or("no mappings")?;
        same("mapping", first.name.as_str(), "anon 4 KiB")?;
        ensure(first.share > 0.95, format!("{function}: {:?}", totals.mappings))?;
        let names = names(heaviest(&recording, function)?);
        ensure(names.windows(chain.len()).any(|some| some == chain), format!("{names:?}"))?;
    }
    Ok(())
}

fn searchers() -> Result<(), Failed> {
    let (recording, ()) = measure(|| Ok(()))?;
    let names = names(heaviest(&recording, "vm_unmapped_area")?);
    // The program's threads do all the work.
    ensure(names.contains(&"worker"), format!("{names:?}"))
}

/// Waits, from the first report of one to its end: the kernel reports some more than once.
const SCRIPT: &str = "
tracepoint:mmap:vm_unmapped_area /comm == \"truth\"/ { @searches = count(); }
tracepoint:lock:contention_begin /comm == \"truth\" && (args->flags & 6) && !@begin[tid]/ {
    @begin[tid] = nsecs; @lock[tid] = (uint64)args->lock_addr; }
tracepoint:lock:contention_end /@begin[tid] && @lock[tid] == (uint64)args->lock_addr/ {
    @waits = count(); @ns = sum(nsecs - @begin[tid]); delete(@begin[tid]); }
interval:ms:100 { printf(\"tick\\n\"); }
";

/// The intervals tick once everything else is attached, or is about to be.
const TICKS: usize = 5;

struct Bpftrace {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Bpftrace {
    fn start() -> Result<Self, Failed> {
        let mut child = Command::new("bpftrace")
            .args(["-e", SCRIPT])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        for _ in 0..=TICKS {
            ensure(output.read_line(&mut line)? > 0, "bpftrace ended by itself")?;
        }
        Ok(Self { child, output })
    }

    /// What it counted, by name.
    fn stop(self) -> Result<BTreeMap<String, u64>, Failed> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).ok_or("no pid")?;
        kill_process(pid, Signal::INT)?;
        let Self { mut child, output } = self;
        let lines = output.lines().map_while(Result::ok);
        let counts = lines.filter_map(|line| {
            let (name, count) = line.strip_prefix('@')?.split_once(": ")?;
            Some((name.to_owned(), count.parse().ok()?))
        });
        let counts = counts.collect();
        child.wait()?;
        Ok(counts)
    }
}

fn bpftrace() -> Result<(), Failed> {
    let (recording, other) = measure(Bpftrace::start)?;
    let truth = other.stop()?;
    let count = |name: &str| truth.get(name).copied().unwrap_or(0);
    let snapshot = &recording.snapshot;
    let searches = snapshot.lookups.get("vm_unmapped_area").map(|totals| totals.calls);
    same("searches for room", searches, Some(count("searches")))?;
    let waits = snapshot.lock_waits.as_ref().ok_or("no lock waits")?;
    let number: u64 = waits.iter().map(|row| row.waits).sum();
    // bpftrace sees other reader-writer locks of the program as well, which are next to none.
    ensure(count("waits") > 0, "the program's threads did not wait")?;
    ensure(
        number <= count("waits") && number * 100 >= count("waits") * 95,
        format!("{number} waits, bpftrace has {}", count("waits")),
    )?;
    let ns: f64 = waits.iter().map(|row| row.seconds * 1e9).sum();
    let ratio = ns / count("ns") as f64;
    ensure((0.95..1.01).contains(&ratio), format!("waited {ratio} times what bpftrace saw"))
}
