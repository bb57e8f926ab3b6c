//! Waits for the lock of the address space, by side and by the call that waited.

use std::collections::{BTreeMap, HashMap};

use tracer_common::{LockKey, LockWaits, Syscall};

use super::{counters::Sum, snapshot::LockWait};

/// How a lock is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LockSide {
    /// Together with other readers: faults, and whoever reads `/proc/PID/maps`.
    Read,
    /// Alone: whatever changes mappings.
    Write,
}

impl LockSide {
    /// The side that a key counts.
    #[must_use]
    pub const fn of(key: &LockKey) -> Self {
        if key.write == 0 { Self::Read } else { Self::Write }
    }

    /// The name in recordings and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Waited in none of the calls that are measured, which means faults for the most part.
const OTHER: &str = "other";

/// The waits of all processes, longest first.
#[must_use]
pub fn waits(counters: &HashMap<LockKey, LockWaits>) -> Vec<LockWait> {
    let mut sums: BTreeMap<_, LockWaits> = BTreeMap::new();
    for (key, waits) in counters {
        let sum = sums.entry((LockSide::of(key), key.call, key.traced != 0)).or_default();
        *sum = sum.plus(*waits);
    }
    let mut rows: Vec<_> = sums
        .into_iter()
        .map(|((side, call, during_census), sum)| LockWait {
            side: side.name().to_owned(),
            call: name(call).to_owned(),
            during_census,
            waits: sum.waits,
            seconds: sum.wait_ns as f64 / 1e9,
        })
        .collect();
    rows.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    rows
}

fn name(call: u32) -> &'static str {
    call.checked_sub(1).and_then(Syscall::from_u32).map_or(OTHER, Syscall::name)
}

#[cfg(test)]
mod tests {
    use tracer_common::ProcessId;

    use super::*;

    #[test]
    fn waits_add_up_over_processes_and_the_tracers_own_stay_apart() {
        let key = |pid, call, write, traced| LockKey {
            process: ProcessId::new(pid, 1),
            call,
            write,
            traced,
        };
        let waits_of = |waits, wait_ns| LockWaits { waits, wait_ns, ..LockWaits::default() };
        let counters = HashMap::from([
            (key(1, Syscall::Munmap as u32 + 1, 1, 0), waits_of(2, 2_000)),
            (key(2, Syscall::Munmap as u32 + 1, 1, 0), waits_of(3, 3_000)),
            (key(1, 0, 0, 0), waits_of(1, 9_000)),
            (key(1, 0, 0, 1), waits_of(1, 1_000)),
        ]);
        let rows = waits(&counters);
        let shown: Vec<_> = rows
            .iter()
            .map(|row| (row.side.as_str(), row.call.as_str(), row.during_census, row.waits))
            .collect();
        let expected = [
            ("read", "other", false, 1),
            ("write", "munmap", false, 5),
            ("read", "other", true, 1),
        ];
        assert_eq!(shown, expected);
    }
}
