//! What becomes of a snapshot: findings, a file, something to read, a status.

use std::{io::Write, path::PathBuf};

use super::{colours, say, tracing::Format};
use crate::{
    aggregate::Snapshot,
    diagnose::{self, Severity},
    error::Error,
    sink::{
        Recording,
        report::{self, Style},
    },
};

/// What the user wants of the result.
pub(super) struct Outcome {
    pub(super) output: Option<PathBuf>,
    pub(super) format: Format,
    pub(super) strict: bool,
    pub(super) fail_on: Option<Severity>,
}

impl Outcome {
    /// Prints, saves and judges. What cannot be printed is saved all the same: the terminal may be gone.
    pub(super) fn deliver(&self, snapshot: Snapshot) -> Result<u8, Error> {
        let findings = diagnose::all(&snapshot);
        let recording = Recording::new(snapshot, findings);
        let printed = print(&recording, self.format);
        if let Some(path) = &self.output {
            recording.save(path).map_err(|error| Error::Usage(error.to_string()))?;
            say(&format!("recording saved in {}", path.display()));
        }
        printed?;
        let lost = &recording.snapshot.lost;
        if self.strict && !lost.is_empty() {
            let causes: Vec<_> =
                lost.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
            return Err(Error::Lost(format!("something was lost: {}", causes.join(", "))));
        }
        let failed = self
            .fail_on
            .is_some_and(|limit| recording.findings.iter().any(|one| one.severity >= limit));
        Ok(u8::from(failed))
    }
}

/// Prints a recording on stdout.
pub(super) fn print(recording: &Recording, format: Format) -> Result<(), Error> {
    put_out(&match format {
        Format::Text => text(recording, colours()),
        Format::Json => json(recording),
    })
}

/// A recording for people.
pub(super) fn text(recording: &Recording, colour: bool) -> Vec<u8> {
    report::text(recording, Style { colour, ..Style::default() }).into_bytes()
}

/// A recording for programs.
pub(super) fn json(recording: &Recording) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Memory takes everything.
    let _ = recording.write_to(&mut bytes);
    bytes
}

/// Puts a result on stdout. A reader that has seen enough is no error.
pub(super) fn put_out(result: &[u8]) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(result).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::Usage(format!("cannot print the report: {error}; save it with --output")))
        }
        _ => Ok(()),
    }
}
