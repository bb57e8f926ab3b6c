//! What is measured while the daemon serves.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Bytes;
use tokio::{signal::unix::Signal, sync::watch};

use super::{
    configuration::Configuration,
    manager,
    windows::{Ended, Plan, Windows},
};
use crate::{
    cli::{console::warn, looks::CloserLooks, ticks},
    config::Config,
    error::Error,
    session::{DRAIN_INTERVAL, Machine},
    sink::{
        http::{Sample, Shelf},
        metrics,
    },
};

/// However short intervals are, so long without a sample means nothing.
const SHORTEST_STALENESS: Duration = Duration::from_secs(10);

/// The machine, closer looks at processes, and windows over their allocators.
pub(super) struct Sampler<'a> {
    machine: Machine,
    configuration: Configuration<'a>,
    looks: CloserLooks,
    windows: Option<Windows>,
    shelf: watch::Sender<Shelf>,
}

impl<'a> Sampler<'a> {
    pub(super) fn new(
        machine: Machine,
        configuration: Configuration<'a>,
        shelf: watch::Sender<Shelf>,
    ) -> Self {
        let Config { look_again, backends, .. } = configuration.current();
        let looks = CloserLooks::new(*look_again, backends.clone());
        let mut sampler = Self { machine, configuration, looks, windows: None, shelf };
        sampler.plan_windows();
        sampler
    }

    /// Samples for ever, and reads the configuration again at each hang-up. What could not be read this
    /// time is read the next time.
    pub(super) async fn publish(
        &mut self,
        samples: &watch::Sender<Option<Sample>>,
        mut hangups: Signal,
    ) {
        let mut samplings = ticks(self.configuration.current().interval);
        let mut drains = ticks(DRAIN_INTERVAL);
        loop {
            tokio::select! {
                _ = drains.tick() => self.machine.drain(),
                _ = samplings.tick() => self.publish_sample(samples),
                Some(()) = hangups.recv() => {
                    self.reload();
                    let interval = self.configuration.current().interval;
                    samplings = ticks(interval);
                    manager::ready(interval);
                    self.publish_sample(samples);
                }
                Some((windows, ended)) = next_end(&mut self.windows) => {
                    windows.take(ended, Instant::now());
                }
                Some(ended) = self.looks.ended() => {
                    self.looks.take(ended, Instant::now()).iter().for_each(|line| warn(line));
                }
            }
        }
    }

    /// Changes what can be changed while it runs.
    fn reload(&mut self) {
        let Some(Config { malloc, grouping, .. }) = self.configuration.reload() else { return };
        let current = self.configuration.current();
        self.looks.leave_alone_for(current.look_again);
        if current.grouping != grouping {
            self.machine.regroup(current.grouping.clone());
        }
        if current.malloc != malloc {
            self.machine.choose(current.malloc.rules.clone());
            self.plan_windows();
        }
    }

    /// Windows from now on are as the configuration has them; those under way end as they began.
    fn plan_windows(&mut self) {
        let Config { malloc, backends, .. } = self.configuration.current();
        let plan =
            Plan { budget: malloc.budget, window: malloc.window, backends: backends.clone() };
        match &mut self.windows {
            Some(windows) => windows.replan(plan),
            None if malloc.rules.is_empty() => {}
            None => self.windows = Some(Windows::new(plan, self.shelf.clone())),
        }
    }

    fn publish_sample(&mut self, samples: &watch::Sender<Option<Sample>>) {
        match self.sample() {
            Ok(sample) => {
                samples.send_replace(Some(sample));
                manager::measured();
            }
            Err(error) => log::warn!("{error}; the last sample stays"),
        }
    }

    /// The machine as it stands; looks and windows that are due begin.
    pub(super) fn sample(&mut self) -> Result<Sample, Error> {
        let mut snapshot = self.machine.sample()?;
        snapshot.config = self.configuration.reading();
        self.looks.attend(&self.machine, &mut snapshot, Instant::now());
        if let Some(windows) = &mut self.windows {
            windows.begin(self.machine.chosen(), Instant::now());
            snapshot.allocator = windows.totals();
        }
        let text = metrics::render(&snapshot)
            .map_err(|error| Error::Lost(format!("the metrics cannot be written: {error}")))?;
        let interval = self.configuration.current().interval;
        Ok(Sample {
            at: Instant::now(),
            stale_after: (interval * manager::MISSED_SAMPLES).max(SHORTEST_STALENESS),
            machine: Arc::new(snapshot),
            metrics: Bytes::from(text),
        })
    }
}

/// The next window that ends, if one is under way.
async fn next_end(windows: &mut Option<Windows>) -> Option<(&mut Windows, Ended)> {
    let windows = windows.as_mut()?;
    let ended = windows.ended().await?;
    Some((windows, ended))
}
