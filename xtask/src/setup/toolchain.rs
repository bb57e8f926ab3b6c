//! A compiler for BPF and the linker that matches its LLVM.

use super::{linker, packages, tools};
use crate::{cargo, sh};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];

/// A compiler that can build for `bpfel-unknown-none`.
pub(crate) struct Toolchain {
    rustc: PathBuf,
    cargo: PathBuf,
    build_std: bool,
    /// The major version of its LLVM, which the linker's must match.
    pub(crate) llvm: u32,
}

/// Where the toolchain is described for tracer-daemon's build script.
pub(crate) fn description() -> PathBuf {
    tools().join("bpf-toolchain")
}

/// Rustup's nightly where it is complete, else Debian's set.
pub(crate) fn find() -> Result<Toolchain> {
    if let Some(nightly) = nightly().filter(|nightly| linker::to_be_had(nightly.llvm)) {
        return Ok(nightly);
    }
    debian().context(
        "no toolchain can build BPF; either `rustup toolchain install nightly --component rust-src`, \
         or a Debian with rustc-web and libstd-rust-web-dev-bpf",
    )
}

fn nightly() -> Option<Toolchain> {
    let which =
        |tool| sh::output(Command::new("rustup").args(["which", "--toolchain", "nightly", tool]));
    let rustc = PathBuf::from(which("rustc").ok()?.trim());
    let cargo = PathBuf::from(which("cargo").ok()?.trim());
    let sysroot = sh::output(Command::new(&rustc).args(["--print", "sysroot"])).ok()?;
    let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core");
    let llvm = llvm_of(&rustc).ok()?;
    core.is_dir().then_some(Toolchain { rustc, cargo, build_std: true, llvm })
}

fn debian() -> Result<Toolchain> {
    if sh::find("dpkg-query").is_none() {
        bail!("rustup has no nightly with rust-src, and this is not a Debian");
    }
    packages::install(&DEBIAN_PACKAGES)?;
    let rustc = PathBuf::from(DEBIAN_RUSTC);
    let llvm = llvm_of(&rustc)?;
    let cargo = cargo::cargo().get_program().into();
    Ok(Toolchain { rustc, cargo, build_std: false, llvm })
}

impl Toolchain {
    /// Writes the description, unless it says so already: cargo watches the file's time.
    pub(crate) fn describe(&self, linker: &Path) -> Result<()> {
        let text = format!(
            "RUSTC={}\nBUILD_STD={}\nLINKER={}\nCARGO={}\n",
            self.rustc.display(),
            u8::from(self.build_std),
            linker.display(),
            self.cargo.display(),
        );
        let file = description();
        if fs::read_to_string(&file).is_ok_and(|old| old == text) {
            return Ok(());
        }
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}

fn llvm_of(rustc: &Path) -> Result<u32> {
    let version = sh::output(Command::new(rustc).arg("-vV"))?;
    llvm_major(&version).with_context(|| format!("`{} -vV` names no LLVM version", rustc.display()))
}

fn llvm_major(version: &str) -> Option<u32> {
    let line = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    line.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_llvm_version_is_read_from_rustc() {
        assert_eq!(
            super::llvm_major("rustc 1.96.0\nrelease: 1.96.0\nLLVM version: 22.1.8\n"),
            Some(22)
        );
        assert_eq!(super::llvm_major("rustc 1.96.0\n"), None);
    }
}
