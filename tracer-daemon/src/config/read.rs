use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    path::Path,
};

use super::{Config, ConfigError, file, validate::Validator};

/// Bytes of a file. One with a rule for each of a thousand services has a tenth of this.
const LONGEST: u64 = 1 << 20;

impl Config {
    /// What the file says; what it does not say is as [`Config::default`] has it.
    ///
    /// # Errors
    /// For the first thing that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = text(path).map_err(|error| {
            let todo = match error.kind() {
                ErrorKind::NotFound => "give the file's name with --config",
                ErrorKind::PermissionDenied => "let alloctrace's user read it",
                _ => "give a file as the sample alloctrace.toml",
            };
            let message = format!("cannot be read: {error}; {todo}");
            ConfigError { file: path.to_owned(), line: None, message }
        })?;
        Self::parse(path, &text)
    }

    /// The same, where the file may be missing.
    ///
    /// # Errors
    /// For the first thing that is wrong with it.
    pub fn read_if_there(path: &Path) -> Result<Self, ConfigError> {
        match path.try_exists() {
            Ok(false) => Ok(Self::default()),
            _ => Self::read(path),
        }
    }

    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let validator = Validator { path, text };
        let file: file::File = toml::from_str(text).map_err(|error| validator.syntax(&error))?;
        validator.config(file)
    }
}

fn text(path: &Path) -> io::Result<String> {
    // A pipe would make the daemon wait, and has nothing more to say at a reload.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut text = String::new();
    File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(io::Error::other("it has more than a mebibyte"));
    }
    Ok(text)
}
