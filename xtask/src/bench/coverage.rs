//! How often the interval that is stated for the rate of calls holds the true one, at rates that differ by a
//! thousand: from a program that counts its calls itself.

use super::{median, tracer};
use crate::{
    sh::{self, Reaped},
    test::truth,
};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    thread::sleep,
    time::Duration,
};

/// What the program counts to between two pairs of calls: about 20 to 40 thousand calls a second, ten times as
/// many, a million, and as many as there can be.
const WORK: [&str; 4] = ["200000", "20000", "3500", "0"];

/// Of a hundred intervals of 95 %.
const LEAST: f64 = 0.90;

/// How near to the truth an estimate is to be, up to a million calls a second. The others are lower bounds.
const NEAR: f64 = 0.05;

/// Measures so often at each rate, for so long each time.
pub(super) fn run(runs: usize, duration: Duration) -> Result<()> {
    truth::build()?;
    println!("\nthe rate's 95 % interval holds the truth: at least {LEAST} of the runs");
    println!("estimates near it, within {NEAR}: all of them, up to a million calls a second");
    let [rate, held, estimates, off, near, interval] =
        ["true rate", "held", "estimates", "off by", "near", "interval"];
    println!("{rate:>12} {held:>12} {estimates:>10} {off:>8} {near:>8} {interval:>10}");
    for work in WORK {
        let mut program = Program::start(work)?;
        let mut all = Vec::new();
        for run in 1..=runs {
            eprint!("\rrun {run} of {runs} ");
            all.push(program.measured(duration)?);
        }
        eprintln!();
        println!("{}", line(&all));
    }
    Ok(())
}

/// What was told of a window, next to the truth.
struct Told {
    truth: f64,
    estimate: Option<f64>,
    low: f64,
    high: Option<f64>,
}

impl Told {
    fn holds(&self) -> bool {
        self.low <= self.truth && self.high.is_none_or(|high| high >= self.truth)
    }
}

fn line(all: &[Told]) -> String {
    let held = all.iter().filter(|told| told.holds()).count();
    let estimates: Vec<_> = all.iter().filter_map(|told| told.estimate.zip(Some(told))).collect();
    let off =
        median(estimates.iter().map(|(estimate, told)| (estimate / told.truth - 1.0) * 100.0));
    let near =
        estimates.iter().filter(|(estimate, told)| (estimate / told.truth - 1.0).abs() <= NEAR);
    let widths = all.iter().filter_map(|told| Some((told.high? - told.low) / told.truth * 50.0));
    format!(
        "{:>12.0} {:>12} {:>10} {off:>6.1} % {:>8} {:>8.1} %",
        median(all.iter().map(|told| told.truth)),
        format!("{held} of {}", all.len()),
        estimates.len(),
        near.count(),
        median(widths),
    )
}

/// The program that counts.
struct Program {
    child: Reaped,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Program {
    fn start(work: &str) -> Result<Self> {
        let program = truth::path("allocations");
        let mut command = Command::new(&program);
        command.args(["steady", work]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let child =
            command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let mut child = Reaped(child);
        let input = child.0.stdin.take().context("no input")?;
        let output = BufReader::new(child.0.stdout.take().context("no output")?);
        let mut started = Self { child, input, output };
        started.hear()?;
        Ok(started)
    }

    fn measured(&mut self, duration: Duration) -> Result<Told> {
        let file = sh::workspace().join("target/tmp/coverage.json");
        let tracer = tracer::record(self.child.0.id(), &file)?;
        let before = self.pairs()?;
        sleep(duration);
        let after = self.pairs()?;
        tracer.stop()?;
        let recording: Value = serde_json::from_slice(&fs::read(file)?)?;
        let rate = &recording["allocations"]["calls_per_second"];
        Ok(Told {
            // A pair is two calls.
            truth: 2.0 * (after.0 - before.0) / (after.1 - before.1),
            estimate: rate["estimate"].as_f64(),
            // Too few moments to tell anything.
            low: rate["low"].as_f64().unwrap_or(0.0),
            high: rate["high"].as_f64(),
        })
    }

    /// Pairs so far, and the seconds on its clock.
    fn pairs(&mut self) -> Result<(f64, f64)> {
        self.input.write_all(b"\n")?;
        let said = self.hear()?;
        let mut numbers = said.split_whitespace().skip(1).map(str::parse::<f64>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(pairs)), Some(Ok(nanoseconds))) => Ok((pairs, nanoseconds / 1e9)),
            _ => bail!("the program said {said}"),
        }
    }

    fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line)
    }
}
