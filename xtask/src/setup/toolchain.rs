//! A compiler for BPF and the linker that matches its LLVM.

use super::packages;
use crate::{cargo, sh};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];
const LINKER_VERSION: &str = "0.13.0";
/// The LLVM versions that this bpf-linker can be built with.
const LINKER_LLVMS: std::ops::RangeInclusive<u32> = 21..=23;

/// A compiler that can build for `bpfel-unknown-none`.
pub(crate) struct Toolchain {
    rustc: PathBuf,
    cargo: PathBuf,
    build_std: bool,
    llvm: u32,
}

/// Where the toolchain is described for tracer-daemon's build script.
pub(crate) fn description() -> PathBuf {
    tools().join("bpf-toolchain")
}

/// Rustup's nightly where it is complete, else Debian's set.
pub(crate) fn find() -> Result<Toolchain> {
    if let Some(nightly) = nightly().filter(Toolchain::can_link) {
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
    core.is_dir().then_some(Toolchain {
        rustc,
        cargo,
        build_std: true,
        llvm,
    })
}

fn debian() -> Result<Toolchain> {
    if sh::find("dpkg-query").is_none() {
        bail!("rustup has no nightly with rust-src, and this is not a Debian");
    }
    packages::install(&DEBIAN_PACKAGES)?;
    let rustc = PathBuf::from(DEBIAN_RUSTC);
    let llvm = llvm_of(&rustc)?;
    let cargo = cargo::cargo().get_program().into();
    Ok(Toolchain {
        rustc,
        cargo,
        build_std: false,
        llvm,
    })
}

impl Toolchain {
    fn llvm_prefix(&self) -> PathBuf {
        format!("/usr/lib/llvm-{}", self.llvm).into()
    }

    /// A nightly can be ahead of every LLVM to be had, and then the next toolchain must do.
    fn can_link(&self) -> bool {
        let at_hand = || self.llvm_prefix().join("bin/llvm-config").is_file();
        LINKER_LLVMS.contains(&self.llvm)
            && (at_hand() || packages::available(&format!("llvm-{}-dev", self.llvm)))
    }

    /// Builds bpf-linker unless it is there; cargo knows, by version and features.
    pub(crate) fn install_linker(&self) -> Result<PathBuf> {
        let llvm = self.llvm;
        if !LINKER_LLVMS.contains(&llvm) {
            bail!(
                "bpf-linker {LINKER_VERSION} cannot use LLVM {llvm}, which {} has",
                self.rustc.display()
            );
        }
        if sh::find("dpkg-query").is_some() {
            let (headers, polly) = (format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev"));
            packages::install(&[&headers, &polly, "zlib1g-dev", "libzstd-dev"])?;
        }
        let linker = tools().join("bin/bpf-linker");
        if !linker.exists() {
            eprintln!("setup: building bpf-linker (a minute or two, once)");
        }
        let feature = format!("llvm-{llvm}");
        let install = [
            "install",
            "--quiet",
            "--locked",
            "bpf-linker",
            "--version",
            LINKER_VERSION,
        ];
        let mut command = cargo::cargo();
        command
            .args(install)
            .args(["--no-default-features", "--features", &feature, "--root"])
            .arg(tools());
        sh::run(command.env("LLVM_PREFIX", self.llvm_prefix()))?;
        Ok(linker)
    }

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

fn tools() -> PathBuf {
    sh::workspace().join("target/tools")
}

fn llvm_of(rustc: &Path) -> Result<u32> {
    let version = sh::output(Command::new(rustc).arg("-vV"))?;
    llvm_major(&version).with_context(|| format!("`{} -vV` names no LLVM version", rustc.display()))
}

fn llvm_major(version: &str) -> Option<u32> {
    let line = version
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
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
