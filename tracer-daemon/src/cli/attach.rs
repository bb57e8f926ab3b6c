use std::{process::ExitCode, time::Duration};

use clap::Args;

use super::{onlooker::Onlooker, say, tracing::Tracing, window::Window};
use crate::{config::values::duration, error::Error, session::Session};

/// Trace a running process until it ends, the time is up or Ctrl-C; then report
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    alloctrace attach --pid 1234 --duration 30s\n  \
    alloctrace attach --pid 1234 --live\n  \
    alloctrace attach --pid $(pidof redis-server) --output before.json\n  \
    alloctrace attach --pid 1234 --malloc --budget 0.5%")]
pub(super) struct Attach {
    /// The process
    #[arg(long, short)]
    pid: u32,
    /// For how long: 30s, 500ms, 5m, 1h
    #[arg(long, short, value_parser = duration)]
    duration: Option<Duration>,
    /// Show meanwhile how it goes: rates, trends of a minute, the finding of the moment; q ends and reports.
    /// Without a terminal a table each second, with --format json a line, and then the report or the
    /// recording. Findings about the allocator's blocks come with that
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    tracing: Tracing,
}

impl Attach {
    pub(super) fn execute(&self, verbose: bool) -> Result<ExitCode, Error> {
        let outcome = self.tracing.outcome()?;
        let options = self.tracing.options(verbose)?;
        let window = Window::over(self.pid, self.tracing.flags(), self.duration)?;
        let comm = window.found.comm.clone();
        let begun = |session: &Session| {
            session.failures().for_each(|line| say(&line));
            say(&format!("tracing {comm} (pid {}); Ctrl-C ends and reports", self.pid));
            if self.live { Onlooker::of_window(outcome.format) } else { Ok(Onlooker::of_time()) }
        };
        window.measure(&options, begun, |snapshot| outcome.deliver(snapshot)).map(ExitCode::from)
    }
}
