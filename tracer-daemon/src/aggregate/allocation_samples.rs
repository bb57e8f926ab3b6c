//! What calls of the allocator and waits stand for that were sampled by their sizes.

use tracer_common::{AllocationSample, FutexWait};

use super::stacks::StackSum;

/// All calls of its kind, in calls and bytes.
#[must_use]
pub fn stands_for(sample: &AllocationSample) -> StackSum {
    let (count, bytes) = estimate(sample.bytes, sample.gap.into(), sample.header.time_ns);
    StackSum { count, bytes, duration_ns: 0 }
}

/// The same of a wait that was sampled by its time, in waits and nanoseconds.
#[must_use]
pub fn wait_stands_for(wait: &FutexWait) -> StackSum {
    let (count, duration_ns) = estimate(wait.duration_ns, wait.gap_ns, wait.header.time_ns);
    StackSum { count, bytes: 0, duration_ns }
}

/// The samples' gaps are distributed exponentially, so that what is of `size` is met with a probability of
/// `1 - exp(-size / gap)`, and stands for as many of its kind as its inverse: their number and sizes.
fn estimate(size: u64, gap: u64, time_ns: u64) -> (u64, u64) {
    let met = -f64::exp_m1(-(size as f64).max(1.0) / gap as f64);
    let number = met.recip();
    (whole(number, time_ns), (number * size as f64) as u64)
}

/// A whole number that is `number` on average: up or down by chance, of which the time has enough.
/// Always down, calls about as large as the gap would be a third too few.
fn whole(number: f64, time_ns: u64) -> u64 {
    /// Spreads what follows each other evenly over all numbers: 2^64 by the golden ratio.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let chance = time_ns.wrapping_mul(SPREAD) as f64 / 2f64.powi(64);
    (number + chance) as u64
}

#[cfg(test)]
mod tests {
    use tracer_common::{Header, ProcessId, RecordKind, exponential_gap};

    use super::*;

    const GAP: u32 = 512 << 10;

    fn sample(bytes: u64, gap: u32, time_ns: u64) -> StackSum {
        let kind = RecordKind::AllocationStack as u32;
        let header = Header { kind, tid: 1, process: ProcessId::new(1, 1), time_ns };
        stands_for(&AllocationSample { header, bytes, call: 0, gap })
    }

    #[test]
    fn a_small_call_stands_for_its_gap_and_a_large_one_for_itself() {
        for (bytes, calls) in [(1, 524_288), (100, 5_243), (1 << 10, 512), (1 << 30, 1)] {
            let sum = sample(bytes, GAP, 0);
            assert!(sum.count.abs_diff(calls) <= 1, "{bytes}: {sum:?}");
            let share = sum.bytes as f64 / (calls * bytes) as f64;
            assert!((share - 1.0).abs() < 0.01, "{bytes}: {sum:?}");
        }
        assert_eq!(sample(64, 0, 9), StackSum { count: 1, bytes: 64, duration_ns: 0 });
        assert_eq!(sample(u64::MAX, GAP, 0).bytes, u64::MAX);
        assert_eq!(sample(0, GAP, 0).bytes, 0);
    }

    #[test]
    fn fractions_of_calls_are_not_lost() {
        let times = (0..1000).map(|call| call * 1_234_567);
        let calls: u64 = times.map(|time| sample(u64::from(GAP), GAP, time).count).sum();
        // Each is 1 / (1 - 1/e) = 1.582.
        assert!(calls.abs_diff(1582) < 10, "{calls}");
    }

    /// As the kernel program samples, so that what comes out is what went in: a size at a time, and
    /// all of them mixed.
    #[test]
    fn sums_are_those_of_all_calls() {
        const CALLS: u64 = 200_000;
        let mut random = 1_u32;
        let mut draw = || {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            random
        };
        for sizes in [[100, 100, 100], [40_000, 40_000, 40_000], [16, 70_000, 600_000]] {
            let (mut truth, mut calls, mut bytes) = (0, 0, 0);
            let mut countdown = u64::from(exponential_gap(draw(), GAP));
            for (call, size) in (0..CALLS).zip(sizes.into_iter().cycle()) {
                truth += size;
                if size < countdown {
                    countdown -= size;
                    continue;
                }
                countdown = exponential_gap(draw(), GAP).into();
                let sum = sample(size, GAP, call * 977);
                (calls, bytes) = (calls + sum.count, bytes + sum.bytes);
            }
            // A few dozen samples of the smallest, thousands of the others.
            let samples = truth as f64 / f64::from(GAP);
            let tolerance = 5.0 / samples.sqrt();
            let error = (bytes as f64 / truth as f64 - 1.0).abs();
            assert!(error < tolerance, "{sizes:?}: {bytes} of {truth}");
            if sizes[0] == sizes[1] {
                let error = (calls as f64 / CALLS as f64 - 1.0).abs();
                assert!(error < tolerance, "{sizes:?}: {calls} calls");
            }
        }
    }
}
