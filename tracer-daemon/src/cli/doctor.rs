use std::{io::Write, path::Path, process::ExitCode};

use clap::Args;
use serde::Serialize;

use super::tracing::Format;
use crate::{
    error::Error,
    kernel::{self, privileges},
    probes::{
        attach::{load, survey},
        settings::Settings,
    },
};

/// Show what this kernel allows, and how each signal is measured
#[derive(Args)]
#[command(after_help = "Example:\n  sudo alloctrace doctor")]
pub(super) struct Doctor {
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
        privileges::check()?;
        privileges::prepare();
        let examination = examine()?;
        let text = match self.format {
            Format::Text => examination.text(),
            Format::Json => serde_json::to_string_pretty(&examination)
                .map_err(|error| Error::Usage(error.to_string()))?,
        };
        // A reader that has seen enough is no error.
        let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
        Ok(ExitCode::SUCCESS)
    }
}

fn examine() -> Result<Examination, Error> {
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
