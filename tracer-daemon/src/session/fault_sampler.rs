//! Turns perf's fault event on for part of the time. While it is on, every fault of the machine
//! pays for it, sampled or not; a twentieth of the time tells where faults fall just as well.

use std::time::{Duration, Instant};

use aya::{
    Ebpf,
    programs::perf_event::{PerfEvent, PerfEventLinkId},
};
use tracer_common::Control;

use super::random;
use crate::probes::perf;

/// The program, as the catalog names it.
const PROGRAM: &str = "fault_perf";

/// On from the start for so long, because a program may not run for longer.
const FIRST: Duration = Duration::from_millis(300);
/// Later on for so long …
const ON: Duration = Duration::from_millis(50);
/// … once in so long, at a random moment.
const CYCLE: Duration = Duration::from_millis(1000);

/// Faults per sample, one for each stretch by turns. Primes, so that a loop of faults does not
/// stay in step with the samples.
const PERIODS: [u32; 3] = [11, 7, 13];

/// The event and its timetable.
pub(super) struct FaultSampler {
    links: Vec<PerfEventLinkId>,
    /// When to turn it on or off; never, where another backend has the signal.
    next: Option<Instant>,
    stretch: usize,
}

impl FaultSampler {
    /// Off.
    pub(super) fn new() -> Self {
        Self { links: Vec::new(), next: None, stretch: 0 }
    }

    /// Turns it on for the first time. The caller hands the weight over to the programs.
    pub(super) fn start(&mut self, ebpf: &mut Ebpf, control: &mut Control) {
        self.turn_on(ebpf, control, 1);
        self.next = Some(Instant::now() + FIRST);
    }

    /// Follows the timetable; true if the samples' weight has changed.
    pub(super) fn tick(&mut self, ebpf: &mut Ebpf, control: &mut Control, now: Instant) -> bool {
        if self.next.is_none_or(|next| now < next) {
            return false;
        }
        if self.links.is_empty() {
            let share = CYCLE.as_millis() / ON.as_millis();
            self.turn_on(ebpf, control, u32::try_from(share).unwrap_or(1));
            self.next = Some(now + ON);
            return true;
        }
        if let Some(program) = program(ebpf) {
            perf::detach(program, std::mem::take(&mut self.links));
        }
        self.next = Some(now + pause());
        false
    }

    /// `share` is the part of the time that the stretch stands for, in its own lengths.
    fn turn_on(&mut self, ebpf: &mut Ebpf, control: &mut Control, share: u32) {
        let period = PERIODS[self.stretch % PERIODS.len()];
        self.stretch += 1;
        control.fault_weight = period * share;
        let Some(program) = program(ebpf) else { return };
        match perf::count_faults(program, period) {
            Ok(links) => self.links = links,
            Err(error) => log::warn!("where faults fall is not known from here on: {error}"),
        }
    }
}

/// As long as a cycle leaves on average, and never the same, so that no habit of the target stays
/// in step with it.
fn pause() -> Duration {
    (CYCLE - ON).mul_f64(0.5 + random::share())
}

fn program(ebpf: &mut Ebpf) -> Option<&mut PerfEvent> {
    ebpf.program_mut(PROGRAM)?.try_into().ok()
}
