//! `cargo xtask dist`: what machines install.

use crate::{
    cargo, setup,
    sh::{self, run},
};
use anyhow::{Context, Result};
use std::process::Command;

/// Maintained, MIT, and knows how Debian wants units and maintainer scripts.
const CARGO_DEB: &str = "3.8.0";

/// Makes the Debian package, as tracer-daemon's Cargo.toml describes it, in target/dist.
pub(crate) fn make() -> Result<()> {
    setup::ensure(&[setup::Group::Build, setup::Group::Dist])?;
    eprintln!("dist: building");
    let built =
        cargo::build(&["build", "--release", "--locked", "--package", "tracer-daemon", "--bins"])?;
    let alloctrace = built.iter().find(|built| built.name == "alloctrace");
    let alloctrace = &alloctrace.context("cargo built no `alloctrace`")?.path;
    let folder = sh::workspace().join("target/dist");
    run(Command::new(alloctrace).arg("generate").arg(folder.join("generated")))?;
    let tool = setup::cargo_tool("cargo-deb", CARGO_DEB)?;
    let mut package = Command::new(tool);
    package.current_dir(sh::workspace()).args([
        "--quiet",
        "--no-build",
        "--package",
        "tracer-daemon",
    ]);
    run(package.arg("--output").arg(&folder))?;
    eprintln!("dist: in {}", folder.display());
    Ok(())
}
