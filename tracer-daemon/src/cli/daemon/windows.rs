//! Windows over the allocators of chosen processes, while the daemon serves.

use std::{
    collections::HashMap,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
};
use tracer_common::ProcessId;

use crate::{
    aggregate::{
        Snapshot,
        allocator_windows::{AllocatorTotals, AllocatorWindows},
        turns::Turns,
    },
    cli::{
        complaints::Complaints,
        console::warn,
        worker::{self, Failure, Order, Traced},
    },
    session::{Budget, Chosen},
    sink::{
        Recording,
        http::{Profile, Shelf},
        profile,
    },
};

/// How windows are to be made.
pub(super) struct Plan {
    /// Of one CPU's time, for all processes together.
    pub(super) budget: Budget,
    /// The length of a window.
    pub(super) window: Duration,
    /// The user's wishes, as `--backend` has them.
    pub(super) backends: Vec<String>,
}

/// The windows under way, and what came of the earlier ones.
pub(super) struct Windows {
    plan: Plan,
    turns: Turns,
    workers: JoinSet<Ended>,
    traced: HashMap<ProcessId, Chosen>,
    open: Arc<AtomicU64>,
    found: AllocatorWindows,
    shelf: watch::Sender<Shelf>,
    complaints: Complaints,
}

/// A window that has ended.
pub(super) struct Ended {
    process: ProcessId,
    result: Result<Traced, Failure>,
}

impl Windows {
    pub(super) fn new(plan: Plan, shelf: watch::Sender<Shelf>) -> Self {
        Self {
            plan,
            turns: Turns::default(),
            workers: JoinSet::new(),
            traced: HashMap::new(),
            open: Arc::default(),
            found: AllocatorWindows::default(),
            shelf,
            complaints: Complaints::default(),
        }
    }

    /// Windows from now on are made in this way.
    pub(super) fn replan(&mut self, plan: Plan) {
        self.plan = plan;
    }

    /// Begins the windows that are due, now that these processes are chosen.
    pub(super) fn begin(&mut self, chosen: Vec<Chosen>, now: Instant) {
        let ids: Vec<_> = chosen.iter().map(|one| one.process).collect();
        self.found.living(chosen.iter().map(|one| (one.process, &*one.group)));
        self.shelf.send_modify(|shelf| {
            shelf.tidy(|pid, start| ids.contains(&ProcessId::new(pid, start)), now);
        });
        let due = self.turns.begin(&ids, now);
        let budget = self.plan.budget.among(due.len());
        for process in &due {
            let order = Order {
                process: *process,
                window: self.plan.window,
                budget: Some(budget),
                backends: self.plan.backends.clone(),
            };
            let open = Arc::clone(&self.open);
            self.workers.spawn(work(order, open));
        }
        let begin = chosen.into_iter().filter(|one| due.contains(&one.process));
        self.traced.extend(begin.map(|one| (one.process, one)));
    }

    /// The next window that ends; `None`: none is under way.
    pub(super) async fn ended(&mut self) -> Option<Ended> {
        match self.workers.join_next().await?.map_err(JoinError::into_panic) {
            Ok(ended) => Some(ended),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Takes in what came of a window.
    pub(super) fn take(&mut self, Ended { process, result }: Ended, now: Instant) {
        let pause = self.turns.ended(process, result.is_ok(), now);
        let Some(target) = self.traced.remove(&process) else { return };
        match result {
            Ok(Traced { recording, complaints }) => {
                self.complaints.new_ones(&complaints).iter().for_each(|line| warn(line));
                self.found.add(process, &target.group, &recording.snapshot);
                self.keep(&target, &recording, now);
            }
            Err(Failure::Gone) => log::debug!("pid {} ended before its window", process.pid),
            Err(Failure::Failed(why)) => {
                self.found.failed(&target.group);
                let again = match pause.as_secs() {
                    0 => String::new(),
                    seconds => format!("; tried again in {seconds} s"),
                };
                let Chosen { comm, .. } = target;
                warn(&format!("no window over {comm} (pid {}): {why}{again}", process.pid));
            }
        }
    }

    /// The windows so far.
    pub(super) fn totals(&self) -> AllocatorTotals {
        AllocatorTotals {
            groups: self.found.groups(),
            budget: Some(self.plan.budget.share()),
            open: self.open.load(Ordering::Relaxed),
        }
    }

    fn keep(&self, target: &Chosen, recording: &Recording, now: Instant) {
        let Snapshot { window, allocations, .. } = &recording.snapshot;
        let duty = allocations.as_ref().map_or(0.0, |all| all.duty);
        let kept = Profile {
            pid: target.process.pid,
            start_ticks: target.process.start_ticks,
            comm: target.comm.clone(),
            group: target.group.to_string(),
            seconds: window.seconds,
            counted_seconds: window.seconds * duty,
            at: now,
            sampled: profile::allocs(&recording.snapshot).into(),
        };
        self.shelf.send_modify(|shelf| shelf.put(kept));
    }
}

async fn work(order: Order, open: Arc<AtomicU64>) -> Ended {
    let mut counted = None;
    let result = worker::trace(&order, || counted = Some(Open::new(open))).await;
    Ended { process: order.process, result }
}

/// A window in which something is counted.
struct Open(Arc<AtomicU64>);

impl Open {
    fn new(open: Arc<AtomicU64>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
