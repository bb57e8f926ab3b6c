//! Programs with nothing to find: a compiler, and redis under load. (python3 has none either:
//! `address_space/findings.rs`, `real.rs`.)

use std::{fmt::Write, fs, path::Path, process::Command};

use alloctrace::sink::Recording;
use libtest_mimic::{Failed, Trial};
use tempfile::TempDir;

use crate::{
    redis::Redis,
    support::{ALLOCTRACE, Machine, Target, Tracer, ensure},
    trial,
};

/// Enough for seconds of a compiler's time.
const FUNCTIONS: usize = 400;
/// A compiler that has done its work used as much of the CPU.
const COMPILER_SECONDS: f64 = 1.0;

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let missing = |programs: &[&str]| {
        let vm = machine.is_vm().then(|| "Debian's programs are on the host".to_owned());
        vm.or_else(|| machine.lacks(programs))
    };
    vec![
        trial("a_compiler_that_is_run_has_no_finding", missing(&["cc"]), compiler_run),
        trial("a_compiler_that_is_attached_to_has_no_finding", missing(&["cc"]), compiler_attached),
        trial(
            "redis_under_load_has_no_finding",
            missing(&["redis-server", "redis-benchmark"]),
            redis,
        ),
    ]
}

fn no_finding(recording: &Recording) -> Result<(), Failed> {
    ensure(recording.findings.is_empty(), format!("found: {:?}", recording.findings))
}

fn compiler_run() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let source = source(directory.path())?;
    let output = Command::new(ALLOCTRACE)
        .args(["run", "--follow", "--format", "json", "--"])
        .args(["cc", "-O2", "-c", "-o", "/dev/null", &source])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(output.status.success(), format!("alloctrace ended with {}: {said}", output.status))?;
    compiled(&Recording::read_from(output.stdout.as_slice(), "stdout")?)
}

/// A shell that compiles when told to, so that the tracer is there before.
fn compiler_attached() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let source = source(directory.path())?;
    let script = "echo ready; read _; cc -O2 -c -o /dev/null \"$0\" && echo done; read _";
    let mut shell = Target::start(Command::new("sh").args(["-c", script, &source]));
    shell.hear("ready");
    let tracer = Tracer::attach(shell.pid(), &["--follow"]);
    shell.nudge();
    shell.hear("done");
    compiled(&tracer.interrupt()?)
}

fn compiled(recording: &Recording) -> Result<(), Failed> {
    let cpu = &recording.snapshot.cpu;
    ensure(cpu.user_seconds > Some(COMPILER_SECONDS), format!("hardly compiled: {cpu:?}"))?;
    no_finding(recording)
}

/// Functions with loops and branches, each a little different.
fn source(directory: &Path) -> Result<String, Failed> {
    let mut text = "struct state { int sum; int kept[16]; };\n".to_owned();
    for i in 0..FUNCTIONS {
        writeln!(
            text,
            "int f{i}(int *a, int n, struct state *s) {{
                int sum = {i};
                for (int j = 0; j < n; j++) {{
                    switch ((a[j] ^ {i}) % 7) {{
                    case 0: sum += a[j] * {i}; break;
                    case 1: sum -= s->kept[j & 15]; break;
                    case 2: sum ^= a[(j * {}) % n]; break;
                    case 3: s->sum += sum; break;
                    default: sum = (sum << 3) | (sum >> {});
                    }}
                    if (sum > {i}) s->kept[sum & 15] = a[j];
                }}
                return sum;
            }}",
            i % 13 + 1,
            i % 7 + 1,
        )?;
    }
    let file = directory.join("generated.c");
    fs::write(&file, text)?;
    Ok(file.to_string_lossy().into_owned())
}

fn redis() -> Result<(), Failed> {
    let redis = Redis::start()?;
    let tracer = Tracer::attach(redis.pid(), &[]);
    redis.load(30_000, "set,get,lpush,lpop")?;
    no_finding(&tracer.interrupt()?)
}
