//! What ends a command early: one line for people, a status for scripts.

use thiserror::Error;

use crate::census::CensusError;

/// Why a command ended without doing its work. The text says what, why and what to do.
#[derive(Debug, Error)]
pub enum Error {
    /// The command line or the environment is not as the command needs it.
    #[error("{0}")]
    Usage(String),
    /// A privilege is missing.
    #[error("{0}")]
    NotPermitted(String),
    /// There is no such process, or it vanished before anything was measured.
    #[error("{0}")]
    NoSuchProcess(String),
    /// Something was lost and the user wants none of that.
    #[error("{0}")]
    Lost(String),
}

impl Error {
    /// The exit status.
    #[must_use]
    pub const fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::NotPermitted(_) => 3,
            Self::NoSuchProcess(_) => 4,
            Self::Lost(_) => 5,
        }
    }
}

impl From<CensusError> for Error {
    fn from(error: CensusError) -> Self {
        let text = error.to_string();
        match error {
            CensusError::NoSuchProcess(_) => {
                Self::NoSuchProcess(format!("{text}; find its number with pidof or ps"))
            }
            CensusError::NoAddressSpace(_) | CensusError::Changing(_) => Self::NoSuchProcess(text),
            CensusError::NotPermitted(_) => Self::NotPermitted(format!(
                "{text}: CAP_SYS_PTRACE is missing, needed for processes of others; run as root (sudo)"
            )),
            _ => Self::Usage(text),
        }
    }
}
