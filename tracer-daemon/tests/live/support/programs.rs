//! The programs that tests trace, and how they come to be.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use libtest_mimic::Failed;

use super::{ALLOCTRACE, ensure};

/// The C program that makes known numbers of calls.
pub(crate) fn truth() -> PathBuf {
    built("truth", &["-static", "-O1", "-pthread"])
}

/// A C program, from the source of the name before the first `-`; built here unless somebody did it
/// before.
pub(crate) fn built(name: &str, flags: &[&str]) -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let source = name.split('-').next().unwrap_or(name);
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live");
    let source = sources.join(format!("{source}.c"));
    if !is_newer(&program, &source) || !is_newer(&program, &sources.join("program.h")) {
        let mut compiler = Command::new("cc");
        let status = compiler.args(flags).arg("-o").args([&program, &source]).status();
        assert!(status.is_ok_and(|status| status.success()), "cc cannot build {name}");
    }
    program
}

/// Compiles a source that a test has.
pub(crate) fn compile(
    compiler: &str,
    flags: &[&str],
    source: &Path,
    program: &Path,
) -> Result<(), Failed> {
    let done = Command::new(compiler).args(flags).arg("-o").args([program, source]).status()?;
    ensure(done.success(), format!("{compiler} failed"))
}

/// Where there is no source, as in the virtual machines, the program is what it is.
fn is_newer(program: &Path, source: &Path) -> bool {
    let time = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    time(program).is_some_and(|built| time(source).is_none_or(|changed| changed <= built))
}

/// An example workload.
pub(crate) fn workload(name: &str) -> PathBuf {
    let directory = Path::new(ALLOCTRACE).parent().expect("a program lies in a directory");
    directory.join("examples").join(name)
}
