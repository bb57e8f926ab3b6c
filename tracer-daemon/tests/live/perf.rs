//! Shares of CPU samples, against Debian's `perf record` on the same process at the same time.

use std::{path::Path, process::Command};

use alloctrace::{aggregate::snapshot::Snapshot, sink::Recording};
use libtest_mimic::{Failed, Trial};

use crate::{
    support::{Machine, Target, Tracer, ensure, workload},
    trial,
};

/// What both take in a second of CPU time.
const FREQUENCY: &str = "99";
const SAMPLES_PER_SECOND: f64 = 99.0;
const SECONDS: &str = "8";
/// Standard deviations that both may be apart: one run in 15,000 is by chance.
const SIGMAS: f64 = 4.0;

/// The kernel's functions that make up the class `look_up`.
const LOOK_UP: [&str; 6] = [
    "find_vma",
    "find_vma_intersection",
    "find_vma_prev",
    "lock_vma_under_rcu",
    "vmacache_find",
    "find_extend_vma",
];

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    vec![trial("shares_of_cpu_samples_agree_with_perf", machine.lacks(&["perf"]), shares)]
}

/// Samples of which a part is of some sort.
#[derive(Clone, Copy, Debug)]
struct Sampled {
    share: f64,
    samples: f64,
}

fn shares() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("perf.data");
    let mut target = Target::start(Command::new(workload("find_vma_hot")).args([
        "--wait",
        "--seconds",
        SECONDS,
    ]));
    target.hear("pid");
    let mut perf = Command::new("perf")
        .args(["record", "-q", "-e", "cpu-clock", "-F", FREQUENCY, "-g", "-p"])
        .arg(target.pid().to_string())
        .arg("-o")
        .arg(&data)
        .spawn()?;
    let tracer = Tracer::attach(target.pid(), &[]);
    target.nudge();
    target.hear("touches");
    let recording = tracer.interrupt()?;
    // It ends with its target.
    drop(target);
    ensure(perf.wait()?.success(), "perf record failed")?;
    let script = script(&data)?;
    agree("user mode", ours(&recording, &["user", "allocator"])?, theirs(&script, is_user))?;
    agree("look-ups", ours(&recording, &["look_up"])?, theirs(&script, is_look_up))
}

/// The stacks that perf took, innermost function first; kernel functions and places only.
fn script(data: &Path) -> Result<Vec<Vec<(u64, String)>>, Failed> {
    let out = Command::new("perf").args(["script", "-F", "ip,sym", "-i"]).arg(data).output()?;
    ensure(out.status.success(), String::from_utf8_lossy(&out.stderr))?;
    let text = String::from_utf8(out.stdout)?;
    let frame = |line: &str| {
        let (address, name) = line.trim().split_once(' ')?;
        Some((u64::from_str_radix(address, 16).ok()?, name.trim().to_owned()))
    };
    let stacks = text.split("\n\n").map(|stack| stack.lines().filter_map(frame).collect());
    Ok(stacks.filter(|stack: &Vec<_>| !stack.is_empty()).collect())
}

/// Addresses of the kernel are the upper half.
fn in_kernel(frame: &(u64, String)) -> bool {
    frame.0 >> 63 == 1
}

fn is_user(stack: &[(u64, String)]) -> bool {
    stack.first().is_some_and(|frame| !in_kernel(frame))
}

fn is_look_up(stack: &[(u64, String)]) -> bool {
    let mut kernel = stack.iter().take_while(|frame| in_kernel(frame));
    kernel.any(|(_, name)| name.split('.').next().is_some_and(|name| LOOK_UP.contains(&name)))
}

fn theirs(stacks: &[Vec<(u64, String)>], is_it: fn(&[(u64, String)]) -> bool) -> Sampled {
    let samples = stacks.len() as f64;
    let share = stacks.iter().filter(|stack| is_it(stack)).count() as f64 / samples;
    Sampled { share, samples }
}

fn ours(recording: &Recording, classes: &[&str]) -> Result<Sampled, Failed> {
    let snapshot: &Snapshot = &recording.snapshot;
    let shares = snapshot.cpu_samples.iter();
    let share = shares.filter(|row| classes.contains(&row.place.as_str())).map(|row| row.share);
    let cpu = snapshot.cpu_seconds().ok_or("the CPU time is unknown")?;
    Ok(Sampled { share: share.sum(), samples: cpu * SAMPLES_PER_SECOND })
}

/// Both are samples of one share: that of all samples together, of which each has its binomial
/// error.
fn agree(what: &str, ours: Sampled, theirs: Sampled) -> Result<(), Failed> {
    for sampled in [ours, theirs] {
        ensure(sampled.samples > 100.0, format!("{what}: too few samples: {sampled:?}"))?;
    }
    let all = ours.samples + theirs.samples;
    let share = (ours.share * ours.samples + theirs.share * theirs.samples) / all;
    let error = (share * (1.0 - share) * (1.0 / ours.samples + 1.0 / theirs.samples)).sqrt();
    let apart = (ours.share - theirs.share).abs() / error;
    let verdict = format!("{what}: {ours:?}, perf has {theirs:?}: {apart:.1} standard deviations");
    eprintln!("{verdict}");
    ensure(apart < SIGMAS, verdict)
}
