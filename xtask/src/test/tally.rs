//! Counting, from the lines that test harnesses print.

use std::fmt;

/// What became of some tests.
#[derive(Default)]
pub(crate) struct Tally {
    pub(super) passed: usize,
    pub(crate) failed: usize,
    pub(super) skipped: usize,
    /// Which were skipped, and why.
    pub(super) skips: Vec<String>,
    /// Which failed.
    pub(super) failures: Vec<String>,
}

impl Tally {
    /// Reads what `program` printed. One that dies without a verdict is a failure by itself.
    pub(super) fn of(log: &str, success: bool, program: &str) -> Self {
        let mut tally = Self::default();
        let mut verdicts = 0;
        for line in log.lines() {
            if let Some(result) = line.strip_prefix("test result: ") {
                verdicts += 1;
                tally.passed += count(result, "passed");
                tally.failed += count(result, "failed");
                tally.skipped += count(result, "ignored");
            } else if let Some((name, outcome)) = outcome(line) {
                tally.note(name, outcome);
            }
        }
        if !success && tally.failed == 0 {
            tally.fail(format!("{program} failed outside its tests"));
        } else if success && verdicts == 0 {
            tally.fail(format!("{program} printed no test result"));
        }
        tally
    }

    /// So many tests that could not run.
    pub(super) fn skip(tests: usize, reason: &str) -> Self {
        Self { skipped: tests, skips: vec![format!("{tests} tests: {reason}")], ..Self::default() }
    }

    /// Counts a failure that is not a test's.
    pub(super) fn fail(&mut self, what: String) {
        self.failed += 1;
        self.failures.push(what);
    }

    /// Adds the counts of another.
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.skips.extend(other.skips);
        self.failures.extend(other.failures);
    }

    fn note(&mut self, name: &str, outcome: &str) {
        if let Some(reason) = outcome.strip_prefix("ignored") {
            // libtest writes `ignored, why`, libtest-mimic `ignored (why)`; a test whose
            // surroundings are missing has the reason in its name.
            if name.contains("(skipped: ") {
                self.skips.push(name.to_owned());
                return;
            }
            let reason = reason.trim_matches([',', ' ', '(', ')']);
            let reason = if reason.is_empty() { "it gives no reason" } else { reason };
            self.skips.push(format!("{name}: {reason}"));
        } else if outcome.starts_with("FAILED") {
            self.failures.push(name.to_owned());
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The number before `word`, as in `ok. 3 passed; 0 failed`.
fn count(result: &str, word: &str) -> usize {
    let mut parts = result.split(['.', ';']).map(str::trim);
    parts.find_map(|part| part.strip_suffix(word)?.trim().parse().ok()).unwrap_or(0)
}

/// A test's name and outcome, as in `test decode::short ... ok`.
fn outcome(line: &str) -> Option<(&str, &str)> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    Some((name.trim(), outcome))
}

#[cfg(test)]
mod tests {
    use super::Tally;

    const LOG: &str = "running 4 tests
test a::passes        ... ok
test a::is_left_out   ... ignored, the kernel has no kprobes
test a::is_too_new    ... ignored (no BTF)
test a::fails         ... FAILED
test result: FAILED. 1 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.1s
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out
";

    #[test]
    fn counts_and_reasons_are_read() {
        let tally = Tally::of(LOG, false, "tests");
        assert_eq!(tally.to_string(), "3 passed, 1 failed, 2 skipped");
        assert_eq!(
            tally.skips,
            ["a::is_left_out: the kernel has no kprobes", "a::is_too_new: no BTF"]
        );
        assert_eq!(tally.failures, ["a::fails"]);
    }

    #[test]
    fn a_harness_that_dies_is_a_failure() {
        assert_eq!(Tally::of("running 3 tests\n", false, "tests").failed, 1);
        assert_eq!(Tally::of("running 3 tests\n", true, "tests").failed, 1);
        assert_eq!(Tally::of("test result: ok. 0 passed; 0 failed;\n", true, "tests").failed, 0);
    }
}
