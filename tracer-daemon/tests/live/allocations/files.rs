//! Files that are not what their names say: the very file that is mapped is probed, or none.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use libtest_mimic::{Failed, Trial};
use tempfile::TempDir;

use super::{
    ROUNDS, THREADS, equals_the_truth,
    hostile::{compiled, copied_program, counted, ready, says},
    program,
};
use crate::{
    allocators::{LIBRARIES, PRELOADED},
    errors::nothing_is_left,
    support::{Machine, Tracer, ensure},
    trial,
};

pub(super) fn trials(machine: &Machine) -> Vec<Trial> {
    let lacks = |file: &Path, programs: &[&str]| {
        let absent = || (!file.exists()).then(|| format!("{} is not installed", file.display()));
        let refused = machine.cannot_use("malloc", "uprobe");
        refused.or_else(|| machine.lacks(programs)).or_else(absent)
    };
    let library = Path::new(LIBRARIES).join(PRELOADED[0].0);
    let lacks_library = |programs: &[&str]| lacks(&library, programs);
    vec![
        trial("a_library_that_was_replaced_is_counted", lacks_library(&[]), replaced),
        trial(
            "a_library_that_was_mounted_over_is_counted",
            lacks_library(&["unshare"]),
            mounted_over,
        ),
        trial("a_library_that_shrinks_harms_nobody", lacks_library(&[]), shrinks),
        trial("hostile_files_harm_nobody", lacks_library(&["gcc"]), hostile_files),
        trial(
            "in_another_root_its_own_library_is_counted",
            lacks(&libc(), &["chroot"]),
            in_another_root,
        ),
    ]
}

/// A copy of a library that can be replaced.
fn copied(directory: &TempDir) -> Result<PathBuf, Failed> {
    let copy = directory.path().join("library.so");
    fs::copy(Path::new(LIBRARIES).join(PRELOADED[0].0), &copy)?;
    Ok(copy)
}

/// Another library at the same place.
fn other() -> PathBuf {
    Path::new(LIBRARIES).join(PRELOADED[1].0)
}

fn replaced() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let library = copied(&directory)?;
    let mut command = program();
    counted(command.env("LD_PRELOAD", &library), |_| {
        let new = directory.path().join("new.so");
        fs::copy(other(), &new)?;
        Ok(fs::rename(new, &library)?)
    })
}

fn mounted_over() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let library = copied(&directory)?;
    let mut command = Command::new("unshare");
    command.args(["-m", "env"]).arg(format!("LD_PRELOAD={}", library.display()));
    counted(command.arg(program().get_program()), |pid| {
        let mut mount = Command::new("nsenter");
        mount.args(["-m", "-t", &pid.to_string(), "mount", "--bind"]);
        ensure(mount.args([&other(), &library]).status()?.success(), "it cannot be mounted over")
    })
}

/// Maps what it is given as if it were code. It has no symbols, so that each of the files is looked at.
const MAPS: &str = "
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
int main(int count, char **names)
{
    for (int index = 1; index < count; index++) {
        struct stat file;
        int fd = open(names[index], O_RDONLY);
        must(fstat(fd, &file) == 0, names[index]);
        must(mmap(0, file.st_size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) != MAP_FAILED, \"mmap\");
    }
    say(\"ready\\n\"), wait_for_line(), say(\"done\\n\"), wait_for_line();
}
";

fn hostile_files() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let library = fs::read(copied(&directory)?)?;
    let mut scrambled: Vec<_> = library.clone();
    scrambled[0x20..0x400].iter_mut().enumerate().for_each(|(at, byte)| *byte ^= at as u8 | 1);
    let mut endless = library.clone();
    // The place and the number of the section headers.
    endless[0x28..0x30].fill(0xff);
    endless[0x3c..0x40].fill(0xff);
    let files: [(&str, &[u8]); 5] = [
        ("truncated", &library[..library.len() / 2]),
        ("headless", &library[..80]),
        ("scrambled", &scrambled),
        ("endless", &endless),
        ("magic", b"\x7fELF"),
    ];
    let program = compiled(&directory, MAPS, &["-static", "-s"])?;
    let mut command = Command::new(&program);
    for (name, bytes) in files {
        let file = directory.path().join(name);
        fs::write(&file, bytes)?;
        command.arg(file);
    }
    says(ready(&mut command), "no file of the process tells its allocator")
}

fn libc() -> PathBuf {
    Path::new(LIBRARIES).join("libc.so.6")
}

/// Its files have the names of others, which are not probed.
fn in_another_root() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let root = directory.path();
    copied_program(root)?;
    for file in [libc(), PathBuf::from("/lib64/ld-linux-x86-64.so.2")] {
        let copy = root.join(file.strip_prefix("/")?);
        fs::create_dir_all(copy.parent().ok_or("a file has a directory")?)?;
        fs::copy(&file, copy)?;
    }
    let mut command = Command::new("chroot");
    counted(command.arg(root).arg("/program"), |_| Ok(()))?;
    nothing_is_left()
}

/// A library loses its end, which no process maps: where its symbols are. Once while probes are in it, and
/// once before, when nobody can tell any more whose `malloc` it is.
fn shrinks() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let library = copied(&directory)?;
    let end = fs::read(&library)?[0x28..0x30].try_into().map(u64::from_le_bytes)?;
    let cut = || fs::File::options().write(true).open(&library)?.set_len(end);
    let mut command = program();
    command.env("LD_PRELOAD", &library).args([THREADS, ROUNDS].map(|one| one.to_string()));
    let mut target = ready(&mut command);
    let tracer = Tracer::attach(target.pid(), &["--malloc", "--budget", "100%"]);
    cut()?;
    target.nudge();
    let kept = target.hear("done").trim_start_matches("done ").parse()?;
    let recording = tracer.interrupt()?;
    target.nudge();
    ensure(target.child.wait()?.success(), "the target did not end well")?;
    equals_the_truth(&recording, ROUNDS, kept)?;
    nothing_is_left()?;
    copied(&directory)?;
    let target = ready(&mut command);
    cut()?;
    says(target, "no file of the process tells its allocator")
}
