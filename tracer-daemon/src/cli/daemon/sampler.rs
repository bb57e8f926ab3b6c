//! What is measured while the daemon serves.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use tokio::{
    sync::watch,
    time::{self, Interval, MissedTickBehavior, interval_at},
};

use super::{
    manager,
    windows::{Ended, Windows},
};
use crate::{
    error::Error,
    session::{DRAIN_INTERVAL, Machine},
    sink::metrics,
};

/// The machine, and windows over the allocators of its processes.
pub(super) struct Sampler {
    machine: Machine,
    windows: Option<Windows>,
}

impl Sampler {
    pub(super) fn new(machine: Machine, windows: Option<Windows>) -> Self {
        Self { machine, windows }
    }

    /// Samples for ever. What could not be read this time is read the next time.
    pub(super) async fn publish(&mut self, samples: &watch::Sender<Bytes>, every: Duration) {
        let mut ticks = ticks_of(every);
        let mut drains = ticks_of(DRAIN_INTERVAL);
        loop {
            tokio::select! {
                _ = drains.tick() => self.machine.drain(),
                _ = ticks.tick() => match self.sample() {
                    Ok(text) => {
                        samples.send_replace(text);
                        manager::measured();
                    }
                    Err(error) => log::warn!("{error}; the last sample stays"),
                },
                Some((windows, ended)) = next_end(&mut self.windows) => {
                    windows.take(ended, Instant::now());
                }
            }
        }
    }

    /// The metrics as they stand; windows that are due begin.
    pub(super) fn sample(&mut self) -> Result<Bytes, Error> {
        let mut snapshot = self.machine.sample()?;
        if let Some(windows) = &mut self.windows {
            windows.begin(self.machine.chosen(), Instant::now());
            snapshot.allocator = windows.totals();
        }
        let text = metrics::render(&snapshot)
            .map_err(|error| Error::Lost(format!("the metrics cannot be written: {error}")))?;
        Ok(Bytes::from(text))
    }
}

/// The next window that ends, if one is under way.
async fn next_end(windows: &mut Option<Windows>) -> Option<(&mut Windows, Ended)> {
    let windows = windows.as_mut()?;
    let ended = windows.ended().await?;
    Some((windows, ended))
}

/// The first one is due after the interval.
fn ticks_of(every: Duration) -> Interval {
    let mut ticks = interval_at(time::Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
