//! `small-block-waste`: found, and what pools and other allocators save is what was predicted.

use alloctrace::{diagnose::Severity, sink::Recording};
use libtest_mimic::{Failed, Trial};

use crate::{
    allocators::{LIBRARIES, PRELOADED},
    cure::{Workload, find, nothing_found},
    losses::no_loss,
    support::{Machine, Target, Tracer, ensure, same},
    trial,
};

const ID: &str = "small-block-waste";

/// Of each size, as the workload has it.
const RECORDS: u64 = 500_000;
/// Sizes, and what glibc takes for them.
const SIZES: [(u64, u64); 2] = [(10, 32), (26, 48)];

const RECORD_BY_RECORD: Workload<'_> = Workload { program: "small_block_waste", options: &[] };
/// So many more that what an allocator keeps for itself from the start does not count.
const TIMES: f64 = 4.0;
const MANY: Workload<'_> = Workload { options: &["--records", "2000000"], ..RECORD_BY_RECORD };
const POOLED: Workload<'_> = Workload { options: &["--cured"], ..RECORD_BY_RECORD };

/// What resident memory has beside blocks, as a part of what is saved: pages of the index, spans that are not
/// full, and most of all jemalloc's tables, 3 % of what it takes.
const TOLERANCE: f64 = 0.07;

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let uprobes = || machine.cannot_use("malloc", "uprobe");
    let vm = machine.is_vm().then(|| "Debian's libraries are on the host".to_owned());
    let host = || machine.cannot_differ().or_else(uprobes);
    let slow =
        || machine.is_vm().then(|| "an emulated CPU is too slow".to_owned()).or_else(uprobes);
    let mut trials = vec![
        trial("small_block_waste_is_found", host(), found),
        trial("pools_save_the_waste_that_was_predicted", slow(), pools),
        trial("pooled_blocks_have_no_finding", slow(), || nothing_found(&traced(POOLED)?)),
    ];
    for (library, name) in PRELOADED {
        let file = format!("{LIBRARIES}/{library}");
        let family = name.split(' ').next().unwrap_or(name);
        let absent = (!std::path::Path::new(&file).exists()).then(|| format!("no {file}"));
        trials.push(trial(
            format!("{family}_saves_the_waste_that_was_predicted"),
            vm.clone().or_else(uprobes).or(absent),
            move || another(family, &file),
        ));
    }
    trials
}

fn traced(workload: Workload<'_>) -> Result<Recording, Failed> {
    let mut target = Target::start(workload.command().arg("--wait"));
    target.hear("pid");
    let tracer = Tracer::attach(target.pid(), &["--malloc", "--budget", "100%"]);
    target.nudge();
    target.hear("records");
    tracer.interrupt()
}

fn found() -> Result<(), Failed> {
    let recording = traced(RECORD_BY_RECORD)?;
    no_loss(&recording)?;
    let all = recording.snapshot.allocations.as_ref().ok_or("nothing was counted")?;
    for (bytes, taken) in SIZES {
        let row = all.exact_sizes.iter().find(|size| size.bytes == bytes);
        let row = row.ok_or_else(|| format!("no calls for {bytes} bytes: {all:?}"))?;
        // The program's own few besides.
        ensure((RECORDS..RECORDS + 10).contains(&row.calls), format!("{row:?}"))?;
        same("taken", row.taken, Some(taken))?;
    }
    let finding = find(&recording, ID)?;
    same("severity", finding.severity, Severity::High)?;
    ensure(finding.cause.text.contains("load_records"), finding.cause.text.clone())?;
    let waste = SIZES.iter().map(|(bytes, taken)| (taken - bytes) * RECORDS).sum::<u64>();
    let saving = finding.predicted_saving.and_then(|saving| saving.memory).ok_or("no saving")?;
    // What was given back while it was counted are blocks of the program's own.
    let error = saving.bytes.abs_diff(waste) as f64 / waste as f64;
    ensure(error < 0.001 && saving.low <= waste && waste <= saving.high, format!("{saving:?}"))
}

fn pools() -> Result<(), Failed> {
    let recording = traced(RECORD_BY_RECORD)?;
    let saving = find(&recording, ID)?.predicted_saving.and_then(|saving| saving.memory);
    let predicted = saving.ok_or("no saving is predicted")?.bytes as f64;
    is_saved(predicted, resident(RECORD_BY_RECORD, "")? - resident(POOLED, "")?)
}

fn another(family: &str, library: &str) -> Result<(), Failed> {
    let recording = traced(RECORD_BY_RECORD)?;
    let finding = find(&recording, ID)?;
    let line = finding.remedy.iter().find(|line| line.starts_with(family));
    let line = line.ok_or_else(|| format!("{family} is not named: {:?}", finding.remedy))?;
    let predicted = mebibytes(line).ok_or_else(|| format!("no size in {line:?}"))?;
    is_saved(predicted * TIMES, resident(MANY, "")? - resident(MANY, library)?)
}

/// The first size in a line: `saves 15.3 MiB (…)`.
fn mebibytes(line: &str) -> Option<f64> {
    let number = line.split_once("saves ")?.1.split_once(" MiB")?.0;
    Some(number.parse::<f64>().ok()? * f64::from(1 << 20))
}

/// Memory that the records of an untraced run take.
fn resident(workload: Workload<'_>, library: &str) -> Result<f64, Failed> {
    let mut command = workload.command();
    if !library.is_empty() {
        command.env("LD_PRELOAD", library);
    }
    let line = Target::start(&mut command).hear("records");
    let bytes = line.split_whitespace().last().and_then(|word| word.parse::<f64>().ok());
    bytes.ok_or_else(|| format!("no size in {line:?}").into())
}

fn is_saved(predicted: f64, realised: f64) -> Result<(), Failed> {
    let error = (predicted - realised).abs() / realised;
    let text = format!("predicted {predicted}, realised {realised}: off by {:.1} %", error * 100.0);
    ensure(error <= TOLERANCE, text)
}
