//! The worker of the daemon and of `top`: a window over a process, in a process of its own. Meters in one process would hit each
//! other's probes; and what a target's files may do to whoever reads them, they do to this one.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use rustix::{
    process::{Pid, Signal, getppid, set_parent_process_death_signal},
    thread::set_name,
};
use tracer_common::ProcessId;

use super::{
    onlooker::Onlooker,
    outcome::{json, put_out},
    window::Window,
};
use crate::{
    config::values::{budget, duration},
    diagnose,
    error::Error,
    probes::{catalog, settings::Forced},
    session::{Budget, Options, Session},
    sink::Recording,
};

/// What a worker says on stdout as soon as it counts; before a recording it is nothing but white space.
pub(super) const BEGUN: u8 = b'\n';

/// Trace a process for the daemon that started this
#[derive(Args)]
pub(super) struct TraceWindow {
    #[arg(long)]
    pid: u32,
    /// When it was forked, in ticks since boot
    #[arg(long)]
    start_ticks: u64,
    #[arg(long, value_parser = duration)]
    window: Duration,
    /// For its allocator, and nothing else is measured; absent: all else is
    #[arg(long, value_parser = budget)]
    budget: Option<Budget>,
    /// The daemon
    #[arg(long)]
    parent: u32,
    #[arg(long = "backend")]
    backends: Vec<String>,
}

impl TraceWindow {
    /// The arguments that [`TraceWindow::execute`] takes, for a worker of this process.
    pub(super) fn arguments(
        process: ProcessId,
        window: Duration,
        budget: Option<Budget>,
        backends: &[String],
    ) -> Vec<String> {
        let mut arguments = vec![
            "trace-window".to_owned(),
            format!("--pid={}", process.pid),
            format!("--start-ticks={}", process.start_ticks),
            format!("--window={}ms", window.as_millis()),
            format!("--parent={}", std::process::id()),
        ];
        arguments.extend(budget.map(|budget| format!("--budget={}%", budget.share() * 100.0)));
        arguments.extend(backends.iter().map(|word| format!("--backend={word}")));
        arguments
    }

    pub(super) fn execute(&self, verbose: bool) -> Result<ExitCode, Error> {
        self.end_with_parent()?;
        // The kernel calls it `exe`, as the link that it was started by. A wrong name is no reason to fail.
        let _ = set_name(c"alloctrace");
        let window = Window::over(self.pid, 0, Some(self.window))?;
        if window.found.start_ticks != self.start_ticks {
            let text = format!("process {} has ended, and another one has its number", self.pid);
            return Err(Error::NoSuchProcess(text));
        }
        let options = Options {
            forced: Forced::parse(&self.words()).map_err(Error::Usage)?,
            malloc: self.budget,
            verbose,
            ..Options::default()
        };
        let begun = |session: &Session| {
            if self.budget.is_some() {
                session.counts_allocator().map_err(Error::Usage)?;
            }
            put_out(&[BEGUN])?;
            Ok(Onlooker::of_time())
        };
        window.measure(&options, begun, |snapshot| {
            let findings = diagnose::all(&snapshot);
            put_out(&json(&Recording::new(snapshot, findings)))
        })?;
        Ok(ExitCode::SUCCESS)
    }

    /// The kernel ends this process when the daemon ends, however that comes about, and with it its probes.
    fn end_with_parent(&self) -> Result<(), Error> {
        let dead = |why: String| Error::Usage(format!("cannot end with the daemon: {why}"));
        set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|error| dead(std::io::Error::from(error).to_string()))?;
        // It may have ended before.
        let parent = getppid().map(Pid::as_raw_nonzero).map(|pid| pid.get().cast_unsigned());
        if parent == Some(self.parent) { Ok(()) } else { Err(dead("it has ended".to_owned())) }
    }

    /// With a budget nothing is measured but the allocator, and what ends: the daemon measures the rest.
    fn words(&self) -> Vec<String> {
        let others = catalog::CATALOG.iter().filter(|_| self.budget.is_some());
        let others = others.map(|signal| signal.name);
        let others = others.filter(|name| ![catalog::PROCESS, catalog::MALLOC].contains(name));
        self.backends.iter().cloned().chain(others.map(|name| format!("{name}=off"))).collect()
    }
}
