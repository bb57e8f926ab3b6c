//! `fault-storm`: found at the right place, cured, and the saving was the predicted one.

use alloctrace::diagnose::{Finding, Severity};
use libtest_mimic::{Failed, Trial};

use crate::{
    cure::{Workload, find, findings, nothing_found, saves},
    support::{Machine, ensure, one_of, same},
    trial,
};

const ID: &str = "fault-storm";

const STORM: Workload<'_> = Workload { program: "fault_storm", options: &[] };
const LONGER: Workload<'_> = Workload { options: &["--cycles", "80000"], ..STORM };
const CURED: Workload<'_> = Workload { options: &["--cured"], ..STORM };
const FORKS: Workload<'_> =
    Workload { options: &["--by", "fork", "--pages", "1024", "--cycles", "1000"], ..STORM };

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let root = || machine.cannot_trace();
    let no_time =
        root().or_else(|| machine.is_vm().then(|| "an emulated CPU's time proves nothing".into()));
    vec![
        trial("fault_storm_by_madvise_is_found", root(), by_advice),
        trial("fault_storm_by_fork_is_found", no_time.clone(), by_fork),
        trial("fault_storm_saves_what_was_predicted", no_time, || one_of(3, saving)),
        trial("pages_that_stay_have_no_finding", root(), || nothing_found(&CURED.traced()?)),
    ]
}

fn by_advice() -> Result<(), Failed> {
    let recording = STORM.traced()?;
    let others = findings(&recording).filter(|finding| finding.id != ID);
    same("other findings", others.collect(), Vec::<&Finding>::new())?;
    let finding = storm(&recording)?;
    same("bytes", finding.cause.bytes, Some(64 << 12))?;
    let cause = &finding.cause.text;
    let both = cause.contains("fault_storm::advise") && cause.contains("fault_storm::touch_all");
    ensure(both && cause.starts_with("anon 256 KiB"), cause.clone())?;
    ensure(finding.remedy[0].contains("keep the 256 KiB"), finding.remedy.join("\n"))
}

fn by_fork() -> Result<(), Failed> {
    let recording = FORKS.traced()?;
    let finding = storm(&recording)?;
    let cause = &finding.cause.text;
    ensure(cause.contains("fork") && cause.contains("fault_storm::touch_all"), cause.clone())?;
    ensure(finding.remedy[0].contains("posix_spawn"), finding.remedy.join("\n"))
}

fn storm(recording: &alloctrace::sink::Recording) -> Result<&Finding, Failed> {
    let finding = find(recording, ID)?;
    ensure(finding.severity >= Severity::Medium, "it is called harmless")?;
    Ok(finding)
}

fn saving() -> Result<(), Failed> {
    let recording = LONGER.traced()?;
    let cured = || {
        let mut command = LONGER.command();
        command.arg("--cured");
        command
    };
    saves(find(&recording, ID)?, || LONGER.command(), cured, 0.2)
}
