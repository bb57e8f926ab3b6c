//! `cargo xtask lint`: what a change must pass before anyone reads it.

use crate::{cargo::cargo, setup, sh};
use anyhow::Result;

/// Checks formatting everywhere, then runs clippy on the workspace.
pub(crate) fn run() -> Result<()> {
    sh::run(cargo().args(["fmt", "--all", "--check"]))?;
    // A workspace of its own: `--all` does not reach it.
    sh::run(cargo().args(["fmt", "--check", "--manifest-path", "tracer-ebpf/Cargo.toml"]))?;
    setup::ensure(&[setup::Group::Build])?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    sh::run(cargo().args(clippy))
}
