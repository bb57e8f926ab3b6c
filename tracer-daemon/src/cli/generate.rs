//! What packages put beside the program: a page of the manual for each command, completions for shells.

use std::{fs, io, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::{Shell, generate_to};

use super::Cli;
use crate::{error::Error, humanize::escaped};

/// Write the manual's pages and the shells' completions into a folder
#[derive(Args)]
pub(super) struct Generate {
    /// Where to; it is made if it is not there
    directory: PathBuf,
}

impl Generate {
    pub(super) fn execute(&self) -> Result<ExitCode, Error> {
        self.write().map_err(|why| {
            let directory = escaped(&self.directory.to_string_lossy());
            Error::Usage(format!("cannot write to {directory}: {why}; choose another folder"))
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn write(&self) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        for shell in Shell::value_variants() {
            generate_to(*shell, &mut Cli::command(), "alloctrace", &self.directory)?;
        }
        // Every option stands on its command's page; a page for `help` would tell nothing.
        let command = Cli::command().disable_help_subcommand(true);
        clap_mangen::generate_to(command, &self.directory)
    }
}
