use std::{io::IsTerminal, path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};

use super::{colours, outcome};
use crate::{
    aggregate::snapshot::{Snapshot, StackTotals, TargetInfo},
    error::Error,
    sink::{
        Recording,
        profile::{self, Measure},
        report, save,
    },
};

/// Render a recording
#[derive(Args)]
#[command(after_help = "Examples:\n  alloctrace report before.json\n  \
    alloctrace report before.json --format flamegraph --output cpu.svg\n  \
    alloctrace report before.json --format html --output report.html\n  \
    alloctrace report before.json --format folded --kind mmap --measure bytes\n  \
    alloctrace report before.json --format pprof > before.pb.gz")]
pub(super) struct Report {
    /// A file that attach or run wrote with --output
    file: PathBuf,
    /// How to render it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Of a profile, the stacks of KIND only: cpu, fault, lookup, malloc, mmap, munmap, mremap, brk. A flame
    /// graph shows one, cpu if there is no other wish
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// What makes stacks heavy: CPU samples the time that they stand for, calls of the allocator their bytes,
    /// others their count, if there is no other wish. A pprof profile has all of it
    #[arg(long, value_enum, value_name = "MEASURE")]
    measure: Option<By>,
    /// Write to FILE
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs: the recording itself
    Json,
    /// A page for a browser, with flame graphs, in one file
    Html,
    /// A line for each stack, as flamegraph.pl takes it
    Folded,
    /// A picture, SVG
    Flamegraph,
    /// For pprof: profile.proto, compressed
    Pprof,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    /// Calls, faults, samples or look-ups
    Count,
    /// Bytes that the calls were about
    Bytes,
    /// Kernel time of calls, CPU time of samples; in nanoseconds
    Time,
    /// Blocks that were not given back, where they were followed
    #[value(name = "inuse_objects")]
    InUseObjects,
    /// Their bytes
    #[value(name = "inuse_space")]
    InUseSpace,
}

impl Report {
    pub(super) fn execute(&self) -> Result<ExitCode, Error> {
        self.check()?;
        let recording =
            Recording::load(&self.file).map_err(|error| Error::Usage(error.to_string()))?;
        let result = self.render(&recording)?;
        match &self.output {
            None => outcome::put_out(&result)?,
            Some(path) => save(path, |file| file.write_all(&result)).map_err(|error| {
                let path = path.display();
                Error::Usage(format!("cannot write {path}: {error}; give another --output"))
            })?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn check(&self) -> Result<(), Error> {
        let wants_stacks = self.kind.is_some() || self.measure.is_some();
        let why = match self.format {
            Format::Text | Format::Json | Format::Html if wants_stacks => {
                "--kind and --measure choose from a profile; add --format folded, flamegraph or pprof"
            }
            Format::Pprof if self.measure.is_some() => {
                "a pprof profile has every measure; leave --measure out and choose in pprof"
            }
            Format::Html | Format::Flamegraph | Format::Pprof
                if self.output.is_none() && std::io::stdout().is_terminal() =>
            {
                "this is nothing for a terminal; give a file with --output, or redirect"
            }
            _ => return Ok(()),
        };
        Err(Error::Usage(why.to_owned()))
    }

    fn render(&self, recording: &Recording) -> Result<Vec<u8>, Error> {
        let snapshot = &recording.snapshot;
        let measure = self.measure.map(By::measure);
        match self.format {
            Format::Text => Ok(outcome::text(recording, self.output.is_none() && colours())),
            Format::Json => Ok(outcome::json(recording)),
            Format::Html => Ok(report::html(recording).into_bytes()),
            Format::Folded => {
                let stacks = stacks(snapshot, self.kind.as_deref())?;
                Ok(profile::folded(&stacks, measure).into_bytes())
            }
            Format::Flamegraph => {
                let kind = self
                    .kind
                    .as_deref()
                    .or_else(|| profile::kinds(&snapshot.stacks).first().copied());
                let stacks = stacks(snapshot, kind)?;
                let kind = kind.unwrap_or_default();
                let measure = measure.unwrap_or(Measure::usual(kind));
                let TargetInfo { comm, pid, .. } = &snapshot.target;
                let title = format!("{comm} (pid {pid}): {kind}, {}", measure.unit());
                profile::flamegraph(&stacks, &title, measure).map_err(undrawable)
            }
            Format::Pprof => {
                let stacks = stacks(snapshot, self.kind.as_deref())?;
                profile::pprof(&stacks, snapshot).map_err(undrawable)
            }
        }
    }
}

fn undrawable(error: std::io::Error) -> Error {
    Error::Usage(format!("nothing to draw: {error}; choose another --kind or --measure"))
}

/// The stacks of a kind, or all; there are some.
fn stacks<'a>(snapshot: &'a Snapshot, kind: Option<&str>) -> Result<Vec<&'a StackTotals>, Error> {
    let is_wanted = |stack: &&StackTotals| kind.is_none_or(|kind| stack.kind == kind);
    let stacks: Vec<_> = snapshot.stacks.iter().filter(is_wanted).collect();
    if !stacks.is_empty() {
        return Ok(stacks);
    }
    let kinds = profile::kinds(&snapshot.stacks).join(", ");
    Err(Error::Usage(match kind.filter(|_| !kinds.is_empty()) {
        Some(kind) => format!("the recording has no stacks of {kind}; give --kind one of {kinds}"),
        None => "the recording has no stacks; record again, as root".to_owned(),
    }))
}

impl By {
    const fn measure(self) -> Measure {
        match self {
            Self::Count => Measure::Count,
            Self::Bytes => Measure::Bytes,
            Self::Time => Measure::Time,
            Self::InUseObjects => Measure::InUseObjects,
            Self::InUseSpace => Measure::InUseSpace,
        }
    }
}
