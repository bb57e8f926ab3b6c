//! Probes on an allocator go in and out of a busy process again and again, and leave no trace.
//!
//! `ALLOCTRACE_ROUNDS=10000` makes a long night of it.

use std::{
    fs,
    process::{Command, Stdio},
};

use alloctrace::census::ProcRoot;
use libtest_mimic::{Failed, Trial};
use tempfile::TempDir;

use crate::{
    errors::nothing_is_left,
    redis::Redis,
    support::{Ended, Machine, alloctrace, compile, ensure, state, wait_until},
    trial,
};

/// Rounds, unless somebody wants more.
const ROUNDS: u32 = 12;
/// Rounds in which a target may still grow: the first one leaves it the kernel's area for probes.
const FIRST: u32 = 3;
/// What it may grow by from then on, in bytes: this, and a quarter for its own coming and going.
const GROWTH: u64 = 1 << 20;

/// Requests that keep redis busy for longer than anybody waits.
const ENDLESS: u32 = u32::MAX / 4;

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let lacks = |programs: &[&str]| {
        let vm = machine.is_vm().then(|| "Debian's programs are on the host".to_owned());
        vm.or_else(|| machine.cannot_use("malloc", "uprobe")).or_else(|| machine.lacks(programs))
    };
    let redis = ["redis-server", "redis-benchmark"];
    vec![
        trial("rounds_leave_redis_as_it_was", lacks(&redis), redis_server),
        trial("rounds_leave_python_as_it_was", lacks(&["python3"]), python),
        trial("rounds_leave_exceptions_as_they_were", lacks(&["g++"]), exceptions),
        trial("rounds_leave_nginx_as_it_was", lacks(&["nginx", "curl"]), nginx),
        trial("rounds_leave_a_static_program_as_it_was", lacks(&["musl-gcc"]), of_musl),
    ]
}

/// What must stay the same.
#[derive(Debug)]
struct Footprint {
    areas: usize,
    resident: u64,
    user_ticks: u64,
}

impl Footprint {
    fn of(pid: u32) -> Result<Self, Failed> {
        let root = ProcRoot::default();
        let areas = root.maps(pid)?;
        let is_uprobes = |path: &std::path::PathBuf| path.as_os_str() == "[uprobes]";
        let uprobes =
            areas.iter().filter_map(|area| area.path.as_ref()).filter(|it| is_uprobes(it));
        ensure(uprobes.count() <= 1, "there are several areas for probes")?;
        let stat = root.stat(pid)?;
        let (resident, user_ticks) = (stat.resident_bytes, stat.user_ticks);
        Ok(Self { areas: areas.len(), resident, user_ticks })
    }
}

fn rounds(pid: u32) -> Result<(), Failed> {
    let rounds = std::env::var("ALLOCTRACE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let pid_text = pid.to_string();
    let attach = |_| {
        let options = ["--malloc", "--budget", "100%", "--duration", "100ms"];
        let output = alloctrace(&[&["attach", "--pid", &pid_text], &options[..]].concat());
        let said = String::from_utf8_lossy(&output.stdout);
        ensure(said.contains("calls of the allocator"), String::from_utf8_lossy(&output.stderr))?;
        ensure(!matches!(state(pid), None | Some('Z' | 'T' | 't')), "the target has ended")
    };
    (0..FIRST).try_for_each(attach)?;
    let before = Footprint::of(pid)?;
    (FIRST..rounds.unwrap_or(ROUNDS)).try_for_each(attach)?;
    let after = Footprint::of(pid)?;
    // For whoever has made a long night of it.
    println!("{before:?}, then {after:?}");
    ensure(after.areas.abs_diff(before.areas) <= 2, format!("{before:?}, then {after:?}"))?;
    ensure(
        after.resident < before.resident / 4 * 5 + GROWTH,
        format!("{before:?}, then {after:?}"),
    )?;
    ensure(after.user_ticks > before.user_ticks, "the target stands still")?;
    nothing_is_left()
}

fn redis_server() -> Result<(), Failed> {
    let redis = Redis::start()?;
    redis.load(20_000, "set,get,lpush,lpop")?;
    let load = Ended(redis.benchmark(ENDLESS, "set").spawn()?);
    let done = rounds(redis.pid());
    drop(load);
    done?;
    redis.load(1000, "set,get")
}

fn python() -> Result<(), Failed> {
    let program = "while True: rows = [bytearray(size) for size in range(600, 1600)]";
    let target = Ended(Command::new("/usr/bin/python3").args(["-c", program]).spawn()?);
    rounds(target.0.id())
}

/// Throws from an allocation that fails and from one that is too deep, and ends if one is not caught.
const THROWS: &str = r#"
#include <cstdlib>
#include <new>
#include <string>
__attribute__((noinline)) static void deep(int depth)
{
    std::string text(100 + depth, 'x');
    if (depth == 0)
        throw text;
    deep(depth - 1);
}
int main()
{
    for (;;) {
        try { ::operator delete(::operator new(std::size_t(1) << 50)); std::abort(); }
        catch (const std::bad_alloc &) {}
        try { deep(20); std::abort(); }
        catch (const std::string &) {}
    }
}
"#;

fn exceptions() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let (source, program) = (directory.path().join("throws.cc"), directory.path().join("throws"));
    fs::write(&source, THROWS)?;
    compile("g++", &["-O1"], &source, &program)?;
    let target = Ended(Command::new(&program).spawn()?);
    rounds(target.0.id())
}

const TAKES: &str = r#"
#include <stdlib.h>
int main(void)
{
    for (;;) {
        void *volatile block = malloc(100);
        block = realloc(block, 5000);
        free(block);
    }
}
"#;

fn of_musl() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let (source, program) = (directory.path().join("takes.c"), directory.path().join("takes"));
    fs::write(&source, TAKES)?;
    compile("musl-gcc", &["-O1", "-static"], &source, &program)?;
    let target = Ended(Command::new(&program).spawn()?);
    rounds(target.0.id())
}

/// One process, that answers from its own memory.
fn nginx() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let socket = directory.path().join("socket");
    let configuration = directory.path().join("nginx.conf");
    let text = format!(
        "daemon off; master_process off; pid {0}/pid; error_log /dev/null; events {{}} http {{ \
         access_log off; server {{ listen unix:{1}; return 200 hello; }} }}",
        directory.path().display(),
        socket.display()
    );
    fs::write(&configuration, text)?;
    let mut command = Command::new("nginx");
    let target = Ended(command.arg("-c").arg(&configuration).stderr(Stdio::null()).spawn()?);
    wait_until("nginx listens", || socket.exists())?;
    let ask = format!(
        "while curl -s --unix-socket {} http://host/ >/dev/null; do :; done",
        socket.display()
    );
    let _load = Ended(Command::new("sh").args(["-c", &ask]).spawn()?);
    rounds(target.0.id())
}
