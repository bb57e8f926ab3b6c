use std::{
    fmt::Write as _,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use serde::Serialize;

use super::tracing::Format;
use crate::{
    allocator::{self, NoPlaces, Place},
    census::ProcRoot,
    error::Error,
    humanize::escaped,
    kernel::{self, privileges},
    probes::{
        attach::{load, survey},
        settings::Settings,
    },
};

/// Show what this kernel allows, and how each signal is measured
#[derive(Args)]
#[command(after_help = "Examples:\n  sudo alloctrace doctor\n  sudo alloctrace doctor --pid 4242")]
pub(super) struct Doctor {
    /// Show a process's allocator instead
    #[arg(long)]
    pid: Option<u32>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// What was found out.
#[derive(Serialize)]
struct Examination {
    kernel: String,
    missing: Vec<String>,
    rungs: Vec<RungRow>,
}

/// A rung that was tried.
#[derive(Serialize)]
struct RungRow {
    signal: &'static str,
    backend: &'static str,
    /// Whether it is the one that would be used.
    used: bool,
    /// Why it cannot be attached.
    refusal: Option<String>,
}

impl Doctor {
    pub(super) fn execute(&self) -> Result<ExitCode, Error> {
        let text = match self.pid {
            Some(pid) => self.show(&examine_process(pid)?, Patient::text)?,
            None => self.show(&examine_kernel()?, Examination::text)?,
        };
        // A reader that has seen enough is no error.
        let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
        Ok(ExitCode::SUCCESS)
    }

    fn show<T: Serialize>(&self, findings: &T, text: fn(&T) -> String) -> Result<String, Error> {
        match self.format {
            Format::Text => Ok(text(findings)),
            Format::Json => serde_json::to_string_pretty(findings)
                .map_err(|error| Error::Usage(error.to_string())),
        }
    }
}

/// What was found out about a process.
#[derive(Serialize)]
struct Patient {
    pid: u32,
    comm: String,
    /// `None`: no file of it tells.
    allocator: Option<String>,
    /// The allocator's file.
    module: Option<PathBuf>,
    /// Where `--malloc` would put its probes.
    probes: Vec<AllocatorProbe>,
    /// Functions in which there is no place for one.
    refused: Vec<&'static str>,
    /// Why there are no probes.
    reason: Option<&'static str>,
    /// What helps then.
    instead: Option<&'static str>,
}

/// A place in an allocator's function.
#[derive(Serialize)]
struct AllocatorProbe {
    function: &'static str,
    file_offset: u64,
    /// Otherwise the processor has to step over the instruction, for ten times the price.
    emulated: bool,
}

impl Patient {
    fn text(&self) -> String {
        let Self { pid, .. } = self;
        let comm = escaped(&self.comm);
        let mut text = match (&self.allocator, &self.module) {
            (Some(allocator), Some(module)) => {
                format!("{comm} (pid {pid}): {allocator}, {}\n", module.display())
            }
            _ => format!("{comm} (pid {pid}): its allocator is unknown\n"),
        };
        for AllocatorProbe { function, file_offset, emulated } in &self.probes {
            let price = if *emulated { "" } else { "  stepped over: ten times as dear" };
            let _ = writeln!(text, "  {function:<16} probe at {file_offset:#x}{price}");
        }
        for function in &self.refused {
            let _ = writeln!(text, "  {function:<16} no place is sure to see each call once");
        }
        if let (Some(reason), Some(instead)) = (self.reason, self.instead) {
            let _ = writeln!(text, "  --malloc counts nothing here: {reason}\n  {instead}");
            text.push_str("  system calls, page faults and CPU time are measured all the same\n");
        }
        let malloc = if self.reason.is_none() { " --malloc" } else { "" };
        let _ = writeln!(text, "\nnext  alloctrace attach --pid {pid}{malloc} --duration 30s");
        text
    }
}

fn examine_process(pid: u32) -> Result<Patient, Error> {
    let root = ProcRoot::default();
    let comm = root.stat(pid)?.comm;
    let areas = root.areas(pid)?.areas;
    let (allocator, module) = allocator::find(&root, pid, &areas)
        .map(|allocator| (allocator.to_string(), allocator.module))
        .unzip();
    let found = allocator::places(&root, pid, &areas);
    let none = found.as_ref().err().copied();
    let (places, refused) = found.map(|found| (found.places, found.refused)).unwrap_or_default();
    let probe = |place: Place| AllocatorProbe {
        function: place.call.name(),
        file_offset: place.file_offset,
        emulated: place.is_emulated(),
    };
    let probes = places.into_iter().map(probe).collect();
    Ok(Patient {
        pid,
        comm,
        allocator,
        module,
        probes,
        refused,
        reason: none.map(NoPlaces::why),
        instead: none.map(NoPlaces::instead),
    })
}

fn examine_kernel() -> Result<Examination, Error> {
    privileges::check()?;
    privileges::prepare();
    let resolved = kernel::resolve(Path::new("/"));
    let settings = Settings::targets(resolved.layout);
    let ebpf = load(&settings)
        .map_err(|error| Error::NotPermitted(format!("the kernel refuses the maps: {error}")))?;
    let mut rungs: Vec<RungRow> = Vec::new();
    for (signal, rung, refusal) in survey(ebpf, &settings) {
        let better = rungs.iter().any(|row| row.signal == signal.name && row.used);
        let used = refusal.is_none() && !better;
        rungs.push(RungRow { signal: signal.name, backend: rung.backend.name(), used, refusal });
    }
    Ok(Examination { kernel: kernel::release(), missing: resolved.missing, rungs })
}

impl Examination {
    fn text(&self) -> String {
        let mut text = format!("kernel {}\n", self.kernel);
        for missing in &self.missing {
            text.push_str(&format!("missing: {missing}\n"));
        }
        let mut last = "";
        for row in &self.rungs {
            let signal = if row.signal == last { "" } else { row.signal };
            last = row.signal;
            let mark = match (&row.refusal, row.used) {
                (None, true) => "used".to_owned(),
                (None, false) => "works".to_owned(),
                (Some(why), _) => format!("refused: {}", why.chars().take(46).collect::<String>()),
            };
            text.push_str(&format!("{signal:<10} {:<15} {mark}\n", row.backend));
        }
        text
    }
}
