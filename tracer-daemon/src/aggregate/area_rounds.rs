//! Which processes' areas are to be counted now. Counting takes a process's `mmap_lock`, and on a
//! machine with thousands of processes it takes time, so each has its turn now and then.

use std::{cmp::Reverse, collections::HashMap};

use tracer_common::ProcessId;

use crate::census::AreaCount;

/// Nobody is counted more often.
const BETWEEN_NS: u64 = 60_000_000_000;

/// Counting a process takes at most one part in so many of its time.
const RATION: u64 = 1_000;

/// A process that ends sooner is never counted.
const SETTLED_NS: u64 = 2_000_000_000;

/// The rounds so far.
#[derive(Default)]
pub struct AreaRounds {
    processes: HashMap<ProcessId, Turn>,
}

/// A process in the rounds.
#[derive(Clone, Copy)]
struct Turn {
    count: Option<AreaCount>,
    due_ns: u64,
}

impl AreaRounds {
    /// Whose turn it is, longest due first and of those the largest; whoever is not living is
    /// forgotten. Times are of any clock that never goes back.
    pub fn due(&mut self, living: &[ProcessId], now_ns: u64) -> Vec<ProcessId> {
        let old = std::mem::take(&mut self.processes);
        let new = Turn { count: None, due_ns: now_ns.saturating_add(SETTLED_NS) };
        let living = living.iter();
        self.processes = living.map(|id| (*id, old.get(id).copied().unwrap_or(new))).collect();
        let turns = self.processes.iter();
        let mut due: Vec<_> = turns.filter(|(_, turn)| turn.due_ns <= now_ns).collect();
        due.sort_unstable_by_key(|(id, turn)| {
            (turn.due_ns, Reverse(turn.count.map(|count| count.areas)), id.pid)
        });
        due.into_iter().map(|(id, _)| *id).collect()
    }

    /// A process was counted at `now_ns`, which took so long; `None`: it could not be.
    pub fn counted(&mut self, id: ProcessId, count: Option<AreaCount>, took_ns: u64, now_ns: u64) {
        let pause = BETWEEN_NS.max(took_ns.saturating_mul(RATION));
        let turn = Turn { count, due_ns: now_ns.saturating_add(pause) };
        self.processes.insert(id, turn);
    }

    /// A process's areas when they were last counted.
    #[must_use]
    pub fn count(&self, id: ProcessId) -> Option<AreaCount> {
        self.processes.get(&id)?.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const A: ProcessId = ProcessId::new(1, 10);
    const B: ProcessId = ProcessId::new(2, 10);

    fn areas(areas: u64) -> Option<AreaCount> {
        Some(AreaCount { areas, holes: 1 })
    }

    #[test]
    fn everybody_has_a_turn_a_minute() {
        let mut rounds = AreaRounds::default();
        assert!(rounds.due(&[A, B], 0).is_empty(), "they may end at once");
        assert_eq!(rounds.due(&[A, B], 2 * S), [A, B]);
        rounds.counted(A, areas(7), 1000, 2 * S);
        assert_eq!(rounds.due(&[A, B], 3 * S), [B]);
        rounds.counted(B, areas(900), 1000, 3 * S);
        assert_eq!((rounds.count(A), rounds.count(B)), (areas(7), areas(900)));
        assert!(rounds.due(&[A, B], 61 * S).is_empty());
        assert_eq!(rounds.due(&[A, B], 63 * S), [A, B], "longest due first");
    }

    #[test]
    fn the_largest_go_first_and_the_slow_wait_longer() {
        let mut rounds = AreaRounds::default();
        rounds.due(&[A, B], 0);
        rounds.counted(A, areas(7), 1000, 0);
        rounds.counted(B, areas(65_000), S / 10, 0);
        assert_eq!(rounds.due(&[A, B], 60 * S), [A], "100 ms are rationed to 100 s");
        assert_eq!(rounds.due(&[A, B], 100 * S), [A, B]);
        rounds.counted(A, areas(7), 0, 100 * S);
        rounds.counted(B, areas(65_000), 0, 100 * S);
        assert_eq!(rounds.due(&[A, B], 160 * S), [B, A]);
    }

    #[test]
    fn the_dead_are_forgotten_and_failures_have_no_number() {
        let mut rounds = AreaRounds::default();
        rounds.due(&[A, B], 0);
        rounds.counted(A, areas(7), 0, 2 * S);
        rounds.counted(B, None, 0, 2 * S);
        assert_eq!(rounds.count(B), None);
        rounds.due(&[B], 3 * S);
        assert_eq!(rounds.count(A), None);
        let reborn = ProcessId::new(1, 99);
        rounds.due(&[B, reborn], 4 * S);
        assert_eq!(rounds.count(reborn), None);
    }
}
