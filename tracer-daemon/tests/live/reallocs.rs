//! `realloc-copy`: what `realloc` did is what the program itself saw, found where it is, and cured as predicted.

use std::path::Path;

use alloctrace::{
    aggregate::snapshot::{Resizes, SiteResizes},
    diagnose::Severity,
    sink::Recording,
};
use libtest_mimic::{Failed, Trial};

use crate::{
    allocators::{LIBRARIES, PRELOADED},
    cure::{Workload, find, nothing_found, saves},
    losses::{no_loss, recorded_whole},
    support::{Machine, Target, Tracer, built, ensure, one_of, same},
    trial,
};

const ID: &str = "realloc-copy";

const COPYING: Workload<'_> = Workload { program: "realloc_copy", options: &[] };
const CURED: Workload<'_> = Workload { options: &["--cured"], ..COPYING };
const ALONE: Workload<'_> = Workload { options: &["--buffers", "1", "--rounds", "200"], ..COPYING };
const REMAPPED: Workload<'_> = Workload {
    options: &["--remapped", "--buffers", "8", "--step", "65536", "--largest", "8388608"],
    ..COPYING
};
const SHORT: Workload<'_> = Workload { options: &["--rounds", "1"], ..COPYING };

/// Every result is seen, and every sample finds room.
const EXACT: [&str; 5] = ["--malloc", "--budget", "100%", "--ring", "65536"];

/// Two hundred CPU samples tell the time to a seventh, the rest is what a copy finds in the caches.
const TOLERANCE: f64 = 0.35;

/// What README states for a place, three times.
const ERRORS: f64 = 3.0 * 1.5;

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let uprobes = || machine.cannot_use("malloc", "uprobe");
    let slow =
        || machine.is_vm().then(|| "an emulated CPU is too slow".to_owned()).or_else(uprobes);
    let mut trials = vec![
        trial("what_realloc_did_is_counted", uprobes(), || counted(SHORT)),
        trial("realloc_copy_is_found", slow(), found),
        trial("doubling_saves_the_copies_that_were_predicted", slow(), || one_of(3, saving)),
        trial("buffers_that_double_have_no_finding", slow(), || healthy(CURED)),
        trial("a_buffer_that_grows_in_place_has_no_finding", slow(), || healthy(ALONE)),
        trial("pages_that_are_moved_are_not_copied", slow(), remapped),
        trial("calls_that_get_nothing_are_counted", uprobes(), refused),
    ];
    for (library, name) in PRELOADED {
        let file = format!("{LIBRARIES}/{library}");
        let absent = (!Path::new(&file).exists()).then(|| format!("no {file}"));
        let family = name.split(' ').next().unwrap_or(name);
        trials.push(trial(
            format!("copies_of_{family}_are_unknown"),
            slow().or(absent),
            move || unknown(&file),
        ));
    }
    trials
}

/// What the program saw.
struct Truth {
    fresh: u64,
    in_place: u64,
    moved: u64,
    remapped: u64,
    brought_along: u64,
    grown: u64,
}

fn traced(workload: Workload<'_>, library: &str) -> Result<(Recording, Truth), Failed> {
    let mut command = workload.command();
    if !library.is_empty() {
        command.env("LD_PRELOAD", library);
    }
    let mut target = Target::start(command.arg("--wait"));
    target.hear("pid");
    let tracer = Tracer::attach(target.pid(), &EXACT);
    target.nudge();
    let line = target.hear("truth");
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [fresh, in_place, moved, remapped, brought_along, grown] = numbers[..] else {
        return Err(format!("no numbers in {line:?}").into());
    };
    let truth = Truth { fresh, in_place, moved, remapped, brought_along, grown };
    Ok((tracer.interrupt()?, truth))
}

fn resizes(recording: &Recording) -> Result<Resizes, Failed> {
    let all = recording.snapshot.allocations.as_ref().and_then(|all| all.resizes);
    let rows = &recording.snapshot.tracer.probes;
    Ok(all.ok_or_else(|| format!("no results were seen: {rows:?}"))?)
}

fn equals_the_truth(recording: &Recording, truth: &Truth) -> Result<(), Failed> {
    no_loss(recording)?;
    let all = resizes(recording)?;
    let calls = [all.fresh, all.in_place, all.moved, all.remapped, all.freed, all.failed];
    same("calls", calls, [truth.fresh, truth.in_place, truth.moved, truth.remapped, 0, 0])?;
    same("copied", all.copied_bytes, Some(truth.brought_along))?;
    same("grown", all.grown_bytes, Some(truth.grown))?;
    same("unknown", (all.unsized_moves, all.unsized_bytes), (0, 0))
}

