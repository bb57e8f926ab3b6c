//! Calls of the allocator against a program that knows how many it makes.

mod children;
mod commands;
mod files;
mod hostile;
mod pprof;
mod rate;
mod sites;
mod unknown;

use std::{collections::BTreeMap, path::Path, process::Command};

use alloctrace::{
    aggregate::{
        allocations::{Allocations, SizeCalls},
        snapshot::{BlockSum, FollowedBlocks},
    },
    sink::Recording,
};
use libtest_mimic::{Failed, Trial};
use rustix::process::Signal;

use crate::{
    allocators::{LIBRARIES, PRELOADED},
    errors::nothing_is_left,
    losses::no_loss,
    support::{Machine, Target, Tracer, built, ensure, same, state},
    trial,
};

pub(crate) const THREADS: u64 = 4;
const ROUNDS: u64 = 200;
/// So few that they cost less than the budget gives in advance.
const FEW_ROUNDS: u64 = 3;

/// The calls of a round, and the bytes of each, as the program's source has them; `free` apart.
const ROUND: [(&str, &[u64]); 7] = [
    ("malloc", &[100]),
    ("calloc", &[300]),
    ("realloc", &[50, 200_000, 0]),
    ("reallocarray", &[77]),
    ("posix_memalign", &[1000]),
    ("aligned_alloc", &[640, 320]),
    ("valloc", &[5000]),
];
const FREES: u64 = 8;
/// Blocks that a round takes and gives back: `free` is called with NULL once, and `realloc` does both.
const BLOCKS: u64 = 9;

/// Compiled so that no call is left out.
pub(crate) const FLAGS: [&str; 3] = ["-O1", "-fno-builtin", "-pthread"];

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let vm = machine.is_vm().then(|| "Debian's libraries are on the host".to_owned());
    let slow = machine.is_vm().then(|| "an emulated CPU's time proves nothing".to_owned());
    let uprobes = || machine.cannot_use("malloc", "uprobe");
    let lacks = |program| uprobes().or_else(|| machine.lacks(&[program]));
    let mut trials = vec![
        trial("every_call_of_glibc_is_counted", uprobes(), || every_call("", &[])),
        trial("every_call_is_counted_by_uprobes_of_perf", uprobes(), || {
            every_call("", &["--backend", "malloc=uprobe"])
        }),
        trial("beneath_the_budget_every_call_is_counted", uprobes(), beneath_the_budget),
        trial("above_the_budget_shares_are_true", uprobes(), above_the_budget),
        trial(
            "the_rate_above_the_budget_holds_the_truth",
            slow.or_else(uprobes),
            rate::holds_the_truth,
        ),
        trial("a_budget_that_cannot_be_kept_is_given_up", uprobes(), too_small),
        trial("killed_it_leaves_the_allocator_alone", uprobes(), killed),
        trial("go_s_pprof_lists_the_call_sites", lacks("go"), pprof::lists_call_sites),
        trial("each_place_has_its_share", vm.clone().or_else(uprobes), || sites::shares("")),
    ];
    for (library, name) in PRELOADED {
        let file = Path::new(LIBRARIES).join(library);
        let absent = (!file.exists()).then(|| format!("{} is not installed", file.display()));
        let family = name.split(' ').next().unwrap_or(name);
        trials.push(trial(
            format!("every_call_of_{family}_is_counted"),
            vm.clone().or_else(uprobes).or(absent.clone()),
            move || every_call(&file.to_string_lossy(), &[]),
        ));
        let file = Path::new(LIBRARIES).join(library);
        trials.push(trial(
            format!("each_place_has_its_share_of_{family}"),
            vm.clone().or_else(uprobes).or(absent),
            move || sites::shares(&file.to_string_lossy()),
        ));
    }
    trials.extend(children::trials(machine));
    trials.extend(unknown::trials(machine));
    trials.extend(commands::trials(machine));
    trials.extend(files::trials(machine));
    trials.extend(hostile::trials(machine));
    trials
}

fn program() -> Command {
    Command::new(built("allocations", &FLAGS))
}

/// One window over the program's work, and the blocks that `realloc` to size 0 handed out.
fn measure(
    command: &mut Command,
    rounds: u64,
    options: &[&str],
) -> Result<(Recording, u64), Failed> {
    measure_after(command, rounds, options, |_| Ok(()))
}

