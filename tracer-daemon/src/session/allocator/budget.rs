//! When the probes on an allocator have to come out, and for how long. Pure: times are arguments.

use std::time::Duration;

/// Bytes of allocations per sampled stack, on average. A program that takes a gigabyte a second from its
/// allocator pays for two thousand stacks in it.
pub const SAMPLING_GAP: u32 = 512 << 10;

/// So much may be taken ahead of the time that pays for it: a burst of calls is no reason to leave.
const CREDIT: Duration = Duration::from_millis(20);

/// Nobody waits longer for the probes to come back.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The part of the target's time that probes on its allocator may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget(f64);

impl Default for Budget {
    /// A hundredth.
    fn default() -> Self {
        Self(0.01)
    }
}

impl Budget {
    /// A share, above 0 and at most 1; 1: every call is to be counted, whatever it costs.
    #[must_use]
    pub fn new(share: f64) -> Option<Self> {
        (share > 0.0 && share <= 1.0).then_some(Self(share))
    }

    /// The part of the time.
    #[must_use]
    pub const fn share(self) -> f64 {
        self.0
    }

    /// An equal part for each of so many targets.
    #[must_use]
    pub fn among(self, targets: usize) -> Self {
        Self(self.0 / targets.max(1) as f64)
    }

    /// Whether probes may be in at all times.
    pub(super) fn is_unbounded(self) -> bool {
        self.0 >= 1.0
    }

    /// Bytes between samples, as in [`tracer_common::Control`]. Where the budget is short a moment has to
    /// tell enough, and what samples may cost is known: a part of what the calls do.
    pub(super) fn gap(self) -> u32 {
        if self.is_unbounded() { SAMPLING_GAP } else { 0 }
    }

    /// Whether probes that have taken `spent` in the first `time` of the window have to come out.
    pub(super) fn is_exceeded(self, spent: Duration, time: Duration) -> bool {
        !self.is_unbounded() && spent > time.mul_f64(self.0) + CREDIT
    }

    /// Whether as much as this may be taken in all of the window, of which it is what `time` would take.
    pub(super) fn allows(self, cost: Duration, time: Duration) -> bool {
        self.is_unbounded() || cost <= time.mul_f64(self.0)
    }

    /// Whether results have to be left out for the sake of the calls.
    pub(super) fn is_short(self, spent: Duration, time: Duration) -> bool {
        !self.is_unbounded() && spent > time.mul_f64(self.0) + CREDIT / 2
    }

    /// How long the probes have to stay out until all that was `spent` is paid for, and for about as long as
    /// pays for the `last` of it: half of that, and as long again by chance, of which `random` is the share.
    /// Where earlier pauses have paid for more, this one is no shorter, for moments stand for the time before
    /// them, and few long pauses would outweigh all others. `None`: longer than anybody would wait.
    pub(super) fn pause(
        self,
        spent: Duration,
        last: Duration,
        time: Duration,
        random: f64,
    ) -> Option<Duration> {
        let pays = |cost: Duration| Duration::try_from_secs_f64(cost.as_secs_f64() / self.0).ok();
        let debt = pays(spent.saturating_sub(time.mul_f64(self.0)))?;
        let usual = pays(last)?.mul_f64(0.5 + random);
        (debt <= LONGEST_PAUSE).then(|| debt.max(usual).min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_budget_is_a_share() {
        for share in [0.0, -0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Budget::new(share), None, "{share}");
        }
        assert!(Budget::new(1.0).unwrap().is_unbounded());
        assert!(!Budget::new(0.99).unwrap().is_unbounded());
    }

    #[test]
    fn targets_share_a_budget() {
        let budget = Budget::new(0.02).unwrap();
        assert_eq!(budget.among(4), Budget::new(0.005).unwrap());
        assert_eq!((budget.among(1), budget.among(0)), (budget, budget));
    }

    #[test]
    fn probes_stay_in_while_time_pays_for_them() {
        let budget = Budget::new(0.01).unwrap();
        assert!(!budget.is_exceeded(ms(20), ms(0)), "the credit");
        assert!(budget.is_exceeded(ms(21), ms(0)));
        assert!(!budget.is_exceeded(ms(30), ms(1000)), "10 ms were earned");
        assert!(budget.is_exceeded(ms(31), ms(1000)));
        assert!(!Budget::new(1.0).unwrap().is_exceeded(ms(5000), ms(1000)));
    }

    #[test]
    fn what_is_known_beforehand_may_take_the_budget_and_no_credit() {
        let budget = Budget::new(0.01).unwrap();
        assert!(budget.allows(ms(1), ms(100)));
        assert!(!budget.allows(ms(2), ms(100)));
        assert!(Budget::new(1.0).unwrap().allows(ms(200), ms(100)));
    }

    #[test]
    fn results_go_before_calls_do() {
        let budget = Budget::new(0.01).unwrap();
        assert!(!budget.is_short(ms(20), ms(1000)));
        assert!(budget.is_short(ms(21), ms(1000)) && !budget.is_exceeded(ms(21), ms(1000)));
        assert!(!Budget::new(1.0).unwrap().is_short(ms(5000), ms(1000)));
    }

    #[test]
    fn a_pause_pays_for_what_was_spent() {
        let budget = Budget::new(0.01).unwrap();
        assert_eq!(budget.pause(ms(30), ms(5), ms(1000), 0.0), Some(ms(2000)));
        assert_eq!(budget.pause(ms(30), ms(25), ms(1000), 0.75), Some(ms(3125)));
        assert_eq!(budget.pause(ms(10), ms(4), ms(1000), 0.5), Some(ms(400)), "nothing is owed");
        assert_eq!(budget.pause(ms(601), ms(601), ms(0), 0.0), None, "a minute and more");
    }

    #[test]
    fn a_whole_run_keeps_within_its_budget_and_credit() {
        let budget = Budget::new(0.01).unwrap();
        let (mut time, mut spent) = (ms(0), ms(0));
        let (switch, tick, leaving, end) = (ms(2), ms(20), ms(110), ms(120_000));
        while time < end {
            let before = spent;
            // A thread that does nothing but hit probes, also while they come out.
            spent += switch;
            while !budget.is_exceeded(spent, time) {
                (time, spent) = (time + tick, spent + tick);
            }
            (time, spent) = (time + leaving, spent + leaving);
            time += budget.pause(spent + switch, spent - before, time, 0.3).unwrap();
        }
        assert!(spent <= time.mul_f64(0.01), "{spent:?} in {time:?}");
    }
}
