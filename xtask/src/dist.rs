//! `cargo xtask dist`: what machines install.

use crate::{
    cargo, setup,
    sh::{self, run},
};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Maintained, MIT, and knows how Debian wants units and maintainer scripts.
const CARGO_DEB: &str = "3.8.0";

/// Bytes that the program may have.
const LARGEST: u64 = 20 << 20;

/// Makes the packages in target/dist.
pub(crate) fn make() -> Result<()> {
    setup::ensure(&[setup::Group::Build, setup::Group::Dist])?;
    let folder = build()?;
    for package in [debian(&folder, 1)?, rpm(&folder)?] {
        eprintln!("dist: {}", package.display());
    }
    Ok(())
}

/// Makes the Debian package, as tracer-daemon's Cargo.toml describes it; what is installed gives way to a higher revision.
pub(crate) fn debian(folder: &Path, revision: u32) -> Result<PathBuf> {
    let package =
        folder.join(format!("alloctrace_{}-{revision}_amd64.deb", env!("CARGO_PKG_VERSION")));
    let tool = setup::cargo_tool("cargo-deb", CARGO_DEB)?;
    let mut make = Command::new(tool);
    make.current_dir(sh::workspace())
        .args(["--quiet", "--no-build", "--package", "tracer-daemon"])
        .args(["--deb-revision", &revision.to_string()])
        .arg("--output")
        .arg(&package);
    run(&mut make)?;
    Ok(package)
}

/// Makes the package for Fedora and its kin, as deploy/rpm describes it.
pub(crate) fn rpm(folder: &Path) -> Result<PathBuf> {
    let scratch = folder.join("rpmbuild");
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("alloctrace-{version}-1.x86_64.rpm");
    let mut make = Command::new("rpmbuild");
    make.args(["-bb", "--quiet", "--target", "x86_64"]);
    for (key, value) in [
        ("version", version),
        ("built", &folder.display().to_string()),
        ("repository", &sh::workspace().display().to_string()),
        ("_topdir", &scratch.display().to_string()),
        ("_rpmdir", &folder.display().to_string()),
        ("_rpmfilename", &name),
        ("_binary_payload", "w7.xzdio"),
        // What it would do to files is done, and its scripts want a bash for sh.
        ("__os_install_post", "%{nil}"),
        ("_build_id_links", "none"),
    ] {
        make.args(["--define", &format!("{key} {value}")]);
    }
    run(make.arg(sh::workspace().join("deploy/rpm/alloctrace.spec")))?;
    fs::remove_dir_all(scratch)?;
    Ok(folder.join(name))
}

/// Builds the program and what it writes itself; where they are, and packages are to be.
pub(crate) fn build() -> Result<PathBuf> {
    eprintln!("dist: building");
    let built =
        cargo::build(&["build", "--release", "--locked", "--package", "tracer-daemon", "--bins"])?;
    let alloctrace = built.iter().find(|built| built.name == "alloctrace");
    let alloctrace = &alloctrace.context("cargo built no `alloctrace`")?.path;
    let folder = sh::workspace().join("target/dist");
    run(Command::new(alloctrace).arg("generate").arg(folder.join("generated")))?;
    let stripped = folder.join("alloctrace");
    run(Command::new("strip").arg("-o").args([&stripped, alloctrace]))?;
    let bytes = fs::metadata(&stripped)?.len();
    if bytes > LARGEST {
        bail!("alloctrace has {bytes} bytes, more than {LARGEST}: what has made it grow?");
    }
    Ok(folder)
}
