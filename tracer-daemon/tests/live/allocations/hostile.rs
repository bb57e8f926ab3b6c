//! Processes that are not as one would have them: each is counted or says why not, and none is harmed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use libtest_mimic::{Failed, Trial};
use tempfile::TempDir;

use super::{ROUNDS, equals_the_truth, measure_after, program};
use crate::{
    allocators::{LIBRARIES, PRELOADED},
    errors::nothing_is_left,
    support::{ALLOCTRACE, Machine, Target, Tracer, alloctrace, compile, ensure, same},
    trial,
};

pub(super) fn trials(machine: &Machine) -> Vec<Trial> {
    let library = Path::new(LIBRARIES).join(PRELOADED[0].0);
    let absent = || (!library.exists()).then(|| format!("{} is not installed", library.display()));
    let lacks = |programs: &[&str]| {
        machine.cannot_use("malloc", "uprobe").or_else(|| machine.lacks(programs))
    };
    let lacks_library = |programs: &[&str]| lacks(programs).or_else(absent);
    let no_32_bit = || lacks(&["gcc"]).or_else(|| build_32_bit(&TempDir::new().ok()?).err());
    vec![
        trial("a_library_that_was_replaced_is_counted", lacks_library(&[]), replaced),
        trial(
            "a_library_that_was_mounted_over_is_counted",
            lacks_library(&["unshare"]),
            mounted_over,
        ),
        trial("hostile_files_harm_nobody", lacks_library(&["gcc"]), hostile_files),
        trial("a_32_bit_process_says_so", no_32_bit(), of_32_bit),
        trial("an_exception_is_still_caught", lacks(&["g++"]), exception),
        trial("under_strict_seccomp_a_process_lives_on", lacks(&["gcc"]), seccomp),
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

/// Counts the program's calls after something was done to it.
fn counted(
    command: &mut Command,
    act: impl FnOnce(u32) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let options = ["--malloc", "--budget", "100%"];
    let (recording, kept) = measure_after(command, ROUNDS, &options, act)?;
    equals_the_truth(&recording, ROUNDS, kept)
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
    says(&mut Target::start(&mut command), "no file of the process tells its allocator")
}

/// Says why its allocator is not watched, to `attach` and to `doctor`, and lives on.
fn says(target: &mut Target, reason: &str) -> Result<(), Failed> {
    target.hear("ready");
    let pid = target.pid();
    let doctor = alloctrace(&["doctor", "--pid", &pid.to_string()]);
    let said = String::from_utf8_lossy(&doctor.stdout);
    ensure(doctor.status.success() && said.contains("no file of the process tells"), said)?;
    let tracer = Tracer::attach(pid, &["--malloc"]);
    target.nudge();
    target.hear("done");
    let recording = tracer.interrupt()?;
    let said = super::reason(&recording);
    ensure(said.contains(reason), said)?;
    target.nudge();
    ensure(target.child.wait()?.success(), "the target did not end well")?;
    nothing_is_left()
}

fn compiled(directory: &TempDir, text: &str, flags: &[&str]) -> Result<PathBuf, Failed> {
    let (source, program) = (directory.path().join("it.c"), directory.path().join("it"));
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live/program.h");
    fs::write(&source, format!("#include \"{}\"\n{text}", header.display()))?;
    compile("gcc", &[&["-O1", "-fno-builtin"], flags].concat(), &source, &program)?;
    Ok(program)
}

/// Without a C library, for there is none of 32 bits.
const OF_32_BIT: &str = r#"
static int call(int number, int first, const void *second, int third)
{
    int result;
    __asm__ volatile("int $0x80" : "=a"(result)
        : "a"(number), "b"(first), "c"(second), "d"(third) : "memory");
    return result;
}
void _start(void)
{
    char byte;
    call(4, 1, "ready\n", 6), call(3, 0, &byte, 1), call(4, 1, "done\n", 5), call(3, 0, &byte, 1);
    call(1, 0, 0, 0);
}
"#;

fn build_32_bit(directory: &TempDir) -> Result<PathBuf, String> {
    let (source, program) = (directory.path().join("it.c"), directory.path().join("it"));
    let flags = ["-m32", "-O1", "-nostdlib", "-static", "-ffreestanding", "-fno-stack-protector"];
    fs::write(&source, OF_32_BIT).map_err(|error| error.to_string())?;
    let built = compile("gcc", &flags, &source, &program);
    built.map_err(|_| "gcc cannot build a 32-bit program".to_owned())?;
    let runs = Command::new(&program).stdin(std::process::Stdio::null()).output();
    let runs = runs.is_ok_and(|output| output.status.success());
    if runs { Ok(program) } else { Err("the kernel runs no 32-bit programs".to_owned()) }
}

fn of_32_bit() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let program = build_32_bit(&directory)?;
    says(&mut Target::start(&mut Command::new(&program)), "no file of the process tells")?;
    let output = Command::new(ALLOCTRACE).args(["run", "--malloc", "--"]).arg(&program).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure(output.status.success() && said.contains("not a 64-bit program"), said)
}

/// Kills on all but a few system calls.
const SECCOMP: &str = "
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#define ALLOW(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), \\
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
int main(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(read), ALLOW(write), ALLOW(exit), ALLOW(exit_group), ALLOW(brk), ALLOW(mmap),
        ALLOW(munmap), ALLOW(futex), ALLOW(nanosleep),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog filter = { sizeof code / sizeof *code, code };
    /* For its first block glibc asks for a random number. */
    free(malloc(1));
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, \"prctl\");
    must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0, \"seccomp\");
    say(\"ready\\n\"), wait_for_line();
    for (int call = 0; call < 1000; call++)
        free(malloc(call * 1000));
    say(\"done\\n\"), wait_for_line();
}
";

fn seccomp() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let program = compiled(&directory, SECCOMP, &[])?;
    let mut target = Target::start(&mut Command::new(program));
    target.hear("ready");
    let tracer = Tracer::attach(target.pid(), &["--malloc", "--budget", "100%"]);
    target.nudge();
    target.hear("done");
    let recording = tracer.interrupt()?;
    target.nudge();
    ensure(target.child.wait()?.success(), "the target did not end well")?;
    let functions = &super::allocations(&recording)?.functions;
    let counted = ["malloc", "free"].map(|name| functions[name].calls);
    same("calls of malloc and free", counted, [1000, 1000])
}

/// `operator new` that throws, a hundred times, under probes.
const THROWS: &str = r#"
#include <cstdio>
#include <cstdlib>
#include <new>
int main()
{
    puts("ready"), fflush(stdout), getchar();
    int caught = 0;
    for (int round = 0; round < 100; round++)
        try {
            ::operator delete(::operator new(std::size_t(1) << 50));
        } catch (const std::bad_alloc &) {
            caught++;
        }
    printf("done %d\n", caught), fflush(stdout), getchar();
}
"#;

fn exception() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let (source, program) = (directory.path().join("throws.cc"), directory.path().join("throws"));
    fs::write(&source, THROWS)?;
    let flags = ["-O1", "-fno-builtin"];
    compile("g++", &flags, &source, &program)?;
    let mut target = Target::start(&mut Command::new(&program));
    target.hear("ready");
    let tracer = Tracer::attach(target.pid(), &["--malloc", "--budget", "100%"]);
    target.nudge();
    same("what it caught", target.hear("done").as_str(), "done 100")?;
    let recording = tracer.interrupt()?;
    target.nudge();
    ensure(target.child.wait()?.success(), "the target did not end well")?;
    let malloc = &super::allocations(&recording)?.functions["malloc"];
    // Each exception is an object as well.
    ensure(malloc.calls >= 200 && malloc.bytes >= Some(100 << 50), format!("{malloc:?}"))
}
