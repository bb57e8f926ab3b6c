//! Closer looks at processes that the machine's numbers make suspicious, while the daemon serves.

use std::{
    panic::resume_unwind,
    time::{Duration, Instant},
};

use tokio::task::{JoinError, JoinSet};

use super::{
    complaints::Complaints,
    worker::{self, Failure, Order},
};
use crate::{
    aggregate::{
        looks::{Load, Looks},
        machine::LookTotals,
    },
    cli::console::warn,
    sink::Recording,
};

/// Long enough for a thousand CPU samples of a busy process, and for what comes once a second.
const WINDOW: Duration = Duration::from_secs(10);

/// What came of a look.
type Ended = Result<Recording, Failure>;

/// The look under way, and what came of the earlier ones.
pub(super) struct CloserLooks {
    looks: Looks,
    /// One at most.
    worker: JoinSet<Ended>,
    /// The user's wishes, as `--backend` has them.
    backends: Vec<String>,
    done: u64,
    failed: u64,
    complaints: Complaints,
}

impl CloserLooks {
    /// A group is left alone for `rest` after each; no time at all: nobody is looked at.
    pub(super) fn new(rest: Duration, backends: Vec<String>) -> Self {
        let (looks, worker) = (Looks::new(rest), JoinSet::new());
        let complaints = Complaints::default();
        Self { looks, worker, backends, done: 0, failed: 0, complaints }
    }

    /// From now on it is left alone for so long.
    pub(super) fn leave_alone_for(&mut self, rest: Duration) {
        self.looks.leave_alone_for(rest);
    }

    /// Begins the look that is due, now that processes have these loads.
    pub(super) fn begin(&mut self, loads: &[Load], now: Instant) {
        let Some(load) = self.looks.begin(loads, now) else { return };
        log::debug!("a closer look at {} (pid {})", load.comm, load.process.pid);
        let order = Order {
            process: load.process,
            window: WINDOW,
            budget: None,
            backends: self.backends.clone(),
            complaints: self.complaints.clone(),
        };
        self.worker.spawn(async move { worker::trace(&order, || {}).await });
    }

    /// The look under way, once it has ended; `None`: none is.
    pub(super) async fn ended(&mut self) -> Option<Ended> {
        match self.worker.join_next().await?.map_err(JoinError::into_panic) {
            Ok(ended) => Some(ended),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Takes in what came of it.
    pub(super) fn take(&mut self, ended: Ended, now: Instant) {
        let (findings, why) = match ended {
            Ok(recording) => (Some(recording.findings), None),
            Err(Failure::Gone) => (None, None),
            Err(Failure::Failed(why)) => (None, Some(why)),
        };
        self.done += u64::from(findings.is_some());
        self.failed += u64::from(why.is_some());
        let load = self.looks.ended(findings, now);
        if let Some((Load { process, comm, .. }, why)) = load.zip(why) {
            warn(&format!("no closer look at {comm} (pid {}): {why}", process.pid));
        }
    }

    /// The looks so far.
    pub(super) fn totals(&self) -> LookTotals {
        LookTotals { done: self.done, failed: self.failed, found: self.looks.found().clone() }
    }
}
