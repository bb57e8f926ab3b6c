use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tracer_common::ProcessId;

use crate::{
    aggregate::{area_rounds::AreaRounds, machine::AreaCounting},
    census::{AreaCount, ProcRoot, ProcessStat},
};

/// No new process is counted in a sample after so long. A process with 65,000 areas takes longer
/// by itself, and has its turn less often for it.
const IN_A_SAMPLE: Duration = Duration::from_millis(20);

/// The areas of the machine's processes, counted a few at a time.
pub(super) struct Areas {
    root: ProcRoot,
    began: Instant,
    rounds: AreaRounds,
    counting: AreaCounting,
}

impl Areas {
    pub(super) fn new(root: ProcRoot) -> Self {
        Self {
            root,
            began: Instant::now(),
            rounds: AreaRounds::default(),
            counting: AreaCounting::default(),
        }
    }

    /// Counts whose turn it is, until the time for it is used up.
    pub(super) fn look(&mut self, stats: &HashMap<ProcessId, ProcessStat>) {
        let users = stats.iter().filter(|(_, stat)| !stat.is_kernel_thread);
        let users: Vec<_> = users.map(|(id, _)| *id).collect();
        let now = Instant::now();
        let due = self.rounds.due(&users, nanoseconds(now - self.began));
        self.counting.due = due.len() as u64;
        for id in due {
            if now.elapsed() >= IN_A_SAMPLE {
                break;
            }
            let began = Instant::now();
            let count = self.root.count_areas(id.pid).ok();
            let (took, at) = (began.elapsed(), began - self.began);
            self.rounds.counted(id, count, nanoseconds(took), nanoseconds(at));
            self.counting.counts += u64::from(count.is_some());
            self.counting.seconds += took.as_secs_f64();
            self.counting.due -= 1;
        }
        self.counting.limit = self.root.area_limit();
    }

    /// A process's areas when they were last counted.
    pub(super) fn of(&self, id: ProcessId) -> Option<AreaCount> {
        self.rounds.count(id)
    }

    /// How counting goes.
    pub(super) fn counting(&self) -> AreaCounting {
        self.counting
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
