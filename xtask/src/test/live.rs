//! The live tests on this machine's own kernel.

use super::{Tally, run_tests};
use crate::{cargo::Artifact, sh};
use anyhow::{Context, Result};
use std::{path::Path, process::Command};

/// The test target that needs root and traces real processes.
pub(super) const TARGET: &str = "live";

/// Runs them, or says why not.
pub(super) fn run(built: &[Artifact]) -> Result<Tally> {
    let live = find(built)?;
    if !sh::is_root() {
        return Ok(Tally::skip(count(live), "tracing needs root"));
    }
    // Where cargo itself runs a package's tests.
    run_tests(Command::new(live).current_dir(sh::workspace().join("tracer-daemon")))
}

/// The harness that cargo built.
pub(super) fn find(built: &[Artifact]) -> Result<&Path> {
    let live = built.iter().find(|built| built.kind == "test" && built.name == TARGET);
    Ok(&live.with_context(|| format!("tracer-daemon has no test target `{TARGET}`"))?.path)
}

/// How many tests there are to skip; at least the one that a missing list stands for.
pub(super) fn count(live: &Path) -> usize {
    let list =
        sh::output(Command::new(live).args(["--list", "--format", "terse"])).unwrap_or_default();
    list.lines().filter(|line| line.ends_with(": test")).count().max(1)
}
