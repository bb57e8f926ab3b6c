//! Processes that are not as one would have them: each is counted or says why not, and none is harmed.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};

use libtest_mimic::{Failed, Trial};
use tempfile::TempDir;

use super::{ROUNDS, equals_the_truth, measure_after, program};
use crate::{
    errors::{NOBODY, nothing_is_left},
    support::{ALLOCTRACE, Machine, Target, Tracer, alloctrace, compile, ensure, same},
    trial,
};

pub(super) fn trials(machine: &Machine) -> Vec<Trial> {
    let lacks = |programs: &[&str]| {
        machine.cannot_use("malloc", "uprobe").or_else(|| machine.lacks(programs))
    };
    let no_32_bit = || lacks(&["gcc"]).or_else(|| build_32_bit(&TempDir::new().ok()?).err());
    vec![
        trial("a_32_bit_process_says_so", no_32_bit(), of_32_bit),
        trial("an_exception_is_still_caught", lacks(&["g++"]), exception),
        trial("under_strict_seccomp_a_process_lives_on", lacks(&["gcc"]), seccomp),
        trial("another_user_s_process_is_counted", lacks(&[]), of_another_user),
    ]
}

/// Counts the program's calls after something was done to it.
pub(super) fn counted(
    command: &mut Command,
    act: impl FnOnce(u32) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let options = ["--malloc", "--budget", "100%"];
    let (recording, kept) = measure_after(command, ROUNDS, &options, act)?;
    equals_the_truth(&recording, ROUNDS, kept)
}

pub(super) fn ready(command: &mut Command) -> Target {
    let mut target = Target::start(command);
    target.hear("ready");
    target
}

/// Says why its allocator is not watched, to `attach` and to `doctor`, and lives on.
pub(super) fn says(mut target: Target, reason: &str) -> Result<(), Failed> {
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

pub(super) fn compiled(directory: &TempDir, text: &str, flags: &[&str]) -> Result<PathBuf, Failed> {
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
    says(ready(&mut Command::new(&program)), "no file of the process tells")?;
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

/// A copy of the program that everybody may execute.
pub(super) fn copied_program(directory: &Path) -> Result<PathBuf, Failed> {
    let copy = directory.join("program");
    fs::copy(program().get_program(), &copy)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    Ok(copy)
}

/// As itself, and with its owner's rights, so that it may not be looked into.
fn of_another_user() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let copy = copied_program(directory.path())?;
    for (mode, uids) in [(0o755, [NOBODY, NOBODY]), (0o4755, [NOBODY, 0])] {
        fs::set_permissions(&copy, fs::Permissions::from_mode(mode))?;
        counted(Command::new(&copy).uid(NOBODY).gid(NOBODY), |pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
            let seen = line.unwrap_or_default().split_whitespace().take(2).map(str::parse::<u32>);
            same(
                "its user, and whose rights it has",
                seen.collect::<Result<Vec<_>, _>>()?,
                uids.into(),
            )
        })?;
    }
    nothing_is_left()
}
