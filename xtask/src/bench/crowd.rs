//! The daemon on a crowded machine: what a scrape takes, what the daemon takes, and whether it tells what the kernel
//! counted. Next to it, what others take there.

use super::{
    median,
    taken::{Statistics, Taken},
    tracer::{Running, wait_for},
};
use crate::sh::{self, Reaped};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

const IDLE: &str = "10000";
const SHORT: &str = "1000";

/// What is wanted.
const SCRAPE_LIMIT: Duration = Duration::from_millis(100);
const SERIES_LIMIT: usize = 5000;
const MEMORY_LIMIT: u64 = 64 << 20;

/// As the daemon's `--interval` is without one, and a Prometheus scrapes.
const SAMPLES: Duration = Duration::from_secs(5);
const SCRAPES: Duration = Duration::from_secs(1);

/// Where process-exporter serves.
const EXPORTER: &str = "127.0.0.1:9256";

/// What bpftrace needs to count the same.
const BPFTRACE: &str = "
tracepoint:syscalls:sys_enter_mmap,tracepoint:syscalls:sys_enter_munmap,
tracepoint:syscalls:sys_enter_mremap,tracepoint:syscalls:sys_enter_mprotect,
tracepoint:syscalls:sys_enter_brk,tracepoint:syscalls:sys_enter_madvise { @calls[comm, probe] = count(); }
software:page-faults:1 { @faults[comm] = count(); }
";

/// Measures for so long, and prints.
pub(super) fn run(duration: Duration) -> Result<()> {
    let crowd = crowd()?;
    let _statistics = Statistics::on()?;
    println!("\n{IDLE} idle processes, {SHORT} a second that live for a moment, {duration:?}");
    let alloctrace = sh::workspace().join("target/release/alloctrace");
    let mut daemon = Command::new(alloctrace);
    daemon.args(["daemon", "--listen", "127.0.0.1:0", "--look-again", "0"]);
    let mut daemon = Reaped(daemon.stderr(Stdio::piped()).spawn()?);
    let said = wait_for("serving http://", daemon.0.stderr.take().context("no stderr")?)?;
    let (_, address) = said.split_once("http://").context("it serves nothing")?;
    let address = address.trim_end_matches("/metrics");
    let told = watch(address, daemon.0.id(), duration)?;
    drop(daemon);
    told.print();
    let mut exporter = Command::new("prometheus-process-exporter");
    exporter.args(["-procnames", "crowd", "-web.listen-address", EXPORTER]);
    // It does its work when it is asked.
    let asked = || drop(get(EXPORTER));
    other("process-exporter, asked every 5 s", exporter, asked, duration / 4)?;
    let mut bpftrace = Command::new("bpftrace");
    bpftrace.args(["-e", BPFTRACE]);
    other("bpftrace, calls and faults", bpftrace, || {}, duration / 4)?;
    drop(crowd);
    Ok(())
}

/// What somebody else takes, who is asked now and then.
fn other(name: &str, mut command: Command, ask: impl Fn(), duration: Duration) -> Result<()> {
    let child = match command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
        Ok(child) => child,
        Err(error) => {
            println!("{name:<34} {error}");
            return Ok(());
        }
    };
    let pid = child.id();
    let running = Running::of(child);
    sleep(SAMPLES);
    let (began, before) = (Instant::now(), Taken::by(pid)?);
    while began.elapsed() < duration {
        ask();
        sleep(SAMPLES);
    }
    println!("{name:<34} {}", Taken::by(pid)?.since(&before, began.elapsed()));
    running.stop()
}

fn crowd() -> Result<Reaped> {
    let program = sh::workspace().join("target/release/examples/crowd");
    let mut command = Command::new(&program);
    command.args(["--idle", IDLE, "--short", SHORT]).stdout(Stdio::piped());
    let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    let mut crowd = Reaped(child);
    wait_for("ready", crowd.0.stdout.take().context("no output")?)?;
    Ok(crowd)
}

/// What was seen of the daemon.
struct Told {
    scrapes: Vec<Duration>,
    series: usize,
    memory: Vec<u64>,
    taken: String,
    /// What it told, by what the kernel counted.
    faults: f64,
}

fn watch(address: &str, pid: u32, duration: Duration) -> Result<Told> {
    let (mut scrapes, mut memory, mut series) = (Vec::new(), Vec::new(), 0);
    let first = at_a_sample(address)?;
    let (began, before) = (Instant::now(), Taken::by(pid)?);
    while began.elapsed() < duration {
        let asked = Instant::now();
        let text = get(address)?;
        scrapes.push(asked.elapsed());
        series = text.lines().filter(|line| !line.starts_with('#')).count();
        memory.push(sum(&text, "alloctrace_self_resident_memory_bytes") as u64);
        sleep(SCRAPES);
    }
    let taken = Taken::by(pid)?.since(&before, began.elapsed());
    let last = at_a_sample(address)?;
    let faults = (last.0 - first.0) / (last.1 - first.1);
    Ok(Told { scrapes, series, memory, taken, faults })
}

/// Faults so far as the daemon tells, and as the kernel does, when a new sample has just come.
fn at_a_sample(address: &str) -> Result<(f64, f64)> {
    let told = |text: &str| sum(text, "alloctrace_page_faults_total");
    let old = told(&get(address)?);
    let began = Instant::now();
    while began.elapsed() < 4 * SAMPLES {
        let new = told(&get(address)?);
        if new > old {
            return Ok((new, kernels_faults()?));
        }
        sleep(Duration::from_millis(20));
    }
    bail!("no new sample")
}

impl Told {
    fn print(&self) {
        let mut scrapes = self.scrapes.clone();
        scrapes.sort();
        let last = scrapes.get(scrapes.len() * 99 / 100).copied().unwrap_or_default();
        let middle = median(scrapes.iter().map(Duration::as_secs_f64)) * 1e3;
        println!(
            "a scrape, 99 of 100                {last:.1?} (median {middle:.1} ms; at most {SCRAPE_LIMIT:?})"
        );
        println!("series                             {} (under {SERIES_LIMIT})", self.series);
        let mib = |bytes: Option<&u64>| bytes.map_or(f64::NAN, |bytes| *bytes as f64 / 1048576.0);
        let quarter = self.memory.get(self.memory.len() / 4);
        println!(
            "resident memory                    {:.1} MiB after a quarter, {:.1} at the end (under {})",
            mib(quarter),
            mib(self.memory.last()),
            MEMORY_LIMIT >> 20
        );
        println!("faults told, by the kernel's       {:.4}", self.faults);
        println!("alloctrace daemon                  {}", self.taken);
    }
}

fn get(address: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Of all series of a metric.
fn sum(text: &str, metric: &str) -> f64 {
    let series = text.lines().filter(|line| line.starts_with(metric));
    series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn kernels_faults() -> Result<f64> {
    let text = fs::read_to_string("/proc/vmstat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("pgfault "));
    Ok(line.context("no pgfault in /proc/vmstat")?.parse()?)
}
