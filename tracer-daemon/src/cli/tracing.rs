//! Options that `attach` and `run` share.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::outcome::Outcome;
use crate::{
    config::values::budget,
    diagnose::Severity,
    error::Error,
    probes::settings::Forced,
    session::{Budget, Options},
};

#[derive(Args)]
pub(super) struct Tracing {
    /// Trace the processes that it forks as well
    #[arg(long)]
    follow: bool,
    /// Count the calls of its allocator (malloc, free, …) as well; not its children's
    #[arg(long)]
    malloc: bool,
    /// The part of its time that counting those may take; 100%: count every call
    #[arg(long, value_name = "SHARE", default_value = "1%", requires = "malloc", value_parser = budget)]
    budget: Budget,
    /// Save the recording (JSON) in FILE
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What to print at the end
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Measure SIGNAL by KIND only, as in mmap=kprobe or all=tracepoint (see doctor), or not: cpu=off
    #[arg(long = "backend", value_name = "SIGNAL=KIND")]
    backends: Vec<String>,
    /// Exit with status 1 if there is a finding of this severity or worse
    #[arg(long, value_enum, value_name = "SEVERITY")]
    fail_on: Option<FailOn>,
    /// Exit with status 5 if anything was lost
    #[arg(long)]
    strict: bool,
    /// Say how many holes are too small for SIZE, besides the sizes that were mapped (4096, 512K, 2M)
    #[arg(long = "request", value_name = "SIZE", value_parser = super::size::size)]
    requests: Vec<u64>,
    /// Ring buffer for records, in KiB, a power of two
    #[arg(long, value_name = "KIB", value_parser = ring_bytes)]
    ring: Option<u32>,
    /// Keep the raw records in FILE
    #[arg(long, value_name = "FILE", hide = true)]
    dump: Option<PathBuf>,
}

/// How a recording is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// For programs: the recording itself
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FailOn {
    Low,
    Medium,
    High,
}

impl Tracing {
    /// How to measure.
    pub(super) fn options(&self, verbose: bool) -> Result<Options, Error> {
        Ok(Options {
            forced: Forced::parse(&self.backends).map_err(Error::Usage)?,
            ring_bytes: self.ring,
            requests: self.requests.clone(),
            verbose,
            dump: self.dump.clone(),
            malloc: self.malloc.then_some(self.budget),
        })
    }

    /// The target's flags.
    pub(super) fn flags(&self) -> u64 {
        if self.follow { tracer_common::Target::FOLLOW } else { 0 }
    }

    /// What to do with the result. Looks beforehand whether the recording can be saved: nobody
    /// wants to hear of it after an hour of measuring.
    pub(super) fn outcome(&self) -> Result<Outcome, Error> {
        if let Some(path) = &self.output {
            crate::sink::recording::check_writable(path)
                .map_err(|error| Error::Usage(error.to_string()))?;
        }
        Ok(Outcome {
            output: self.output.clone(),
            format: self.format,
            strict: self.strict,
            fail_on: self.fail_on.map(|severity| match severity {
                FailOn::Low => Severity::Low,
                FailOn::Medium => Severity::Medium,
                FailOn::High => Severity::High,
            }),
        })
    }
}

fn ring_bytes(text: &str) -> Result<u32, String> {
    let kib: u32 = text.parse().map_err(|_| "not a number".to_owned())?;
    match kib.checked_mul(1024) {
        Some(bytes) if kib >= 4 && bytes.is_power_of_two() => Ok(bytes),
        _ => Err("not a power of two between 4 and 2097152".to_owned()),
    }
}