/// The same after something was done to it.
fn measure_after(
    command: &mut Command,
    rounds: u64,
    options: &[&str],
    act: impl FnOnce(u32) -> Result<(), Failed>,
) -> Result<(Recording, u64), Failed> {
    let mut target = Target::start(command.args([THREADS.to_string(), rounds.to_string()]));
    target.hear("ready");
    act(target.pid())?;
    let tracer = Tracer::attach(target.pid(), options);
    target.nudge();
    let done = target.hear("done");
    let kept = done.trim_start_matches("done ").parse()?;
    let recording = tracer.interrupt()?;
    target.nudge();
    ensure(target.child.wait()?.success(), "the target did not end well")?;
    Ok((recording, kept))
}

/// Why calls are not counted, or not any more.
fn reason(recording: &Recording) -> &str {
    let row = recording.snapshot.tracer.probes.iter().find(|row| row.signal == "malloc");
    row.and_then(|row| row.reason.as_deref()).unwrap_or_default()
}

/// Calls and bytes by function. glibc's `memalign` and `aligned_alloc` are one, others' are not.
fn by_function(allocations: &Allocations) -> BTreeMap<&str, (u64, Option<u64>)> {
    let mut all = BTreeMap::new();
    for (name, one) in &allocations.functions {
        let name = if name == "memalign" { "aligned_alloc" } else { name.as_str() };
        let (calls, bytes) = all.entry(name).or_insert((0, one.bytes.map(|_| 0)));
        *calls += one.calls;
        *bytes = bytes.zip(one.bytes).map(|(sum, more)| sum + more);
    }
    all
}

fn allocations(recording: &Recording) -> Result<&Allocations, Failed> {
    let snapshot = &recording.snapshot;
    let rows = &snapshot.tracer.probes;
    Ok(snapshot.allocations.as_ref().ok_or_else(|| format!("nothing was counted: {rows:?}"))?)
}

/// A preloaded library, or none, and further options.
fn every_call(library: &str, options: &[&str]) -> Result<(), Failed> {
    let mut command = program();
    if !library.is_empty() {
        command.env("LD_PRELOAD", library);
    }
    let options = [&["--malloc", "--budget", "100%"], options].concat();
    let (recording, kept) = measure(&mut command, ROUNDS, &options)?;
    equals_the_truth(&recording, ROUNDS, kept)?;
    let (blocks, times) = (every_block_ended(&recording)?, THREADS * ROUNDS);
    if !library.is_empty() {
        return Ok(());
    }
    // Where calloc ends is a matter of the memset that glibc has for this processor.
    let is_told = blocks.untold.iter().all(|name| name == "calloc");
    ensure(is_told, format!("{:?}", blocks.untold))?;
    same("handed out", blocks.handed_out, times * BLOCKS)?;
    same("given back", blocks.given_back, times * BLOCKS)
}

/// Each sampled call of a function whose results are seen has its block, and that was given back. Of the others
/// some have: those that end in a function whose results are seen.
fn every_block_ended(recording: &Recording) -> Result<&FollowedBlocks, Failed> {
    let followed = allocations(recording)?.blocks.as_ref().ok_or("no block was followed")?;
    let is_told = |place: &str| !followed.untold.iter().any(|name| name == place);
    let mut freed = BlockSum::default();
    for stack in recording.snapshot.stacks.iter().filter(|stack| stack.kind == "malloc") {
        let taken = BlockSum { blocks: stack.count, bytes: stack.bytes };
        let given = stack.blocks.as_ref().map_or_else(BlockSum::default, |blocks| blocks.freed);
        let rest = taken.blocks.checked_sub(given.blocks).zip(taken.bytes.checked_sub(given.bytes));
        let rest = rest.ok_or_else(|| format!("{given:?} of {taken:?} were freed"))?;
        let is_whole = rest == (0, 0) || !stack.place.as_deref().is_some_and(is_told);
        ensure(is_whole, format!("{given:?} of {taken:?} were freed: {:?}", stack.place))?;
        freed.blocks += given.blocks;
        freed.bytes += given.bytes;
    }
    same("freed", followed.totals.freed, freed)?;
    same("outstanding", followed.totals.outstanding, Some(BlockSum::default()))?;
    same("unknown", followed.totals.unknown, BlockSum::default())?;
    Ok(followed)
}

fn equals_the_truth(recording: &Recording, rounds: u64, kept: u64) -> Result<(), Failed> {
    let got = allocations(recording)?;
    no_loss(recording)?;
    same("duty, weight, sampled", (got.duty, got.weight, got.sampled), (1.0, Some(1.0), false))?;
    let mut counted = by_function(got);
    // Functions that nobody called, such as pvalloc.
    counted.retain(|_, (calls, _)| *calls > 0);
    let has_reallocarray = got.functions.contains_key("reallocarray");
    same("functions", counted, true_functions(rounds, kept, has_reallocarray))?;
    same("sizes", got.sizes.clone(), true_sizes(rounds))?;
    let exact = got.exact_sizes.iter().map(|size| (size.bytes, size.calls));
    same("exact sizes", exact.collect(), true_exact_sizes(rounds))
}

