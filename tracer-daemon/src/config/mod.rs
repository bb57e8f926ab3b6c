//! What an administrator wants of the daemon, validated once: beyond this module there are no texts
//! left that might mean nothing.

mod file;
mod read;
mod validate;
pub mod values;

#[cfg(test)]
mod tests;

use std::{
    fmt::{self, Display, Formatter},
    path::PathBuf,
    time::Duration,
};

use crate::{
    census::Rule,
    humanize::escaped,
    session::{Budget, Grouping},
};

/// Where the configuration is if nobody says where.
pub const DEFAULT_FILE: &str = "/etc/alloctrace/alloctrace.toml";
/// Where the daemon serves.
pub const LISTEN: &str = "127.0.0.1:9435";
const INTERVAL: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_secs(300);
const WINDOW: Duration = Duration::from_secs(60);

/// Everything that can be chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Addresses to serve at.
    pub listen: Vec<String>,
    /// The file that says who may read, and by which certificate they know the daemon.
    pub web_config: Option<PathBuf>,
    /// Time between samples.
    pub interval: Duration,
    /// Signals that are to be measured in one way only, or not; each is known to make sense.
    pub backends: Vec<String>,
    /// Whether every look-up of an area is counted.
    pub lookups: bool,
    /// How long a group is left alone after a closer look at one of its processes; no time at all: nobody is looked at.
    pub look_again: Duration,
    /// Whose allocators are traced.
    pub malloc: Malloc,
    /// How processes are put into groups.
    pub grouping: Grouping,
}

/// Windows over the allocators of processes.
#[derive(Clone, Debug, PartialEq)]
pub struct Malloc {
    /// Which processes.
    pub rules: Vec<Rule>,
    /// Of one CPU's time, for all of them together.
    pub budget: Budget,
    /// How long a window is.
    pub window: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![LISTEN.to_owned()],
            web_config: None,
            interval: INTERVAL,
            backends: Vec::new(),
            lookups: false,
            look_again: LOOK_AGAIN,
            malloc: Malloc { rules: Vec::new(), budget: Budget::default(), window: WINDOW },
            grouping: Grouping::default(),
        }
    }
}

impl Config {
    /// The keys that another configuration has other values for, and that are looked at when the daemon
    /// starts and never again.
    #[must_use]
    pub fn fixed_keys_that_differ(&self, other: &Self) -> Vec<&'static str> {
        let fixed = [
            ("listen", self.listen != other.listen),
            ("web_config", self.web_config != other.web_config),
            ("backend", self.backends != other.backends),
            ("lookups", self.lookups != other.lookups),
        ];
        fixed.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }
}

/// A file that cannot be used. One line: where, what, why, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    file: PathBuf,
    line: Option<usize>,
    message: String,
}

impl Display for ConfigError {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(&escaped(&self.file.display().to_string()))?;
        if let Some(line) = self.line {
            write!(out, ":{line}")?;
        }
        write!(out, ": {}", escaped(&self.message))
    }
}
