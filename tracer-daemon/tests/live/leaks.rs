//! `leak-growth`: found at the right place with the true slope, and not in programs that only look like it.

use alloctrace::{
    aggregate::snapshot::{FollowedBlocks, StackTotals},
    diagnose::Finding,
    sink::{Recording, profile},
};
use libtest_mimic::{Failed, Trial};

use crate::{
    cure::{Workload, find, findings, nothing_found},
    losses::no_loss,
    support::{Machine, Target, Tracer, ensure, same},
    trial,
};

const ID: &str = "leak-growth";
const BYTES: u64 = 1000;
/// The workload's own, freed at once.
const BUFFER: u64 = 600;
/// Results cost nine microseconds each, and more under emulation.
const BUDGET: [&str; 3] = ["--malloc", "--budget", "99%"];

const LEAKING: Workload<'_> =
    Workload { program: "leak_growth", options: &["--per-second", "5000"] };
const CURED: Workload<'_> = Workload { options: &["--cured"], ..LEAKING };
const CACHE: Workload<'_> = Workload { options: &["--healthy", "cache"], ..LEAKING };
const QUEUE: Workload<'_> = Workload { options: &["--healthy", "queue"], ..LEAKING };
const BUSY: Workload<'_> = Workload { options: &["--per-second", "10000"], ..LEAKING };

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let uprobes = || machine.cannot_use("malloc", "uprobe");
    let host = || machine.cannot_differ().or_else(uprobes);
    vec![
        trial("leak_growth_is_found_with_its_slope", uprobes(), found),
        trial("a_program_that_frees_everything_has_no_finding", host(), cured),
        trial("a_cache_that_fills_up_has_no_finding", host(), || healthy(CACHE)),
        trial("a_queue_of_old_blocks_has_no_finding", host(), || {
            let (recording, _) = traced(QUEUE, &BUDGET)?;
            let followed = followed(&recording)?;
            // For each block that came an older one went.
            ensure(
                followed.freed_from_before() * 2 > followed.given_back / 2,
                format!("{followed:?}"),
            )?;
            nothing_found(&recording)
        }),
        trial("without_budget_for_results_blocks_are_unknown", uprobes(), too_dear),
    ]
}

/// Bytes that the workload says it has leaked, in how many seconds, and how many of them after a quarter of those.
struct Truth {
    bytes: f64,
    seconds: f64,
    later: f64,
}

fn traced(workload: Workload<'_>, options: &[&str]) -> Result<(Recording, Truth), Failed> {
    let mut target = Target::start(workload.command().arg("--wait"));
    target.hear("pid");
    let tracer = Tracer::attach(target.pid(), options);
    target.nudge();
    let line = target.hear("leaked");
    let numbers: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [bytes, seconds, later] = numbers[..] else {
        return Err(format!("no numbers in {line:?}").into());
    };
    Ok((tracer.interrupt()?, Truth { bytes, seconds, later }))
}

fn followed(recording: &Recording) -> Result<&FollowedBlocks, Failed> {
    let blocks = recording.snapshot.allocations.as_ref().and_then(|all| all.blocks.as_ref());
    let rows = &recording.snapshot.tracer.probes;
    Ok(blocks.ok_or_else(|| format!("no block was followed: {rows:?}"))?)
}

fn found() -> Result<(), Failed> {
    let (recording, truth) = traced(LEAKING, &BUDGET)?;
    let finding = find(&recording, ID)?;
    same("findings", findings(&recording).count(), 1)?;
    let cause = &finding.cause;
    ensure(cause.text.contains("keep_session"), cause.text.clone())?;
    // What a sample stands for is rounded.
    let size = cause.bytes.unwrap_or(0);
    ensure(size.abs_diff(BYTES) < BYTES / 100, format!("{size} bytes on average"))?;
    slope(finding, &recording, &truth)?;
    amounts(&recording, &truth)?;
    shown(&recording)
}

/// Within three of the standard errors that the recording states, which are to be small.
fn slope(finding: &Finding, recording: &Recording, truth: &Truth) -> Result<(), Failed> {
    let stacks = of(recording, "keep_session");
    let growths = stacks.iter().filter_map(|stack| stack.blocks.as_ref()?.growth.as_ref());
    // The finding speaks of the time after the first quarter.
    let later = growths.flat_map(|growth| &growth.parts[1..]);
    let variance: f64 = later.map(|part| part.error.powi(2)).sum();
    let seconds = 0.75 * truth.seconds;
    let error = 3.0 * variance.sqrt() / seconds;
    let (told, true_rate) = (finding.cost.bytes_per_second, truth.later / seconds);
    let text = format!("{told} of {true_rate} bytes a second, {error} either way");
    ensure((told - true_rate).abs() < error && error < 0.3 * true_rate, text)
}

