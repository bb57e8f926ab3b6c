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
    #[arg(long = "request", value_name = "SIZE", value_parser = size)]
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

/// Bytes, or a number with `K`, `M`, `G` or `T` behind it.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| "not a number".to_owned())?;
    let unit = text[digits.len()..].to_ascii_lowercase();
    let shift = match unit.trim_end_matches("ib") {
        "" | "b" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(format!("{unit} is no unit; use K, M, G or T")),
    };
    match number.checked_mul(1 << shift) {
        Some(0) => Err("nothing fits into every hole".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err("too large".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in
            [("4096", 4096), ("512K", 512 << 10), ("2MiB", 2 << 20), ("1g", 1 << 30), ("7b", 7)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "K", "-1", "1.5M", "2 apples", "0", "99999999T", "1é"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
