//! The JSON file of one run, as INTERFACE lays it down.

mod error;

#[cfg(test)]
mod tests;

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

use crate::aggregate::Snapshot;
use crate::diagnose::Finding;
use crate::sink::save;
pub use error::RecordingError;

/// The newest meaning of the fields that this version knows.
pub const SCHEMA: u32 = 1;

/// What was measured, and what follows from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// Grows when a field changes its meaning.
    pub schema: u32,
    /// What was measured.
    #[serde(flatten)]
    pub snapshot: Snapshot,
    /// What follows from it, worst first.
    #[serde(default)]
    pub findings: Vec<Finding>,
}

/// Whether a recording could be saved at `path`, as far as that can be told beforehand.
///
/// # Errors
/// As [`Recording::save`] would give.
pub fn check_writable(path: &std::path::Path) -> Result<(), RecordingError> {
    use rustix::fs::{Access, access};
    let place = if path.exists() {
        path
    } else {
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(".".as_ref())
    };
    access(place, Access::WRITE_OK).map_err(|cause| RecordingError::write(path, &cause.into()))
}

impl Recording {
    /// A recording of this version.
    #[must_use]
    pub fn new(snapshot: Snapshot, findings: Vec<Finding>) -> Self {
        Self { schema: SCHEMA, snapshot, findings }
    }

    /// Writes the JSON, with a newline at its end.
    pub fn write_to(&self, mut sink: impl Write) -> std::io::Result<()> {
        serde_json::to_writer_pretty(&mut sink, self)?;
        sink.write_all(b"\n")?;
        sink.flush()
    }

    /// Reads what [`Recording::write_to`] wrote; `name` is what errors call it.
    pub fn read_from(mut source: impl Read, name: &str) -> Result<Self, RecordingError> {
        let mut text = Vec::new();
        source.read_to_end(&mut text).map_err(|cause| RecordingError::read(name, &cause))?;
        let json: serde_json::Value = serde_json::from_slice(&text)
            .map_err(|cause| RecordingError::not_json(name, &cause))?;
        match json.get("schema").and_then(serde_json::Value::as_u64) {
            None => return Err(RecordingError::not_a_recording(name, "it has no `schema`")),
            Some(schema) if schema > u64::from(SCHEMA) => {
                return Err(RecordingError::too_new(name, schema));
            }
            Some(_) => {}
        }
        serde_json::from_value(json)
            .map_err(|cause| RecordingError::not_a_recording(name, &cause.to_string()))
    }

    /// Saves it to a file, all of it or nothing. A pipe or device is written as it is; `-` and
    /// `/dev/stdout` are the standard output.
    pub fn save(&self, path: &std::path::Path) -> Result<(), RecordingError> {
        save(path, |sink| self.write_to(sink)).map_err(|cause| RecordingError::write(path, &cause))
    }

    /// Reads a recording from a file.
    pub fn load(path: &std::path::Path) -> Result<Self, RecordingError> {
        let name = path.display().to_string();
        let file =
            std::fs::File::open(path).map_err(|cause| RecordingError::read(&name, &cause))?;
        Self::read_from(file, &name)
    }
}
