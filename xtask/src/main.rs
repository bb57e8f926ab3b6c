//! The project's chores. `cargo xtask help` lists them; each command is a module of its own.

mod bench;
mod cargo;
mod demo;
mod dist;
mod lint;
mod service;
mod setup;
mod sh;
mod test;
mod vm;

use clap::Parser;
use std::process::ExitCode;

/// alloctrace's chores
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Command {
    /// Make this machine able to build the BPF programs, and more with `--with`
    Setup(setup::Args),
    /// From a fresh clone to a report: set up, build, trace a small workload for five seconds
    Demo,
    /// Every test: without privileges, on this kernel as root, and in virtual machines
    Test(test::Args),
    /// The package on a Debian with systemd: installed, killed, hung, upgraded, rebooted, purged
    Service(service::Args),
    /// The packages, in target/dist
    Dist,
    /// Formatting and clippy, with warnings as errors
    Lint,
    /// What tracing costs the traced, next to other tracers, as ratios measured by turns
    Bench(bench::Args),
    /// Run a command in a virtual machine, under one or all of the kernels that are tested
    ///
    /// Kernels are kept in target/vm/kernels; delete that to have newer ones fetched.
    Vm(vm::Args),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Setup(args) => setup::run(&args),
        Command::Demo => demo::run(),
        Command::Test(args) => test::run(&args),
        Command::Service(args) => service::run(&args),
        Command::Dist => dist::make(),
        Command::Lint => lint::run(),
        Command::Bench(args) => bench::run(&args),
        Command::Vm(args) => vm::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
