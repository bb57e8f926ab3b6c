//! bpf-linker, built against the LLVM of the compiler whose output it links.

use super::{packages, tools};
use crate::{cargo, sh};
use anyhow::{Result, bail};
use std::{ops::RangeInclusive, path::PathBuf};

const VERSION: &str = "0.13.0";
/// The LLVM versions that this bpf-linker can be built with.
const LLVMS: RangeInclusive<u32> = 21..=23;

/// Whether it can be built for this LLVM: a nightly can be ahead of all that Debian has.
pub(crate) fn to_be_had(llvm: u32) -> bool {
    let at_hand = || prefix(llvm).join("bin/llvm-config").is_file();
    LLVMS.contains(&llvm) && (at_hand() || packages::available(&format!("llvm-{llvm}-dev")))
}

/// Builds it unless it is there; cargo knows, by version and features.
pub(crate) fn install(llvm: u32) -> Result<PathBuf> {
    if !LLVMS.contains(&llvm) {
        bail!("bpf-linker {VERSION} cannot use LLVM {llvm}, which is that of the BPF compiler");
    }
    if sh::find("dpkg-query").is_some() {
        let (headers, polly) = (format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev"));
        packages::install(&[&headers, &polly, "zlib1g-dev", "libzstd-dev"])?;
    }
    let linker = tools().join("bin/bpf-linker");
    if !linker.exists() {
        eprintln!("setup: building bpf-linker (a minute or two, once)");
    }
    let mut command = cargo::cargo();
    command
        .args(["install", "--quiet", "--locked", "bpf-linker"])
        .args(["--version", VERSION, "--no-default-features"])
        .args(["--features", &format!("llvm-{llvm}")])
        .arg("--root")
        .arg(tools());
    sh::run(command.env("LLVM_PREFIX", prefix(llvm)))?;
    Ok(linker)
}

fn prefix(llvm: u32) -> PathBuf {
    format!("/usr/lib/llvm-{llvm}").into()
}
