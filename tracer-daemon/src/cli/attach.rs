use std::{process::ExitCode, time::Duration};

use clap::Args;

use super::{say, tracing::Tracing, window::Window};
use crate::{error::Error, session::Session};

/// Trace a running process until it ends, the time is up or Ctrl-C; then report
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    alloctrace attach --pid 1234 --duration 30s\n  \
    alloctrace attach --pid $(pidof redis-server) --output before.json\n  \
    alloctrace attach --pid 1234 --malloc --budget 0.5%")]
pub(super) struct Attach {
    /// The process
    #[arg(long, short)]
    pid: u32,
    /// For how long: 30s, 500ms, 5m, 1h
    #[arg(long, short, value_parser = super::attach::duration)]
    duration: Option<Duration>,
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
            Ok(())
        };
        window.measure(&options, begun, |snapshot| outcome.deliver(snapshot)).map(ExitCode::from)
    }
}

/// A number with `ms`, `s`, `m` or `h` behind it; seconds without.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: f64 = digits.parse().map_err(|_| "not a number".to_owned())?;
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("{unit} is no unit; use ms, s, m or h")),
    };
    Duration::try_from_secs_f64(number * unit).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, millis) in [("30s", 30_000), ("500ms", 500), ("2", 2000), ("1.5m", 90_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1s", "5 parsecs", "1e400s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