/// What the process did is counted exactly; what became of it is estimated.
fn amounts(recording: &Recording, truth: &Truth) -> Result<(), Failed> {
    let followed = followed(recording)?;
    no_loss(recording)?;
    let leaked = truth.bytes as u64 / BYTES;
    // The workload's list of its blocks grows a few times as well.
    let kept = followed.handed_out - followed.given_back;
    ensure(kept.abs_diff(leaked) <= 40, format!("{kept} of {leaked} blocks\n{followed:?}"))?;
    let held = followed.totals.outstanding.ok_or("what is outstanding is unknown")?;
    let off = (held.bytes as f64 / truth.bytes - 1.0).abs();
    let most = three_errors(followed.samples, BYTES);
    ensure(off < most, format!("{} of {} bytes", held.bytes, truth.bytes))?;
    let passing = of(recording, "format_answer");
    let passing = passing.iter().filter_map(|stack| stack.blocks.as_ref());
    let (freed, held) = passing.fold((0, 0), |(freed, held), one| {
        (freed + one.freed.blocks, held + one.outstanding.map_or(0, |sum| sum.blocks))
    });
    // As many as are kept, and one may be on its way at the end.
    let off = (freed as f64 / leaked as f64 - 1.0).abs();
    let most = three_errors(followed.samples, BUFFER);
    ensure(off < most && held <= freed / 100, format!("{freed} freed, {held} held of {leaked}"))
}

/// Three times the error that README states for a place, here one that takes so many bytes a request.
fn three_errors(samples: u64, bytes: u64) -> f64 {
    let own = samples as f64 * bytes as f64 / (BYTES + BUFFER) as f64;
    3.0 * 1.5 / own.sqrt()
}

fn of<'a>(recording: &'a Recording, function: &str) -> Vec<&'a StackTotals> {
    let is_it = |stack: &&StackTotals| {
        let mut names = stack.frames.iter().filter_map(|frame| frame.symbol.as_deref());
        stack.kind == "malloc" && names.any(|name| name.contains(function))
    };
    recording.snapshot.stacks.iter().filter(is_it).collect()
}

/// The report and the profile name the place.
fn shown(recording: &Recording) -> Result<(), Failed> {
    let text = alloctrace::sink::report::text(recording, Default::default());
    let held = text.lines().skip_while(|line| !line.starts_with("what became of the blocks"));
    let held: Vec<_> = held.take_while(|line| !line.is_empty()).collect();
    ensure(held.iter().any(|line| line.contains("keep_session ← handle_request")), &*text)?;
    let stacks = of(recording, "");
    let folded = profile::folded(&stacks, Some(profile::Measure::InUseSpace));
    ensure(
        folded.contains(";leak_growth::keep_session") && !folded.contains("format_answer"),
        folded,
    )
}

fn cured() -> Result<(), Failed> {
    let (recording, _) = traced(CURED, &BUDGET)?;
    let totals = &followed(&recording)?.totals;
    let held = totals.outstanding.ok_or("what is outstanding is unknown")?;
    ensure(held.bytes < totals.freed.bytes / 20, format!("{totals:?}"))?;
    nothing_found(&recording)
}

fn healthy(workload: Workload<'_>) -> Result<(), Failed> {
    let (recording, _) = traced(workload, &BUDGET)?;
    ensure(followed(&recording)?.samples > 100, "hardly any block was followed")?;
    nothing_found(&recording)
}

/// Calls are counted on, all of them or in part; of the blocks nothing is claimed.
fn too_dear() -> Result<(), Failed> {
    let (recording, _) = traced(BUSY, &["--malloc"])?;
    let followed = followed(&recording)?;
    same("outstanding", followed.totals.outstanding, None)?;
    ensure(followed.seconds < recording.snapshot.window.seconds / 2.0, format!("{followed:?}"))?;
    ensure(followed.totals.unknown.blocks > 0, format!("{followed:?}"))?;
    let text = alloctrace::sink::report::text(&recording, Default::default());
    ensure(text.contains("what is outstanding is unknown"), text)
}