/// Of small calls without an alignment; of `realloc` those that do not give back.
fn true_exact_sizes(rounds: u64) -> BTreeMap<u64, u64> {
    const UNALIGNED: [&str; 4] = ["malloc", "calloc", "realloc", "reallocarray"];
    let functions = ROUND.iter().filter(|(name, _)| UNALIGNED.contains(name));
    let sizes = functions.flat_map(|(_, sizes)| *sizes).filter(|size| (1..=4096).contains(*size));
    sizes.map(|size| (*size, THREADS * rounds)).collect()
}

/// Where the allocator has no `reallocarray`, the C library's calls its `realloc`.
pub(crate) fn true_functions(
    rounds: u64,
    kept: u64,
    has_reallocarray: bool,
) -> BTreeMap<&'static str, (u64, Option<u64>)> {
    let times = THREADS * rounds;
    let mut all = BTreeMap::from([("free", (times * FREES + kept, None))]);
    for (name, sizes) in ROUND {
        let name = if name == "reallocarray" && !has_reallocarray { "realloc" } else { name };
        let (calls, bytes) = all.entry(name).or_insert((0, Some(0)));
        *calls += times * sizes.len() as u64;
        *bytes = bytes.map(|bytes| bytes + times * sizes.iter().sum::<u64>());
    }
    all
}

fn true_sizes(rounds: u64) -> Vec<SizeCalls> {
    let mut classes = BTreeMap::new();
    for size in ROUND.iter().flat_map(|(_, sizes)| *sizes) {
        *classes.entry(size.max(&1).next_power_of_two()).or_insert(0) += THREADS * rounds;
    }
    classes.into_iter().map(|(bytes, calls)| SizeCalls { bytes, calls }).collect()
}

fn beneath_the_budget() -> Result<(), Failed> {
    let (recording, kept) = measure(&mut program(), FEW_ROUNDS, &["--malloc"])?;
    equals_the_truth(&recording, FEW_ROUNDS, kept)
}

fn start_hot() -> Target {
    let mut target = Target::start(program().arg("hot"));
    target.hear("ready");
    target
}

fn above_the_budget() -> Result<(), Failed> {
    let mut target = start_hot();
    let tracer = Tracer::attach(target.pid(), &["--malloc", "--duration", "3s"]);
    target.nudge();
    let recording = tracer.finish()?;
    let got = allocations(&recording)?;
    ensure(got.sampled && (0.0..0.9).contains(&got.duty), format!("{got:?}"))?;
    let (malloc, free) = (&got.functions["malloc"], &got.functions["free"]);
    ensure(malloc.calls > 100, format!("{got:?}"))?;
    // Each window may begin or end between the two; there are a few.
    ensure(malloc.calls.abs_diff(free.calls) <= 10, format!("{got:?}"))?;
    same("bytes", malloc.bytes, Some(64 * malloc.calls))?;
    same("sizes", got.sizes.clone(), vec![SizeCalls { bytes: 64, calls: malloc.calls }])?;
    let text = alloctrace::sink::report::text(&recording, Default::default());
    ensure(text.contains("per s, at least") && text.contains("of the time"), text)
}

fn too_small() -> Result<(), Failed> {
    let mut target = start_hot();
    let options = ["--malloc", "--budget", "0.001%", "--duration", "6s"];
    let tracer = Tracer::attach(target.pid(), &options);
    target.nudge();
    let recording = tracer.finish()?;
    let row = recording.snapshot.tracer.probes.iter().find(|row| row.signal == "malloc");
    let row = row.ok_or("malloc has no row")?;
    same("status", row.status.as_str(), "stopped")?;
    let said = reason(&recording);
    ensure(said.contains("--budget"), said)?;
    ensure(allocations(&recording)?.sampled, "it says that every call was counted")
}

fn killed() -> Result<(), Failed> {
    let mut target = start_hot();
    let tracer = Tracer::attach(target.pid(), &["--malloc", "--budget", "100%"]);
    target.nudge();
    tracer.signal(Signal::KILL);
    tracer.wait()?;
    nothing_is_left()?;
    same("the target's state", state(target.pid()), Some('R'))
}
