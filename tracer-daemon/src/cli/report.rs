use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{outcome::print, tracing::Format};
use crate::{error::Error, sink::Recording};

/// Render a recording
#[derive(Args)]
#[command(after_help = "Example:\n  alloctrace report before.json")]
pub(super) struct Report {
    /// A file that attach or run wrote with --output
    file: PathBuf,
    /// How to render it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Report {
    pub(super) fn execute(&self) -> Result<ExitCode, Error> {
        let recording =
            Recording::load(&self.file).map_err(|error| Error::Usage(error.to_string()))?;
        print(&recording, self.format)?;
        Ok(ExitCode::SUCCESS)
    }
}
