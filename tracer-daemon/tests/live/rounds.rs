//! Probes on an allocator go in and out of a busy process again and again, and leave no trace: those of one tracer
//! after another, and those of a tracer that keeps within a budget.
//!
//! `ALLOCTRACE_ROUNDS=10000` makes a long night of it.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::FileExt,
    process::{Command, Stdio},
};

use alloctrace::{census::ProcRoot, sink::Recording};
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

/// How long a tracer that keeps within a budget is let run, unless somebody wants more.
const SECONDS: u32 = 3;
/// And at most at a time.
const MOST_SECONDS: u32 = 300;

/// Of a target's time, what is short for one that does little but allocate, and yet has probes in most of the time.
const BUSY: &str = "20%";
/// For one that has much else to do.
const SERVER: &str = "2%";

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

/// A probe is a byte of the code that stands otherwise in its file.
fn has_its_code(pid: u32) -> Result<(), Failed> {
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let areas = ProcRoot::default().maps(pid)?;
    let mut compared = 0;
    for area in areas.iter().filter(|area| area.executable && area.inode != 0) {
        let path = area.path.as_ref().ok_or("a file without a name")?;
        let mut code = vec![0; area.bytes() as usize];
        memory.read_exact_at(&mut code, area.start)?;
        let mut file = Vec::new();
        File::open(path)?.take(area.offset + area.bytes()).read_to_end(&mut file)?;
        let file = file.get(area.offset as usize..).ok_or("the file is short")?;
        ensure(code.starts_with(file), format!("{}: another code", path.display()))?;
        compared += 1;
    }
    ensure(compared > 0, "no code")
}

fn wanted() -> Option<u64> {
    std::env::var("ALLOCTRACE_ROUNDS").ok()?.parse().ok()
}

fn attached(pid: u32, options: &[&str]) -> Result<String, Failed> {
    let output =
        alloctrace(&[&["attach", "--malloc", "--pid", &pid.to_string()], options].concat());
    ensure(output.status.success(), String::from_utf8_lossy(&output.stderr))?;
    ensure(!matches!(state(pid), None | Some('Z' | 'T' | 't')), "the target has ended")?;
    Ok(String::from_utf8(output.stdout)?)
}

/// How often probes went in and came out, while a tracer kept within a budget that is too small for all calls.
fn moments(pid: u32, budget: &str, seconds: u32) -> Result<u64, Failed> {
    let duration = format!("{seconds}s");
    let options = ["--budget", budget, "--duration", &duration, "--format", "json"];
    let recording = attached(pid, &options)?;
    let recording = Recording::read_from(recording.as_bytes(), "stdout")?;
    let allocations = recording.snapshot.allocations.as_ref().ok_or("no calls")?;
    ensure(allocations.duty < 0.9, format!("{}: the budget was enough", allocations.duty))?;
    Ok(allocations.moments)
}

fn rounds(pid: u32, budget: &str) -> Result<(), Failed> {
    let attach = |_| {
        let said = attached(pid, &["--budget", "100%", "--duration", "100ms"])?;
        ensure(said.contains("calls of the allocator"), said)
    };
    (0..FIRST).try_for_each(attach)?;
    moments(pid, budget, SECONDS)?;
    let before = Footprint::of(pid)?;
    (FIRST..ROUNDS).try_for_each(attach)?;
    let mut done = moments(pid, budget, SECONDS)?;
    ensure(done > 1, format!("{done} rounds"))?;
    while wanted().is_some_and(|wanted| done < wanted) {
        done += moments(pid, budget, MOST_SECONDS)?;
        println!("{done} rounds in {pid}: {:?}", Footprint::of(pid)?);
    }
    let after = Footprint::of(pid)?;
    ensure(after.areas.abs_diff(before.areas) <= 2, format!("{before:?}, then {after:?}"))?;
    ensure(
        after.resident < before.resident / 4 * 5 + GROWTH,
        format!("{before:?}, then {after:?}"),
    )?;
    ensure(after.user_ticks > before.user_ticks, "the target stands still")?;
    nothing_is_left()?;
    has_its_code(pid)
}

fn redis_server() -> Result<(), Failed> {
    let redis = Redis::start()?;
    redis.load(20_000, "set,get,lpush,lpop")?;
    let load = Ended(redis.benchmark(ENDLESS, "set").spawn()?);
    let done = rounds(redis.pid(), SERVER);
    drop(load);
    done?;
    redis.load(1000, "set,get")
}

fn python() -> Result<(), Failed> {
    let program = "while True: rows = [bytearray(size) for size in range(600, 1600)]";
    let target = Ended(Command::new("/usr/bin/python3").args(["-c", program]).spawn()?);
    rounds(target.0.id(), BUSY)
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
    rounds(target.0.id(), BUSY)
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
    rounds(target.0.id(), BUSY)
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
    // One curl asks over one connection, as often as the numbers in brackets say.
    let ask = format!(
        "while curl -s --unix-socket {} 'http://host/[1-100000]' >/dev/null; do :; done",
        socket.display()
    );
    let _load = Ended(Command::new("sh").args(["-c", &ask]).spawn()?);
    rounds(target.0.id(), SERVER)
}
