//! The configuration while the daemon serves, and what becomes of it when it is read again.

use std::time::{SystemTime, UNIX_EPOCH};

use super::Daemon;
use crate::{
    aggregate::machine::ConfigReading,
    cli::{console::warn, say},
    config::Config,
};

/// The last good configuration.
pub(super) struct Configuration<'a> {
    flags: &'a Daemon,
    /// Of keys that need a restart, what the daemon was started with.
    current: Config,
    reading: ConfigReading,
}

impl<'a> Configuration<'a> {
    /// The one to start with, which has just been read.
    pub(super) fn new(flags: &'a Daemon, current: Config) -> Self {
        let reading = ConfigReading { succeeded: true, succeeded_at: unix_seconds() };
        Self { flags, current, reading }
    }

    pub(super) const fn current(&self) -> &Config {
        &self.current
    }

    /// How the last reading went.
    pub(super) const fn reading(&self) -> ConfigReading {
        self.reading
    }

    /// Reads it again. Returns the one before; `None`: that stays, for the new one makes no sense.
    pub(super) fn reload(&mut self) -> Option<Config> {
        match self.flags.configuration() {
            Ok(config) => {
                let fixed = self.current.fixed_keys_that_differ(&config).join(", ");
                self.reading = ConfigReading { succeeded: true, succeeded_at: unix_seconds() };
                let file = self.flags.file().display();
                match &*fixed {
                    "" => say(&format!("read {file} again")),
                    keys => say(&format!("read {file} again; a restart is needed for: {keys}")),
                }
                let Config { interval, look_again, malloc, grouping, .. } = config;
                let next =
                    Config { interval, look_again, malloc, grouping, ..self.current.clone() };
                Some(std::mem::replace(&mut self.current, next))
            }
            Err(error) => {
                self.reading.succeeded = false;
                warn(&format!("{error}; the configuration before it stays"));
                None
            }
        }
    }
}

/// For people and Prometheus only.
fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
