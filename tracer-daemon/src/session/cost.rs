//! What tracing costs, measured: the kernel times its own programs in part of the window.

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use aya::{Ebpf, sys};

use crate::probes::catalog;

/// The kernel's clock around each program costs as much as a short program does, and turning it on
/// and off stops every CPU for a moment. So it runs for a short stretch …
const MEASURED: Duration = Duration::from_millis(100);
/// … and each pause is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(900);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Measures the programs' running time in short stretches.
pub(super) struct CostMeter {
    stretch: Option<Stretch>,
    resume_at: Instant,
    pause: Duration,
    run_time: Duration,
    measured: Duration,
}

struct Stretch {
    since: Instant,
    run_time: Duration,
    _statistics: OwnedFd,
}

impl CostMeter {
    /// Begins with a stretch at the next tick.
    #[must_use]
    pub(super) fn new(now: Instant) -> Self {
        Self {
            stretch: None,
            resume_at: now,
            pause: FIRST_PAUSE,
            run_time: Duration::ZERO,
            measured: Duration::ZERO,
        }
    }

    /// Begins or ends a stretch when it is time.
    pub(super) fn tick(&mut self, ebpf: &Ebpf, now: Instant) {
        match &self.stretch {
            Some(stretch) if now >= stretch.since + MEASURED => self.end(ebpf, now),
            None if now >= self.resume_at => self.begin(ebpf, now),
            _ => {}
        }
    }

    /// The programs' running time in a window of this length; nothing if none was measured.
    #[must_use]
    pub(super) fn scaled_to(&self, window: Duration) -> Option<f64> {
        (!self.measured.is_zero())
            .then(|| self.run_time.as_secs_f64() / self.measured.as_secs_f64())
            .map(|share| share * window.as_secs_f64())
    }

    /// Ends a stretch under way, so that a short window has at least that one.
    pub(super) fn end(&mut self, ebpf: &Ebpf, now: Instant) {
        if let Some(stretch) = self.stretch.take() {
            self.run_time += run_time(ebpf).saturating_sub(stretch.run_time);
            self.measured += now - stretch.since;
            self.resume_at = now + self.pause;
            self.pause = (2 * self.pause).min(LONGEST_PAUSE);
        }
    }

    fn begin(&mut self, ebpf: &Ebpf, now: Instant) {
        match sys::enable_stats(sys::Stats::RunTime) {
            Ok(statistics) => {
                self.stretch =
                    Some(Stretch { since: now, run_time: run_time(ebpf), _statistics: statistics });
            }
            Err(error) => {
                log::debug!("the kernel does not time its programs: {error}");
                self.resume_at = now + Duration::from_secs(3600);
            }
        }
    }
}

/// Running time of all loaded programs since statistics were first on. Without the allocator's: each of
/// its hits has a price that includes the program, and it runs for a part of the time only.
fn run_time(ebpf: &Ebpf) -> Duration {
    let programs = ebpf.programs().filter(|(name, _)| *name != catalog::ALLOCATOR);
    programs.filter_map(|(_, program)| program.info().ok()).map(|info| info.run_time()).sum()
}
