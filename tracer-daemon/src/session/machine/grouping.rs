use std::time::Duration;

use tracer_common::TICK_NS;

use crate::census::GroupRules;

/// How processes are put into groups.
#[derive(Clone, Debug, PartialEq)]
pub struct Grouping {
    /// These come first.
    pub rules: GroupRules,
    /// Groups with names of processes.
    pub most: usize,
    /// From this age on a process may begin a group, and sooner where the group's name is lasting.
    pub minimum_age: Duration,
}

impl Default for Grouping {
    /// A group has some 30 series, and a machine less than 5,000 that way. Commands that somebody types
    /// end within a second.
    fn default() -> Self {
        Self { rules: GroupRules::default(), most: 150, minimum_age: Duration::from_secs(1) }
    }
}

impl Grouping {
    /// Whether a process that was forked then, in ticks since boot, is old enough to begin a group.
    pub(super) fn is_of_age(&self, forked: u64, now: u64) -> bool {
        let age = Duration::from_nanos(now.saturating_sub(forked).saturating_mul(TICK_NS));
        age >= self.minimum_age
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_come_of_age() {
        let grouping = Grouping { minimum_age: Duration::from_secs(2), ..Grouping::default() };
        assert!(!grouping.is_of_age(1000, 1199) && grouping.is_of_age(1000, 1200));
        assert!(!grouping.is_of_age(1000, 0), "a clock that goes back makes nobody old");
        let any_age = Grouping { minimum_age: Duration::ZERO, ..grouping };
        assert!(any_age.is_of_age(1000, 0));
    }
}
