//! What reads other people's files for a session, in a process of its own that has given its privileges up.

use std::process::ExitCode;

use clap::Args;
use rustix::thread::set_name;

use crate::{error::Error, parser};

/// Parse files for the session that started this
#[derive(Args)]
pub(super) struct ParseFiles;

impl ParseFiles {
    pub(super) fn execute(&self) -> Result<ExitCode, Error> {
        // The kernel calls it `exe`, as the link that it was started by. A wrong name is no reason to fail.
        let _ = set_name(c"alloctrace");
        parser::serve().map_err(|error| {
            Error::Usage(format!(
                "no session on stdin: {error}; attach and run start this themselves"
            ))
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
