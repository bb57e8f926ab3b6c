//! The C programs whose truth is known: what the live tests hold the tracer against.

use crate::sh;
use anyhow::Result;
use std::{path::PathBuf, process::Command};

/// Name, source, and how it is built. The tests build them as well where they are missing.
const PROGRAMS: [(&str, &str, &[&str]); 9] = [
    // Statically, so that nothing but what stands in it is called.
    ("truth", "truth.c", &["-static", "-O1", "-pthread"]),
    // With the C library's allocator or a preloaded one, and without leaving calls out.
    ("allocations", "allocations.c", &["-O1", "-fno-builtin", "-pthread"]),
    ("allocations-static", "allocations.c", &["-O1", "-fno-builtin", "-pthread", "-static"]),
    ("futexes", "futexes.c", &["-O1"]),
    ("forks", "forks.c", &["-O1", "-static"]),
    // A block whose realloc fails is still there, which the compiler does not know.
    ("refused", "refused.c", &["-O1", "-Wno-use-after-free"]),
    ("size_rules", "size_rules.c", &["-O1", "-fno-builtin"]),
    ("deep", "deep.c", &DEEP),
    ("deep-stripped", "deep.c", &[DEEP[0], DEEP[1], DEEP[2], DEEP[3], "-s"]),
];

/// Without anything that would make unwinding easy.
const DEEP: [&str; 4] =
    ["-O2", "-fomit-frame-pointer", "-fno-optimize-sibling-calls", "-fasynchronous-unwind-tables"];

/// Where the live tests look for them (cargo's `CARGO_TARGET_TMPDIR`).
pub(super) fn paths() -> impl Iterator<Item = PathBuf> {
    PROGRAMS.iter().map(|(name, ..)| path(name))
}

/// Where one of them is.
pub(crate) fn path(name: &str) -> PathBuf {
    sh::workspace().join("target/tmp").join(name)
}

/// Builds them.
pub(crate) fn build() -> Result<()> {
    for (program, (_, source, flags)) in paths().zip(&PROGRAMS) {
        if let Some(directory) = program.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let source = sh::workspace().join("tracer-daemon/tests/live").join(source);
        let flags = flags.iter().chain(&["-Wall", "-Werror", "-o"]);
        sh::run(Command::new("cc").args(flags).args([&program, &source]))?;
    }
    Ok(())
}
