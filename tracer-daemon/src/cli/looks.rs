//! Closer looks at processes that the machine's numbers make suspicious: the daemon's and those of `top`.

use std::{
    panic::resume_unwind,
    time::{Duration, Instant},
};

use tokio::task::{JoinError, JoinSet};

use super::{
    complaints::Complaints,
    worker::{self, Failure, Order, Traced},
};
use crate::{
    aggregate::{
        MachineSnapshot,
        looks::{LENGTH, Load, Looks},
        machine::LookTotals,
    },
    session::Machine,
};

/// What came of a look.
type Ended = Result<Traced, Failure>;

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

    /// Begins the look that is due now that this sample has been taken, and puts on it what looks found so far.
    pub(super) fn attend(
        &mut self,
        machine: &Machine,
        snapshot: &mut MachineSnapshot,
        now: Instant,
    ) {
        if let Some(load) = self.looks.begin(&machine.loads(snapshot), now) {
            log::debug!("a closer look at {} (pid {})", load.comm, load.process.pid);
            let backends = self.backends.clone();
            let order = Order { process: load.process, window: LENGTH, budget: None, backends };
            self.worker.spawn(async move { worker::trace(&order, || {}).await });
        }
        snapshot.looks = LookTotals {
            done: self.done,
            failed: self.failed,
            found: self.looks.found().clone(),
            attention: self.looks.attention(),
        };
    }

    /// The look under way, once it has ended; `None`: none is.
    pub(super) async fn ended(&mut self) -> Option<Ended> {
        match self.worker.join_next().await?.map_err(JoinError::into_panic) {
            Ok(ended) => Some(ended),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Takes in what came of it. Returns lines about what went wrong, if anything did.
    pub(super) fn take(&mut self, ended: Ended, now: Instant) -> Vec<String> {
        match ended {
            Ok(Traced { recording, complaints }) => {
                self.done += 1;
                self.looks.ended(Ok(recording.findings), now);
                self.complaints.new_ones(&complaints)
            }
            Err(Failure::Gone) => {
                self.looks.ended(Err("it had ended".to_owned()), now);
                Vec::new()
            }
            Err(Failure::Failed(why)) => {
                self.failed += 1;
                let looked_at = self.looks.ended(Err(why.clone()), now);
                let line = looked_at.map(|Load { process, comm, .. }| {
                    format!("no closer look at {comm} (pid {}): {why}", process.pid)
                });
                line.into_iter().collect()
            }
        }
    }
}
