use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::SCHEMA;
use crate::humanize::escaped;

const GIVE_A_RECORDING: &str = "give a file that `alloctrace attach` or `run` wrote with --output";

/// Why a recording could not be written or read: one line that says what, why and what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct RecordingError(String);

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RecordingError {}

impl RecordingError {
    fn new(what: &str, name: &str, why: &str, do_this: &str) -> Self {
        let (name, why) = (escaped(name), escaped(why));
        Self(format!("cannot {what} {name}: {why}; {do_this}"))
    }

    pub(super) fn write(path: &Path, cause: &io::Error) -> Self {
        let do_this = match cause.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                "make room or give another --output"
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                "give an --output in a directory that you may write to"
            }
            ErrorKind::NotFound | ErrorKind::NotADirectory => {
                "make the directory first or give another --output"
            }
            ErrorKind::IsADirectory => "give the name of a file in it as --output",
            ErrorKind::BrokenPipe => "the reader must read to the end",
            _ => "give another --output",
        };
        let name = path.display().to_string();
        Self::new("write the recording to", &name, &plain(cause), do_this)
    }

    pub(super) fn read(name: &str, cause: &io::Error) -> Self {
        Self::new("read the recording", name, &plain(cause), GIVE_A_RECORDING)
    }

    pub(super) fn not_json(name: &str, cause: &serde_json::Error) -> Self {
        let do_this = if cause.is_eof() {
            "the file is empty or cut off: record or copy it again"
        } else {
            GIVE_A_RECORDING
        };
        let why = format!("it is not JSON ({cause})");
        Self::new("read the recording", name, &why, do_this)
    }

    pub(super) fn not_a_recording(name: &str, why: &str) -> Self {
        let why = format!("it is JSON, but no recording of alloctrace: {why}");
        Self::new("read the recording", name, &why, GIVE_A_RECORDING)
    }

    pub(super) fn too_new(name: &str, schema: u64) -> Self {
        let why = format!("its schema is {schema}, and this alloctrace knows up to {SCHEMA}");
        Self::new("read the recording", name, &why, "use a newer alloctrace")
    }
}

/// The kernel's words without Rust's `(os error 28)`.
fn plain(cause: &io::Error) -> String {
    let text = cause.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}
