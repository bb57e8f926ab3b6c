//! What is in the place of a library that is mapped: the very file is read, and nothing else is opened.

use std::{fs, path::Path, process::Command};

use libtest_mimic::{Failed, Trial};
use tempfile::TempDir;

use super::{LIBRARY, build_library, build_program, ready, the_others_have_names, traced};
use crate::{
    support::{Machine, ensure},
    trial,
};

pub(super) fn trials(machine: &Machine) -> Vec<Trial> {
    let lacks = || machine.lacks(&["gcc", "unshare", "nsenter", "mkfifo"]);
    vec![
        trial("a_fifo_in_a_library_s_place_is_not_opened", lacks(), || {
            in_its_place("mkfifo library.so")
        }),
        trial("a_link_in_a_library_s_place_is_not_followed", lacks(), || {
            in_its_place("ln -s /etc/passwd library.so")
        }),
        trial("a_link_to_itself_in_a_library_s_place_is_not_followed", lacks(), || {
            in_its_place("ln -s library.so library.so")
        }),
    ]
}

/// Mounts an empty directory over that of the libraries, and has `command` done there: the process sees its
/// library's path lead there. Removing the library itself would be told by the kernel.
fn in_its_place(command: &str) -> Result<(), Failed> {
    let directory = TempDir::new()?;
    build_library(directory.path(), "c", LIBRARY)?;
    build_program(directory.path())?;
    let program = directory.path().join("program");
    let target = ready(Command::new("unshare").args(["-m", "--propagation=private"]).arg(program));
    let place = directory.path().display().to_string();
    let script = format!("mount -t tmpfs none {place} && cd {place} && {command}");
    let pid = target.pid().to_string();
    let done = Command::new("nsenter").args(["-m", "-t", &pid, "sh", "-c", &script]).status()?;
    ensure(done.success(), "nothing can be put in its place")?;
    let (recording, said) = traced(target)?;
    the_others_have_names(&recording)?;
    let through = |path: &Path| fs::symlink_metadata(path).is_ok();
    ensure(through(&directory.path().join("library.so")), "the library itself is gone")?;
    let mut frames = recording.snapshot.stacks.iter().flat_map(|stack| &stack.frames);
    ensure(frames.any(|frame| frame.symbol.as_deref() == Some("through")), format!("{said:?}"))
}
