use std::{io::Write, process::ExitCode};

use clap::Args;

use super::{colours, say, tracing::Format};
use crate::{
    census::{
        AreaReading, ProcRoot,
        address_space::{AddressSpace, census},
    },
    error::Error,
    sink::report::{self, Inspected, Style},
};

/// Look at one address space: its areas, its holes, the limit
#[derive(Args)]
#[command(
    long_about = "Look at one address space: its areas, its holes, the limit\n\n\
    Reads /proc/PID/maps once. That takes the process's mmap_lock for as long as `cat` would; \
    the time is in the output.",
    after_help = "Examples:\n  alloctrace vmas --pid 1234\n  \
    alloctrace vmas --pid $(pidof redis-server) --request 512K --request 2M"
)]
pub(super) struct Vmas {
    /// The process
    #[arg(long, short)]
    pid: u32,
    /// A size: how many holes are too small for it, from the top down (4096, 512K, 2M, 1G)
    #[arg(long = "request", value_name = "SIZE", value_parser = super::size::size)]
    requests: Vec<u64>,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Vmas {
    pub(super) fn execute(&self) -> Result<ExitCode, Error> {
        let root = ProcRoot::default();
        let comm = root.stat(self.pid).map(|stat| stat.comm).unwrap_or_default();
        let reading = root.areas(self.pid)?;
        let space = census(&reading, &self.requests);
        let text = match self.format {
            Format::Text => {
                let style = Style { colour: colours(), ..Style::default() };
                report::vmas(&space, Inspected { pid: self.pid, comm: &comm }, style)
            }
            Format::Json => {
                warn(&reading);
                json(&space)?
            }
        };
        // A reader that has seen enough is no error.
        let _ = std::io::stdout().write_all(text.as_bytes());
        Ok(ExitCode::SUCCESS)
    }
}

/// What the text says and the JSON has no field for.
fn warn(reading: &AreaReading) {
    if reading.torn + reading.unreadable > 0 {
        say(&format!(
            "{} areas were left out (the process changed while it was read), {} lines could not \
             be understood",
            reading.torn, reading.unreadable
        ));
    }
}

fn json(space: &AddressSpace) -> Result<String, Error> {
    serde_json::to_string_pretty(space)
        .map(|text| text + "\n")
        .map_err(|error| Error::Usage(error.to_string()))
}
