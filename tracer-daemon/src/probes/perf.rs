//! Perf's software events, which count on each CPU for all processes; the programs filter.

use std::error::Error as StdError;

use aya::{
    programs::{
        ProgramError,
        perf_event::{
            PerfEvent, PerfEventConfig, PerfEventLinkId, PerfEventScope, SamplePolicy,
            SoftwareEvent,
        },
    },
    util::online_cpus,
};

use crate::{aggregate::cpu::SAMPLES_PER_SECOND, kernel::privileges::perf_restriction};

/// Runs the program at every `period`th page fault of each CPU.
///
/// # Errors
/// When the kernel refuses the event on a CPU.
pub fn count_faults(
    program: &mut PerfEvent,
    period: u32,
) -> Result<Vec<PerfEventLinkId>, Box<dyn StdError>> {
    let period = SamplePolicy::Period(u64::from(period));
    on_every_cpu(program, SoftwareEvent::PageFaults, period)
}

/// Runs the program at every major fault. The event of the others stays off: theirs is a branch of
/// its own in the kernel (`mm_account_fault`).
///
/// # Errors
/// When the kernel refuses the event on a CPU.
pub fn count_major_faults(
    program: &mut PerfEvent,
) -> Result<Vec<PerfEventLinkId>, Box<dyn StdError>> {
    on_every_cpu(program, SoftwareEvent::PageFaultsMaj, SamplePolicy::Period(1))
}

/// Runs the program by each CPU's clock.
///
/// # Errors
/// When the kernel refuses the event on a CPU.
pub fn sample_cpu_clock(
    program: &mut PerfEvent,
) -> Result<Vec<PerfEventLinkId>, Box<dyn StdError>> {
    let frequency = SamplePolicy::Frequency(SAMPLES_PER_SECOND);
    on_every_cpu(program, SoftwareEvent::CpuClock, frequency)
}

/// Ends what one of the above began.
pub fn detach(program: &mut PerfEvent, links: Vec<PerfEventLinkId>) {
    for link in links {
        if let Err(error) = program.detach(link) {
            log::debug!("a perf event was gone already: {error}");
        }
    }
}

fn on_every_cpu(
    program: &mut PerfEvent,
    event: SoftwareEvent,
    policy: SamplePolicy,
) -> Result<Vec<PerfEventLinkId>, Box<dyn StdError>> {
    let mut links = Vec::new();
    for cpu in online_cpus().map_err(|(_, error)| error)? {
        let scope = PerfEventScope::AllProcessesOneCpu { cpu };
        let link = program.attach(PerfEventConfig::Software(event), scope, policy, false);
        links.push(link.map_err(explained)?);
    }
    Ok(links)
}

/// A refusal that has to do with a setting of the machine.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
struct Restricted {
    why: String,
    source: ProgramError,
}

fn explained(source: ProgramError) -> Box<dyn StdError> {
    match perf_restriction() {
        Some(why) => Restricted { why, source }.into(),
        None => source.into(),
    }
}
