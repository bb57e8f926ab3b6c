//! `cargo xtask setup`: everything that building and testing need beyond rustup's stable.

mod linker;
mod packages;
mod toolchain;

use crate::{cargo, sh};
use anyhow::Result;
use clap::ValueEnum;
use std::path::PathBuf;

/// What to set up
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What else to prepare for; building is always included
    #[arg(long, value_delimiter = ',')]
    with: Vec<Group>,
}

/// A purpose, and the packages that it needs.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// The tracer and its BPF programs
    Build,
    /// The live tests and the virtual machines
    Test,
    /// The benchmarks, and the tracers that they compare with
    Bench,
    /// The packages for others
    Dist,
    /// The package on a machine with systemd
    Service,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure(&[&[Group::Build], args.with.as_slice()].concat())?;
    eprintln!(
        "setup: done; the BPF toolchain is described in {}",
        toolchain::description().display()
    );
    Ok(())
}

/// Makes sure of what `groups` need, installing only what is missing.
pub(crate) fn ensure(groups: &[Group]) -> Result<()> {
    let mut needs = Vec::new();
    for group in groups {
        needs.extend_from_slice(group.needs());
    }
    packages::ensure(&needs)?;
    if groups.contains(&Group::Build) {
        let toolchain = toolchain::find()?;
        let linker = linker::install(toolchain.llvm)?;
        toolchain.describe(&linker)?;
    }
    Ok(())
}

/// A program that cargo installs, of this version, built unless it is there.
pub(crate) fn cargo_tool(name: &str, version: &str) -> Result<PathBuf> {
    let mut command = cargo::cargo();
    command.args(["install", "--quiet", "--locked", name, "--version", version]);
    sh::run(command.arg("--root").arg(tools()))?;
    Ok(tools().join("bin").join(name))
}

/// Where the project keeps tools that are its own.
fn tools() -> PathBuf {
    sh::workspace().join("target/tools")
}

impl Group {
    /// Debian packages, each with a program that shows it is there where dpkg cannot be asked.
    fn needs(self) -> &'static [packages::Need] {
        match self {
            Self::Build => &[("gcc", "gcc"), ("libc6-dev", "gcc")],
            Self::Test => &[
                ("gcc", "gcc"),
                ("libc6-dev", "gcc"),
                ("qemu-system-x86", "qemu-system-x86_64"),
                ("busybox-static", "busybox"),
                ("cpio", "cpio"),
                ("strace", "strace"),
                ("linux-perf", "perf"),
                ("redis-server", "redis-server"),
                ("redis-tools", "redis-benchmark"),
                ("python3", "python3"),
                ("nginx", "nginx"),
                ("curl", "curl"),
                ("tmux", "tmux"),
                ("g++", "g++"),
                ("musl-tools", "musl-gcc"),
                ("chromium", "chromium"),
                ("prometheus", "prometheus"),
                // For `go tool pprof`, and a program that has Go's allocator.
                ("golang-go", "go"),
                // Libraries show themselves by no program; without them their tests are skipped.
                ("libjemalloc2", "gcc"),
                ("libtcmalloc-minimal4", "gcc"),
                ("libmimalloc2.0", "gcc"),
            ],
            Self::Dist => {
                &[("dpkg-dev", "dpkg-shlibdeps"), ("binutils", "strip"), ("rpm", "rpmbuild")]
            }
            Self::Service => &[
                ("gcc", "gcc"),
                ("libc6-dev", "gcc"),
                ("qemu-system-x86", "qemu-system-x86_64"),
                ("busybox-static", "busybox"),
                ("cpio", "cpio"),
                ("debootstrap", "debootstrap"),
                ("e2fsprogs", "mke2fs"),
            ],
            Self::Bench => &[
                ("bpftrace", "bpftrace"),
                ("strace", "strace"),
                ("prometheus-process-exporter", "prometheus-process-exporter"),
            ],
        }
    }
}
