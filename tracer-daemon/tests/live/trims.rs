//! `heap-trim-churn`: found at the right place, cured by the values that it names, and the saving was
//! the predicted one.

use alloctrace::diagnose::Severity;
use libtest_mimic::{Failed, Trial};

use crate::{
    cure::{Workload, find, findings, nothing_found, saves},
    support::{Machine, ensure, one_of, same},
    trial,
};

const ID: &str = "heap-trim-churn";
const CYCLES: u64 = 20_000;
/// 16 blocks, of which some of the first may stay below the threshold.
const SWING: std::ops::Range<u64> = (15 << 16)..(5 << 18);

const TRIMMING: Workload<'_> = Workload { program: "heap_trim_churn", options: &[] };
const LONGER: Workload<'_> = Workload { options: &["--cycles", "80000"], ..TRIMMING };
const IN_THREAD: Workload<'_> = Workload { options: &["--in-thread"], ..TRIMMING };
const CURED: Workload<'_> = Workload { options: &["--cured"], ..TRIMMING };

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let root = || machine.cannot_trace();
    let no_time =
        root().or_else(|| machine.is_vm().then(|| "an emulated CPU's time proves nothing".into()));
    vec![
        trial("heap_trim_churn_is_found", root(), found),
        trial("arena_trim_churn_is_found", root(), found_in_arena),
        trial("heap_trim_churn_saves_what_was_predicted", no_time, || one_of(3, saving)),
        trial("a_heap_that_keeps_its_top_has_no_finding", root(), || {
            nothing_found(&CURED.traced()?)
        }),
    ]
}

fn found() -> Result<(), Failed> {
    let recording = TRIMMING.traced()?;
    let finding = find(&recording, ID)?;
    ensure(finding.severity >= Severity::Medium, "it is called harmless")?;
    same("findings", findings(&recording).count(), 1)?;
    let cycles = format!("rose again {} times", alloctrace::humanize::count(CYCLES));
    let evidence = finding.evidence.join("\n");
    // Attached before the first, and the last one has not risen again.
    let last = format!("rose again {} times", alloctrace::humanize::count(CYCLES - 1));
    ensure(evidence.contains(&cycles) || evidence.contains(&last), evidence)?;
    let swing = finding.cause.bytes.unwrap_or(0);
    ensure(SWING.contains(&swing), format!("{swing} bytes given back"))?;
    let cause = &finding.cause.text;
    ensure(cause.contains("glibc") && cause.contains("handle_request"), cause.clone())
}

/// Without `brk` it is a storm of faults, with the same cure.
fn found_in_arena() -> Result<(), Failed> {
    let recording = IN_THREAD.traced()?;
    let finding = find(&recording, "fault-storm")?;
    let cause = &finding.cause.text;
    let all = ["arena of malloc", "glibc", "handle_request"];
    ensure(all.iter().all(|part| cause.contains(part)), cause.clone())?;
    let remedy = finding.remedy.join("\n");
    ensure(remedy.contains("MALLOC_TRIM_THRESHOLD_="), remedy)
}

/// The cure is the one that the finding names, as it stands there.
fn saving() -> Result<(), Failed> {
    let recording = LONGER.traced()?;
    let finding = find(&recording, ID)?;
    let words = finding.remedy.iter().flat_map(|line| line.split_whitespace());
    let settings: Vec<_> = words
        .filter(|word| word.starts_with("MALLOC_"))
        .filter_map(|word| word.split_once('='))
        .collect();
    same("settings", settings.len(), 2)?;
    let cured = || {
        let mut command = LONGER.command();
        command.envs(settings.iter().copied());
        command
    };
    saves(finding, || LONGER.command(), cured, 0.2)
}
