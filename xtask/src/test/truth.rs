//! The C program that knows how many calls it makes: what the live tests' counts are held against.

use crate::sh;
use anyhow::Result;
use std::{path::PathBuf, process::Command};

/// Where the live tests look for it (cargo's `CARGO_TARGET_TMPDIR`).
pub(super) fn path() -> PathBuf {
    sh::workspace().join("target/tmp/truth")
}

/// Builds it, statically, so that it runs in a guest as it is.
pub(super) fn build() -> Result<()> {
    let program = path();
    if let Some(directory) = program.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let source = sh::workspace().join("tracer-daemon/tests/live/truth.c");
    let flags = ["-static", "-O1", "-Wall", "-Werror", "-pthread", "-o"];
    sh::run(Command::new("cc").args(flags).args([&program, &source]))
}
