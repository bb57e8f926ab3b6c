//! Shares of CPU samples, against Debian's `perf record` on the same process at the same time.

use std::{path::Path, process::Command};

use alloctrace::{aggregate::snapshot::Snapshot, sink::Recording};
use libtest_mimic::{Failed, Trial};

use crate::{
    support::{Machine, Target, Tracer, built, ensure, one_of, workload},
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
    let missing = machine.lacks(&["perf"]);
    vec![
        trial("shares_of_cpu_samples_agree_with_perf", missing.clone(), || one_of(3, look_ups)),
        trial("the_allocators_share_agrees_with_perf", missing, || one_of(3, allocator)),
    ]
}

/// Samples of which a part is of some sort.
#[derive(Clone, Copy, Debug)]
struct Sampled {
    share: f64,
    samples: f64,
}

/// A place in a stack that perf took.
struct Place {
    address: u64,
    function: String,
    module: String,
}

impl Place {
    /// Addresses of the kernel are the upper half.
    fn in_kernel(&self) -> bool {
        self.address >> 63 == 1
    }
}

/// Innermost first.
type PerfStack = Vec<Place>;

fn look_ups() -> Result<(), Failed> {
    let mut workload = Command::new(workload("find_vma_hot"));
    workload.args(["--wait", "--seconds", SECONDS]);
    let (recording, stacks) = sample(&mut workload, ["pid", "touches"])?;
    agree("user mode", ours(&recording, &["user", "allocator"])?, theirs(&stacks, is_user))?;
    agree("look-ups", ours(&recording, &["look_up"])?, theirs(&stacks, is_look_up))
}

/// The program calls nothing of the C library but its allocator.
fn allocator() -> Result<(), Failed> {
    let program = built("heap", &["-O1", "-fomit-frame-pointer"]);
    let (recording, stacks) = sample(Command::new(program).arg(SECONDS), ["ready", "done"])?;
    agree("allocator", ours(&recording, &["allocator"])?, theirs(&stacks, is_in_libc))?;
    agree("user mode", ours(&recording, &["user", "allocator"])?, theirs(&stacks, is_user))
}

/// Both sample what the program does between the two words that it says.
fn sample(program: &mut Command, says: [&str; 2]) -> Result<(Recording, Vec<PerfStack>), Failed> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("perf.data");
    let mut target = Target::start(program);
    target.hear(says[0]);
    let mut perf = Command::new("perf")
        .args(["record", "-q", "-e", "cpu-clock", "-F", FREQUENCY, "-g", "-p"])
        .arg(target.pid().to_string())
        .arg("-o")
        .arg(&data)
        .spawn()?;
    let tracer = Tracer::attach(target.pid(), &[]);
    target.nudge();
    target.hear(says[1]);
    let recording = tracer.interrupt()?;
    // It ends with its target.
    drop(target);
    ensure(perf.wait()?.success(), "perf record failed")?;
    Ok((recording, script(&data)?))
}

fn script(data: &Path) -> Result<Vec<PerfStack>, Failed> {
    let out = Command::new("perf").args(["script", "-F", "ip,sym,dso", "-i"]).arg(data).output()?;
    ensure(out.status.success(), String::from_utf8_lossy(&out.stderr))?;
    let text = String::from_utf8(out.stdout)?;
    let stacks = text.split("\n\n").map(|stack| stack.lines().filter_map(place).collect());
    Ok(stacks.filter(|stack: &PerfStack| !stack.is_empty()).collect())
}

/// `    7f0011223344 malloc (/usr/lib/libc.so.6)`.
fn place(line: &str) -> Option<Place> {
    let (address, rest) = line.trim().split_once(' ')?;
    let (function, module) = rest.rsplit_once(" (")?;
    let address = u64::from_str_radix(address, 16).ok()?;
    Some(Place { address, function: function.to_owned(), module: module.to_owned() })
}

fn is_user(stack: &[Place]) -> bool {
    stack.first().is_some_and(|place| !place.in_kernel())
}

fn is_in_libc(stack: &[Place]) -> bool {
    is_user(stack) && stack.first().is_some_and(|place| place.module.contains("libc.so"))
}

fn is_look_up(stack: &[Place]) -> bool {
    let mut kernel = stack.iter().take_while(|place| place.in_kernel());
    kernel.any(|place| place.function.split('.').next().is_some_and(|name| LOOK_UP.contains(&name)))
}

fn theirs(stacks: &[PerfStack], is_it: fn(&[Place]) -> bool) -> Sampled {
    let samples = stacks.len() as f64;
    let share = stacks.iter().filter(|stack| is_it(stack)).count() as f64 / samples;
    Sampled { share, samples }
}

fn ours(recording: &Recording, classes: &[&str]) -> Result<Sampled, Failed> {
    let snapshot: &Snapshot = &recording.snapshot;
    let shares = snapshot.cpu_samples.iter();
    let share = shares.filter(|row| classes.contains(&row.place.as_str())).map(|row| row.share);
    let cpu = snapshot.cpu.seconds().ok_or("the CPU time is unknown")?;
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
    let apart = (ours.share - theirs.share).abs();
    ensure(
        apart <= SIGMAS * error,
        format!("{what}: {ours:?}, perf has {theirs:?}; the standard deviation is {error}"),
    )
}
