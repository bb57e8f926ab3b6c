//! How long a census keeps a writer of the address space waiting, next to `cat /proc/PID/maps`.
//!
//! Two numbers, for neither tells all. What the writer waits for `mmap_lock` is what counts; but
//! newer kernels list areas under locks of their own, which nobody reports. The time inside the
//! calls that read the list is the most that any lock can have been held for.

use super::{Ratio, median, tracer::wait_for};
use crate::sh::{self, Reaped};
use anyhow::{Context, Result};
use serde_json::Value;
use std::{
    fs::File,
    io::Read,
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

const AREAS: &str = "10000";

/// Rounds of both readers.
const ROUNDS: usize = 9;

/// Readings in a round.
const READINGS: usize = 20;

/// As much as `cat` asks for at once.
const CAT_BUFFER: usize = 128 << 10;

/// What the ratio may be, apart from what is chance.
const LIMIT: f64 = 1.0;

/// Measures and prints both ratios.
pub(super) fn run() -> Result<()> {
    let target = Target::start()?;
    let (mut waits, mut reads) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        eprint!("\rround {round} of {ROUNDS} ");
        waits.push((target.waits(|| target.cat())?, target.waits(|| target.vmas().map(drop))?));
        let pairs = (0..READINGS).map(|_| Ok((target.read_as_cat()?, target.vmas()?)));
        let pairs: Vec<(f64, f64)> = pairs.collect::<Result<_>>()?;
        let of = |part: fn(&(f64, f64)) -> f64| median(pairs.iter().map(part));
        reads.push((of(|pair| pair.0), of(|pair| pair.1)));
    }
    eprintln!();
    println!(
        "\nalloctrace vmas to cat /proc/PID/maps, {AREAS} areas: at most {LIMIT:.1} and noise"
    );
    let Ratio { median: ratio, low, high } = Ratio::of(&reads);
    println!(
        "time inside the reads  {ratio:>9.3}   half of {ROUNDS} rounds: {low:.3} to {high:.3}"
    );
    let (cat, vmas) = waits.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
    let each = |seconds: f64| seconds * 1e6 / (ROUNDS * READINGS) as f64;
    println!(
        "a writer waits         {:>9.3}   {:.2} µs a reading, {:.2} µs under cat",
        vmas / cat,
        each(vmas),
        each(cat)
    );
    Ok(())
}

/// A process with many areas that maps and unmaps all the time.
struct Target {
    child: Reaped,
    alloctrace: PathBuf,
}

impl Target {
    fn start() -> Result<Self> {
        let release = sh::workspace().join("target/release");
        let program = release.join("examples/address_space");
        let mut child = Command::new(&program)
            .args(["--areas", AREAS])
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let output = child.stdout.take();
        let child = Reaped(child);
        wait_for("planted", output.context("its output is not to be had")?)?;
        Ok(Self { child, alloctrace: release.join("alloctrace") })
    }

    fn pid(&self) -> String {
        self.child.0.id().to_string()
    }

    fn maps(&self) -> String {
        format!("/proc/{}/maps", self.pid())
    }

    fn cat(&self) -> Result<()> {
        sh::output(Command::new("cat").arg(self.maps())).map(drop)
    }

    /// A census; the seconds that its reading took.
    fn vmas(&self) -> Result<f64> {
        let mut vmas = Command::new(&self.alloctrace);
        let text = sh::output(vmas.args(["vmas", "--format", "json", "--pid", &self.pid()]))?;
        let space: Value = serde_json::from_str(&text)?;
        space["read_seconds"].as_f64().context("the census has no read_seconds")
    }

    /// Reads as `cat` does; the seconds that it took.
    fn read_as_cat(&self) -> Result<f64> {
        let mut buffer = vec![0; CAT_BUFFER];
        let began = Instant::now();
        let mut file = File::open(self.maps())?;
        while file.read(&mut buffer)? > 0 {}
        Ok(began.elapsed().as_secs_f64())
    }

    /// Seconds that its thread waits for `mmap_lock` during so many readings.
    fn waits(&self, read: impl Fn() -> Result<()>) -> Result<f64> {
        let mut attach = Command::new(&self.alloctrace);
        attach.args(["attach", "--format", "json", "--pid", &self.pid()]);
        let mut attach = Reaped(attach.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?);
        let streams = attach.0.stdout.take().zip(attach.0.stderr.take());
        let (output, errors) = streams.context("its output is not to be had")?;
        wait_for("tracing ", errors)?;
        (0..READINGS).try_for_each(|_| read())?;
        sh::run(Command::new("kill").args(["-INT", &attach.0.id().to_string()]))?;
        let recording: Value = serde_json::from_reader(output)?;
        let rows = recording["lock_waits"].as_array().context("waits are not measured here")?;
        Ok(rows.iter().filter_map(|row| row["seconds"].as_f64()).sum())
    }
}
