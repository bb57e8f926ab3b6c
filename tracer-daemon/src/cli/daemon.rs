mod manager;
mod sampler;
mod windows;
mod worker;

use std::{ops::RangeInclusive, process::ExitCode, time::Duration};

use clap::Args;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{oneshot, watch},
    time::timeout,
};

use self::{
    sampler::Sampler,
    windows::{Plan, Windows},
};
use super::{console::warn, runtime, say};
use crate::{
    census::Rule,
    error::Error,
    probes::{
        catalog::{InDaemon, Signal as Measured},
        settings::Forced,
    },
    session::{Budget, Machine, Options},
    sink::http::{self, Published, Shelf},
};

/// How long requests under way may take once the service is to end.
const LAST_REQUESTS: Duration = Duration::from_secs(2);
/// What putting probes in and out takes should be little of a window; and who wants to wait for hours?
const WINDOWS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// A machine with thousands of processes takes tens of milliseconds to sample.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Measure the whole machine and serve the totals to Prometheus
#[derive(Args)]
#[command(
    long_about = "Measure the whole machine and serve the totals to Prometheus\n\n\
    Samples are taken by the clock and published at /metrics; a scrape gets the last one, and \
    makes nothing happen.",
    after_help = "Examples:\n  sudo alloctrace daemon\n  \
    sudo alloctrace daemon --listen 0.0.0.0:9435 --interval 15s\n  \
    sudo alloctrace daemon --malloc exe=redis-server --malloc unit=nginx.service"
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
    /// Trace the allocators of processes as well: exe=NAME, exe=/path, unit=NAME.service or cgroup=/path
    #[arg(long, value_name = "RULE")]
    malloc: Vec<String>,
    /// The part of one CPU's time that this may take from all of them together; 100%: count every call
    #[arg(long, value_name = "SHARE", default_value = "1%", requires = "malloc", value_parser = super::tracing::budget)]
    malloc_budget: Budget,
    /// For how long each is traced when it has its turn
    #[arg(long, value_name = "TIME", default_value = "60s", requires = "malloc", value_parser = window)]
    malloc_window: Duration,
}

impl Daemon {
    fn wants(&self, signal: InDaemon) -> bool {
        match signal {
            InDaemon::Always => true,
            InDaemon::IfAsked => self.lookups,
            InDaemon::Never => false,
        }
    }

    fn plan(&self) -> Option<Plan> {
        (!self.malloc.is_empty()).then(|| Plan {
            budget: self.malloc_budget,
            window: self.malloc_window,
            backends: self.backends.clone(),
        })
    }

    pub(super) fn execute(&self, verbose: bool) -> Result<ExitCode, Error> {
        let options = Options {
            forced: Forced::parse(&self.backends).map_err(Error::Usage)?,
            verbose,
            ..Options::default()
        };
        let rules: Result<_, _> = self.malloc.iter().map(|text| Rule::parse(text)).collect();
        let rules = rules.map_err(|error| Error::Usage(error.to_string()))?;
        runtime()?.block_on(self.serve(&options, rules))?;
        Ok(ExitCode::SUCCESS)
    }

    async fn serve(&self, options: &Options, rules: Vec<Rule>) -> Result<(), Error> {
        let unserved = |error: std::io::Error| Error::Usage(format!("cannot serve: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(unserved)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(unserved)?;
        let bound = http::bind(&self.listen).await;
        let listener = bound.map_err(|error| Error::Usage(error.to_string()))?;
        let address = listener.local_addr().map_err(unserved)?;

        let wanted = |signal: &Measured| self.wants(signal.daemon);
        let machine = Machine::start(options, rules, wanted)?;
        machine.failures().for_each(|line| warn(&line));
        let (shelf, profiles) = watch::channel(Shelf::default());
        let windows = self.plan().map(|plan| Windows::new(plan, shelf));
        let mut sampler = Sampler::new(machine, windows);
        let (samples, metrics) = watch::channel(sampler.sample()?);
        let published = Published { metrics, profiles };
        let (stop, stopped) = oneshot::channel::<()>();
        let mut serving = tokio::spawn(http::serve(listener, published, async {
            let _ = stopped.await;
        }));
        say(&format!("serving http://{address}/metrics"));
        manager::ready(self.interval);
        tokio::select! {
            () = sampler.publish(&samples, self.interval) => {}
            () = either(&mut interrupt, &mut terminate) => {}
            ended = &mut serving => {
                let ended = ended.unwrap_or_else(|error| Err(error.into()));
                return ended.map_err(unserved);
            }
        }
        manager::stopping();
        let _ = stop.send(());
        if timeout(LAST_REQUESTS, serving).await.is_err() {
            log::info!("a request was cut off");
        }
        Ok(())
    }
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

fn window(text: &str) -> Result<Duration, String> {
    let window = super::attach::duration(text)?;
    if WINDOWS.contains(&window) { Ok(window) } else { Err("not between 1s and 1h".to_owned()) }
}