fn counted(workload: Workload<'_>) -> Result<(), Failed> {
    let (recording, truth) = traced(workload, "")?;
    ensure(truth.moved > truth.in_place, format!("only {} moved", truth.moved))?;
    equals_the_truth(&recording, &truth)
}

fn found() -> Result<(), Failed> {
    let (recording, _) = traced(COPYING, "")?;
    let finding = find(&recording, ID)?;
    ensure(finding.severity >= Severity::Medium, "it is called harmless")?;
    let cause = &finding.cause;
    ensure(cause.text.contains("realloc_copy::Buffer::resize"), cause.text.clone())?;
    same("the largest size", cause.bytes, Some(256 << 10))?;
    ensure(finding.remedy[1].contains("reserve 256 KiB"), finding.remedy.join("\n"))?;
    estimated(&recording)?;
    let text = alloctrace::sink::report::text(&recording, Default::default());
    ensure(text.contains("blocks that got another size by realloc"), text)
}

/// What is copied there by the sampled calls is what was counted.
fn estimated(recording: &Recording) -> Result<(), Failed> {
    let counted = resizes(recording)?;
    let copied = counted.copied_bytes.ok_or("nobody knows what was copied")?;
    let sites = recording.snapshot.stacks.iter().filter_map(|stack| stack.resizes);
    let sums = sites.reduce(SiteResizes::plus).ok_or("no stack tells")?;
    let most = ERRORS / (sums.samples as f64).sqrt();
    let of = |got: u64, truth: u64| (got as f64 / truth as f64 - 1.0).abs();
    let off = of(sums.copied_bytes, copied).max(of(sums.moved, counted.moved));
    ensure(off < most && most < 0.3, format!("off by {off}, {most} either way: {sums:?}"))
}

fn saving() -> Result<(), Failed> {
    let (recording, _) = traced(COPYING, "")?;
    saves(find(&recording, ID)?, || COPYING.command(), || CURED.command(), TOLERANCE)
}

fn healthy(workload: Workload<'_>) -> Result<(), Failed> {
    let (recording, truth) = traced(workload, "")?;
    equals_the_truth(&recording, &truth)?;
    nothing_found(&recording)
}

fn remapped() -> Result<(), Failed> {
    let (recording, truth) = traced(REMAPPED, "")?;
    equals_the_truth(&recording, &truth)?;
    ensure(truth.remapped > 5 * truth.moved, format!("only {} were remapped", truth.remapped))?;
    let is_it = recording.findings.iter().any(|finding| finding.id == ID);
    ensure(!is_it, "found where nothing is copied")
}

fn refused() -> Result<(), Failed> {
    let target = Target::start(&mut std::process::Command::new(built("refused", &["-O1"])));
    let recording = recorded_whole(target, &EXACT)?;
    let all = recording.snapshot.allocations.as_ref().ok_or("nothing was counted")?;
    for (name, truth) in [("malloc", Some(7)), ("realloc", Some(5)), ("free", None)] {
        same(name, all.functions[name].failures, truth)?;
    }
    same("failed", resizes(&recording)?.failed, 5)?;
    let text = alloctrace::sink::report::text(&recording, Default::default());
    ensure(text.contains("calls that got no memory: malloc 7, realloc 5"), text)
}

/// What moved is counted where results can be seen, and no number of bytes is claimed.
fn unknown(library: &str) -> Result<(), Failed> {
    let (recording, truth) = traced(SHORT, library)?;
    let followed = recording.snapshot.allocations.as_ref().and_then(|all| all.blocks.as_ref());
    let untold = &followed.ok_or("no result was seen")?.untold;
    let all = resizes(&recording)?;
    if untold.iter().all(|name| name != "realloc") {
        no_loss(&recording)?;
        same("moved", (all.moved, all.unsized_moves), (truth.moved, truth.moved))?;
        same("in place", all.in_place, truth.in_place)?;
        ensure(all.unsized_bytes >= truth.brought_along, format!("{all:?}"))?;
    }
    same("copied", (all.copied_bytes, all.grown_bytes), (None, None))?;
    ensure(recording.findings.iter().all(|finding| finding.id != ID), "it is claimed anyway")
}
