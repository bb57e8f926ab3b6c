//! Whose allocator is traced next: a few processes at once, for a window each, and then those that had
//! fewer, or have waited longer. All windows of a round have ended before the next one begins, so that those of a round
//! can share the budget.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use tracer_common::ProcessId;

/// Windows at the same time.
pub const AT_ONCE: usize = 4;

/// How long a process is left alone after a window that failed; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// The turns so far.
#[derive(Default)]
pub struct Turns {
    waiting: HashMap<ProcessId, Wait>,
    traced: HashSet<ProcessId>,
}

/// A process that is to be traced, or is.
#[derive(Clone, Copy)]
struct Wait {
    /// Windows so far. A new process begins with as many as those that had most: whoever was there before
    /// it goes first.
    windows: u64,
    since: Instant,
    /// Windows that failed, since the last one that did not.
    failures: u32,
}

impl Turns {
    /// Whose windows begin now, at most [`AT_ONCE`]: none while others are traced. Whoever is not
    /// wanted any more is forgotten.
    pub fn begin(&mut self, wanted: &[ProcessId], now: Instant) -> Vec<ProcessId> {
        let old = std::mem::take(&mut self.waiting);
        let windows = old.values().map(|wait| wait.windows).max().unwrap_or(0);
        let new = Wait { windows, since: now, failures: 0 };
        self.waiting = wanted.iter().map(|id| (*id, old.get(id).copied().unwrap_or(new))).collect();
        if !self.traced.is_empty() {
            return Vec::new();
        }
        let waiting = self.waiting.iter();
        let mut due: Vec<_> = waiting.filter(|(_, wait)| wait.since <= now).collect();
        due.sort_unstable_by_key(|(id, wait)| (wait.windows, wait.since, id.pid));
        let due: Vec<_> = due.into_iter().take(AT_ONCE).map(|(id, _)| *id).collect();
        self.traced = due.iter().copied().collect();
        due
    }

    /// A window has ended well, or has failed. Returns how long the process is left alone.
    pub fn ended(&mut self, id: ProcessId, well: bool, now: Instant) -> Duration {
        self.traced.remove(&id);
        let Some(wait) = self.waiting.get_mut(&id) else { return Duration::ZERO };
        wait.windows += 1;
        wait.failures = if well { 0 } else { wait.failures.saturating_add(1) };
        let pause = match wait.failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(more) => FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(more)).min(LONGEST_PAUSE),
        };
        wait.since = now + pause;
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ids(pids: impl IntoIterator<Item = u32>) -> Vec<ProcessId> {
        pids.into_iter().map(|pid| ProcessId::new(pid, 1)).collect()
    }

    fn all_end(turns: &mut Turns, ids: &[ProcessId], now: Instant) {
        for id in ids {
            assert_eq!(turns.ended(*id, true, now), Duration::ZERO);
        }
    }

    #[test]
    fn each_has_its_turn_before_anybody_has_two() {
        let (mut turns, began) = (Turns::default(), Instant::now());
        let wanted = ids(1..=10);
        let mut seen = Vec::new();
        for round in 0..5 {
            let now = began + s(round);
            let due = turns.begin(&wanted, now);
            assert_eq!(due.len(), AT_ONCE);
            seen.extend(due.iter().copied());
            all_end(&mut turns, &due, now + s(1));
        }
        let turns_of = |id: &ProcessId| seen.iter().filter(|one| *one == id).count();
        assert!(wanted.iter().all(|id| turns_of(id) == 2), "{seen:?}");
    }

    #[test]
    fn whoever_takes_longest_to_end_has_as_many_turns() {
        let (mut turns, mut now) = (Turns::default(), Instant::now());
        let wanted = ids(1..=5);
        let mut windows = [0_u32; 5];
        for _ in 0..20 {
            let due = turns.begin(&wanted, now);
            for id in &due {
                windows[id.pid as usize - 1] += 1;
                turns.ended(*id, true, now + s(u64::from(id.pid)));
            }
            now += s(10);
            let (least, most) = (windows.iter().min(), windows.iter().max());
            assert!(least.zip(most).is_some_and(|(least, most)| most - least <= 1), "{windows:?}");
        }
    }

    #[test]
    fn a_round_begins_when_the_last_one_has_ended() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        assert_eq!(turns.begin(&ids([1, 2]), now), ids([1, 2]));
        turns.ended(ids([1])[0], true, now);
        assert!(turns.begin(&ids([1, 2, 3]), now).is_empty(), "2 is still traced");
        turns.ended(ids([2])[0], true, now + s(1));
        assert_eq!(turns.begin(&ids([1, 2, 3]), now + s(1)), ids([1, 3, 2]), "longest first");
    }

    #[test]
    fn whoever_comes_later_waits_behind_those_who_wait() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        let due = turns.begin(&ids(1..=6), now);
        turns.begin(&ids(1..=6), now + s(1));
        all_end(&mut turns, &due, now + s(2));
        assert_eq!(turns.begin(&ids(1..=9), now + s(3)), ids([5, 6, 1, 2]));
    }

    #[test]
    fn failures_are_tried_again_after_longer_and_longer_pauses() {
        let (mut turns, mut now) = (Turns::default(), Instant::now());
        let wanted = ids([1]);
        for pause in [30, 60, 120] {
            assert_eq!(turns.begin(&wanted, now), wanted);
            assert_eq!(turns.ended(wanted[0], false, now), s(pause));
            assert!(turns.begin(&wanted, now + s(pause - 1)).is_empty());
            now += s(pause);
        }
        for _ in 0..100 {
            assert_eq!(turns.begin(&wanted, now), wanted);
            now += turns.ended(wanted[0], false, now);
        }
        assert_eq!(turns.begin(&wanted, now), wanted);
        assert_eq!(turns.ended(wanted[0], false, now), LONGEST_PAUSE);
        now += LONGEST_PAUSE;
        assert_eq!(turns.begin(&wanted, now), wanted);
        all_end(&mut turns, &wanted, now);
        assert_eq!(turns.begin(&wanted, now), wanted);
        assert_eq!(turns.ended(wanted[0], false, now), s(30), "one success, and all is forgiven");
    }

    #[test]
    fn the_gone_are_forgotten_and_pids_come_again() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        let (old, new) = (ProcessId::new(1, 1), ProcessId::new(1, 2));
        assert_eq!(turns.begin(&[old], now), [old]);
        assert!(turns.begin(&[new], now).is_empty(), "the old one is still traced");
        assert_eq!(turns.ended(old, false, now), Duration::ZERO, "nobody waits for it");
        assert_eq!(turns.begin(&[new], now), [new]);
        assert!(turns.begin(&[], now).is_empty());
        turns.ended(new, true, now);
        assert!(turns.begin(&[], now).is_empty() && turns.waiting.is_empty());
    }
}
