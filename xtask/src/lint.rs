//! `cargo xtask lint`: what a change must pass before anyone reads it.

use crate::{cargo::cargo, setup, sh};
use anyhow::{Context, Result};
use std::process::Command;

/// Checks formatting everywhere, then runs clippy on the workspace.
pub(crate) fn run() -> Result<()> {
    sh::run(cargo().args(["fmt", "--all", "--check"]))?;
    // A workspace of its own: `--all` does not reach it.
    sh::run(cargo().args(["fmt", "--check", "--manifest-path", "tracer-ebpf/Cargo.toml"]))?;
    unit()?;
    setup::ensure(&[setup::Group::Build])?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    sh::run(cargo().args(clippy))
}

/// Holds the service to what it may at most be exposed to, where systemd can tell.
fn unit() -> Result<()> {
    let unit = sh::workspace().join("deploy/systemd/alloctrace.service");
    let Some(analyze) = sh::find("systemd-analyze") else { return Ok(()) };
    let mut command = Command::new(analyze);
    // In tenths, of 10.
    command.args(["security", "--offline=true", "--threshold=25", "--no-pager"]).arg(&unit);
    sh::output(&mut command)
        .map(drop)
        .with_context(|| format!("{} is exposed to more than 2.5 of 10", unit.display()))
}
