use std::{fs::File, io::BufWriter, path::PathBuf};

use super::Budget;
use crate::{
    error::Error,
    probes::settings::{Forced, Settings},
};

/// How a session is to measure.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What the user insists on.
    pub forced: Forced,
    /// Bytes of the ring buffer, a power of two; the default where absent.
    pub ring_bytes: Option<u32>,
    /// Sizes for which the holes are searched at the end, besides those that were mapped.
    pub requests: Vec<u64>,
    /// Whether the kernel programs' diagnostics are wanted.
    pub verbose: bool,
    /// What counting the allocator's calls may cost, if they are to be counted.
    pub malloc: Option<Budget>,
    /// Where to keep the raw records, for replay.
    pub dump: Option<PathBuf>,
}

impl Options {
    pub(super) fn settings(&self, defaults: Settings) -> Settings {
        Settings {
            forced: self.forced.clone(),
            ring_bytes: self.ring_bytes.unwrap_or(defaults.ring_bytes),
            verbose: self.verbose,
            ..defaults
        }
    }

    pub(super) fn create_dump(&self) -> Result<Option<BufWriter<File>>, Error> {
        let Some(path) = &self.dump else {
            return Ok(None);
        };
        let file = File::create(path).map_err(|error| {
            Error::Usage(format!("cannot write {}: {error}; choose another file", path.display()))
        })?;
        Ok(Some(BufWriter::new(file)))
    }
}
