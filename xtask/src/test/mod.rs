//! `cargo xtask test`: every test, in three tiers, and one line that sums them up.

mod live;
pub(crate) mod machines;
mod tally;
pub(crate) mod truth;

use crate::{
    cargo::{self, Artifact},
    setup, sh,
    vm::Kernel,
};
use anyhow::{Context, Result};
use clap::ValueEnum;
use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};
use tally::Tally;

/// Which tests to run
#[derive(clap::Args)]
pub(crate) struct Args {
    /// These tiers only [default: all]
    #[arg(long, value_delimiter = ',')]
    tier: Vec<Tier>,
    /// In the vm tier, these kernels only [default: all]
    #[arg(long, value_delimiter = ',')]
    kernel: Vec<Kernel>,
    /// Seconds after which a virtual machine is ended
    #[arg(long, default_value_t = 1800)]
    timeout: u64,
}

/// A kind of test, by what it needs.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tier {
    /// No privileges: units, replays, the catalog, documentation
    Unit,
    /// Root, on this machine's kernel
    Live,
    /// The live tests again, in a virtual machine per kernel
    Vm,
}

/// Runs the tests, and fails when one did.
pub(crate) fn run(args: &Args) -> Result<()> {
    let wanted = |tier| args.tier.is_empty() || args.tier.contains(&tier);
    let needs_more = wanted(Tier::Live) || wanted(Tier::Vm);
    let groups = [setup::Group::Build, setup::Group::Test];
    setup::ensure(&groups[..1 + usize::from(needs_more)])?;
    eprintln!("test: building");
    let built = cargo::build(&["test", "--workspace", "--no-run"])?;
    if needs_more {
        truth::build()?;
    }

    let mut total = Tally::default();
    if wanted(Tier::Unit) {
        total.add(report("unit", unit(&built)?));
    }
    if wanted(Tier::Live) {
        total.add(report("live", live::run(&built)?));
    }
    if wanted(Tier::Vm) {
        machines::run(&built, args, |kernel, tally| {
            total.add(report(&format!("vm {kernel}"), tally));
        })?;
    }
    println!("{total}");
    if total.failed > 0 {
        // Without a message: the counts are the last line, for whoever reads them by program.
        std::process::exit(1);
    }
    Ok(())
}

/// All that cargo would run by itself, but for the live tests.
fn unit(built: &[Artifact]) -> Result<Tally> {
    let mut command = cargo::cargo();
    command.args(["test", "--workspace", "--no-fail-fast", "--lib", "--bins"]);
    for test in built.iter().filter(|built| built.kind == "test" && built.name != live::TARGET) {
        command.args(["--test", &test.name]);
    }
    let mut tally = run_tests(&mut command)?;
    tally.add(run_tests(cargo::cargo().args(["test", "--workspace", "--doc", "--no-fail-fast"]))?);
    Ok(tally)
}

/// Runs tests, shows what they print as it comes, and counts.
fn run_tests(command: &mut Command) -> Result<Tally> {
    let name = sh::shown(command);
    let child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{name}`"))?;
    let mut child = sh::Reaped(child);
    let mut log = String::new();
    for line in BufReader::new(child.0.stdout.take().context("no output to read")?).lines() {
        let line = line.with_context(|| format!("cannot read what `{name}` prints"))?;
        println!("{line}");
        log += &line;
        log.push('\n');
    }
    let status = child.0.wait()?;
    Ok(Tally::of(&log, status.success(), &name))
}

pub(crate) fn report(tier: &str, tally: Tally) -> Tally {
    println!("{tier}: {tally}");
    for (kind, lines) in [("skipped", &tally.skips), ("failed", &tally.failures)] {
        for line in lines {
            println!("{tier}: {kind}: {line}");
        }
    }
    tally
}
