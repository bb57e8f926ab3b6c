//! A window over a process that runs already.

use std::{os::fd::OwnedFd, time::Duration};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{
    onlooker::Onlooker,
    runtime,
    watch::{Interrupts, Limits, watch},
};
use crate::{
    aggregate::Snapshot,
    census::{CensusError, ProcRoot, ProcessStat},
    error::Error,
    session::{Options, Session},
};

/// A process that is there, and how it is to be traced.
pub(super) struct Window {
    pub(super) found: ProcessStat,
    process: OwnedFd,
    /// Those of [`tracer_common::Target`].
    pub(super) flags: u64,
    /// The longest that it may be; else the process's end or an interrupt ends it.
    pub(super) duration: Option<Duration>,
}

impl Window {
    /// Over this process.
    pub(super) fn over(pid: u32, flags: u64, duration: Option<Duration>) -> Result<Self, Error> {
        let found = find(pid)?;
        let process = Pid::from_raw(pid.cast_signed())
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
            .ok_or_else(|| gone(pid))?;
        Ok(Self { found, process, flags, duration })
    }

    /// Measures, and delivers what came of it. `begun` hears when counting has begun, and says who looks on.
    pub(super) fn measure<T>(
        self,
        options: &Options,
        begun: impl FnOnce(&Session) -> Result<Onlooker, Error>,
        deliver: impl FnOnce(Snapshot) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut session = Session::start(options)?;
        runtime()?.block_on(async {
            let interrupts = Interrupts::catch()?;
            session.trace(&self.found, self.flags)?;
            let onlooker = begun(&session)?;
            let limits = Limits {
                process: self.process,
                duration: self.duration,
                interrupts_for_process: 0,
            };
            watch(&mut session, interrupts, limits, onlooker).await?;
            session.stop()?;
            deliver(session.finish()?)
        })
    }
}

fn find(pid: u32) -> Result<ProcessStat, Error> {
    match ProcRoot::default().stat(pid) {
        Ok(stat) if stat.state == 'Z' => Err(Error::NoSuchProcess(format!(
            "process {pid} has ended and waits for its parent; nothing is left to trace"
        ))),
        Ok(stat) => Ok(stat),
        Err(CensusError::NoSuchProcess(_)) => Err(gone(pid)),
        Err(error) => Err(Error::NotPermitted(error.to_string())),
    }
}

fn gone(pid: u32) -> Error {
    Error::NoSuchProcess(format!("no process {pid}; find its number with pidof or ps"))
}
