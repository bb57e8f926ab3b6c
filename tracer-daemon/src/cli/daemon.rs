use std::{process::ExitCode, time::Duration};

use axum::body::Bytes;
use clap::Args;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{oneshot, watch},
    time::{Instant, Interval, MissedTickBehavior, interval_at, timeout},
};

use super::{runtime, say};
use crate::{
    error::Error,
    probes::{catalog::InDaemon, settings::Forced},
    session::{DRAIN_INTERVAL, Machine, Options},
    sink::{http, metrics},
};

/// How long requests under way may take once the service is to end.
const LAST_REQUESTS: Duration = Duration::from_secs(2);
/// A machine with thousands of processes takes tens of milliseconds to sample.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Measure the whole machine and serve the totals to Prometheus
#[derive(Args)]
#[command(
    long_about = "Measure the whole machine and serve the totals to Prometheus\n\n\
    Samples are taken by the clock and published at /metrics; a scrape gets the last one, and \
    makes nothing happen.",
    after_help = "Examples:\n  sudo alloctrace daemon\n  \
    sudo alloctrace daemon --listen 0.0.0.0:9435 --interval 15s"
)]
pub(super) struct Daemon {
    /// Where to serve; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9435")]
    listen: String,
    /// Time between samples: 500ms, 5s, 1m
    #[arg(long, value_parser = sampling_interval, default_value = "5s")]
    interval: Duration,
    /// Measure SIGNAL by KIND only, as in mmap=kprobe or all=tracepoint (see doctor), or not: cpu=off
    #[arg(long = "backend", value_name = "SIGNAL=KIND")]
    backends: Vec<String>,
    /// Count every look-up of an area. Page faults look up as well, and each becomes slower
    #[arg(long)]
    lookups: bool,
}

impl Daemon {
    fn wants(&self, signal: InDaemon) -> bool {
        match signal {
            InDaemon::Always => true,
            InDaemon::IfAsked => self.lookups,
            InDaemon::Never => false,
        }
    }

    pub(super) fn execute(&self, verbose: bool) -> Result<ExitCode, Error> {
        let options = Options {
            forced: Forced::parse(&self.backends).map_err(Error::Usage)?,
            verbose,
            ..Options::default()
        };
        runtime()?.block_on(self.serve(&options))?;
        Ok(ExitCode::SUCCESS)
    }

    async fn serve(&self, options: &Options) -> Result<(), Error> {
        let unserved = |error: std::io::Error| Error::Usage(format!("cannot serve: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(unserved)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(unserved)?;
        let bound = http::bind(&self.listen).await;
        let listener = bound.map_err(|error| Error::Usage(error.to_string()))?;
        let address = listener.local_addr().map_err(unserved)?;

        let mut machine = Machine::start(options, |signal| self.wants(signal.daemon))?;
        machine.failures().for_each(|line| say(&line));
        let (samples, published) = watch::channel(sample(&mut machine)?);
        let (stop, stopped) = oneshot::channel::<()>();
        let mut serving = tokio::spawn(http::serve(listener, published, async {
            let _ = stopped.await;
        }));
        say(&format!("serving http://{address}/metrics"));
        tokio::select! {
            () = publish(&mut machine, &samples, self.interval) => {}
            () = either(&mut interrupt, &mut terminate) => {}
            ended = &mut serving => {
                let ended = ended.unwrap_or_else(|error| Err(error.into()));
                return ended.map_err(unserved);
            }
        }
        let _ = stop.send(());
        if timeout(LAST_REQUESTS, serving).await.is_err() {
            log::info!("a request was cut off");
        }
        Ok(())
    }
}

/// Samples for ever. What could not be read this time is read the next time.
async fn publish(machine: &mut Machine, samples: &watch::Sender<Bytes>, every: Duration) {
    let mut ticks = ticks_of(every);
    let mut drains = ticks_of(DRAIN_INTERVAL);
    loop {
        tokio::select! {
            _ = drains.tick() => machine.drain(),
            _ = ticks.tick() => match sample(machine) {
                Ok(text) => {
                    samples.send_replace(text);
                }
                Err(error) => log::warn!("{error}; the last sample stays"),
            },
        }
    }
}

/// The first one is due after the interval.
fn ticks_of(every: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn sample(machine: &mut Machine) -> Result<Bytes, Error> {
    let snapshot = machine.sample()?;
    let text = metrics::render(&snapshot)
        .map_err(|error| Error::Lost(format!("the metrics cannot be written: {error}")))?;
    Ok(Bytes::from(text))
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn sampling_interval(text: &str) -> Result<Duration, String> {
    let interval = super::attach::duration(text)?;
    if interval < SHORTEST_INTERVAL {
        return Err("shorter than 100ms".to_owned());
    }
    Ok(interval)
}
