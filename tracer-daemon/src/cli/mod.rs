//! The command line: what is typed becomes options, what goes wrong one line and a status.

mod attach;
mod complaints;
mod console;
mod daemon;
mod doctor;
mod generate;
mod looks;
mod onlooker;
mod out;
mod outcome;
mod parse_files;
mod report;
mod run;
mod screen;
mod seized;
mod size;
mod top;
mod trace_window;
mod tracing;
mod vmas;
mod watch;
mod window;
mod worker;

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use self::console::say;
use crate::error::Error;

#[derive(Parser)]
#[command(name = "alloctrace", version, about, max_term_width = 80)]
/// Why does a process spend its time getting and giving back memory?
///
/// alloctrace counts a process's memory calls and page faults exactly, names the stacks behind
/// them, and says what to change and what that will save.
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Show progress and the kernel programs' own diagnostics
    #[arg(long, short, global = true)]
    verbose: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Trace a running process, then report
    Attach(attach::Attach),
    /// Trace a command from its first instruction, then report
    Run(run::Run),
    /// Measure the whole machine and serve the totals to Prometheus
    Daemon(daemon::Daemon),
    /// Show the machine live, by group or process
    Top(top::Top),
    #[command(hide = true)]
    TraceWindow(trace_window::TraceWindow),
    #[command(hide = true)]
    ParseFiles(parse_files::ParseFiles),
    /// Look at one address space: its areas, its holes, the limit
    Vmas(vmas::Vmas),
    /// Render a recording
    Report(report::Report),
    /// Show what this kernel allows, and how each signal is measured
    Doctor(doctor::Doctor),
    #[command(hide = true)]
    Generate(generate::Generate),
}

/// Parses the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = if cli.verbose { log::LevelFilter::Debug } else { log::LevelFilter::Warn };
    console::show_diagnostics(level);
    let done = match &cli.command {
        Command::Attach(command) => command.execute(cli.verbose),
        Command::Run(command) => command.execute(cli.verbose),
        Command::Daemon(command) => command.execute(cli.verbose),
        Command::Top(command) => command.execute(cli.verbose),
        Command::TraceWindow(command) => command.execute(cli.verbose),
        Command::ParseFiles(command) => command.execute(),
        Command::Vmas(command) => command.execute(),
        Command::Report(command) => command.execute(),
        Command::Doctor(command) => command.execute(),
        Command::Generate(command) => command.execute(),
    };
    match done {
        Ok(status) => status,
        Err(error) => {
            console::fail(&error.to_string());
            ExitCode::from(error.status())
        }
    }
}

/// Ticks of which the first one is due after the interval.
fn ticks(every: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// A single-threaded runtime: the work is waiting, and what has to be quick is the kernel's part.
fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Usage(format!("cannot wait for events: {error}")))
}

/// Whether stdout is a terminal that wants colours.
fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
