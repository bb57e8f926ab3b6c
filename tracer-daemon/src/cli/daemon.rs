mod configuration;
mod manager;
mod sampler;
mod windows;

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use self::{configuration::Configuration, sampler::Sampler};
use super::{console::warn, runtime, say};
use crate::{
    census::Rule,
    config::{Config, DEFAULT_FILE, LISTEN, values},
    error::Error,
    probes::{
        catalog::{InDaemon, Signal as Measured},
        settings::Forced,
    },
    session::{Budget, Machine, Options},
    sink::http::{self, Guard, Published, Server, Shelf},
};

/// Measure the whole machine and serve the totals to Prometheus
#[derive(Args)]
#[command(
    long_about = "Measure the whole machine and serve the totals to Prometheus\n\n\
    Samples are taken by the clock and published at /metrics; a scrape gets the last one, and \
    makes nothing happen.",
    after_help = "Examples:\n  sudo alloctrace daemon\n  \
    sudo alloctrace daemon --listen 0.0.0.0:9435 --interval 15s\n  \
    sudo alloctrace daemon --listen 0.0.0.0:9435 --web-config /etc/alloctrace/web.yml\n  \
    sudo alloctrace daemon --malloc exe=redis-server --malloc unit=nginx.service\n  \
    alloctrace daemon --config alloctrace.toml --check-config"
)]
pub(super) struct Daemon {
    /// The configuration; what stands here as well goes before it. SIGHUP makes the daemon read it
    /// again [default: /etc/alloctrace/alloctrace.toml if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say whether the configuration makes sense, and do no more
    #[arg(long)]
    check_config: bool,
    /// Where to serve, as often as you like; port 0 takes a free one [default: 127.0.0.1:9435, or the
    /// sockets of a systemd unit]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<String>,
    /// TLS and passwords: a web configuration file as Prometheus's exporters have it
    #[arg(long, value_name = "FILE")]
    web_config: Option<PathBuf>,
    /// Time between samples: 500ms, 5s, 1m [default: 5s]
    #[arg(long, value_parser = values::interval)]
    interval: Option<Duration>,
    /// Measure SIGNAL by KIND only, as in mmap=kprobe or all=tracepoint (see doctor), or not: cpu=off
    #[arg(long = "backend", value_name = "SIGNAL=KIND")]
    backends: Vec<String>,
    /// Count every look-up of an area. Page faults look up as well, and each becomes slower
    #[arg(long)]
    lookups: bool,
    /// Look closer, for 10 s, at a process whose memory management takes a twentieth of a CPU or more, or that
    /// has half of the areas it may have; then leave its group alone for so long; 0s: never look
    /// [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = values::look_again)]
    look_again: Option<Duration>,
    /// Trace the allocators of processes as well: exe=NAME, exe=/path, unit=NAME.service or cgroup=/path
    #[arg(long, value_name = "RULE")]
    malloc: Vec<String>,
    /// The part of one CPU's time that this may take from all of them together; 100%: count every call
    /// [default: 1%]
    #[arg(long, value_name = "SHARE", value_parser = values::budget)]
    malloc_budget: Option<Budget>,
    /// For how long each is traced when it has its turn [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = values::window)]
    malloc_window: Option<Duration>,
}

fn wants(config: &Config, signal: InDaemon) -> bool {
    match signal {
        InDaemon::Always => true,
        InDaemon::IfAsked => config.lookups,
        InDaemon::Never => false,
    }
}

impl Daemon {
    /// As the file and the command line have it.
    fn configuration(&self) -> Result<Config, Error> {
        let read = match &self.config {
            Some(file) => Config::read(file),
            None => Config::read_if_there(Path::new(DEFAULT_FILE)),
        };
        let mut config = read.map_err(|error| Error::Usage(error.to_string()))?;
        self.go_before(&mut config)?;
        Ok(config)
    }

    fn file(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE))
    }

    fn go_before(&self, config: &mut Config) -> Result<(), Error> {
        if !self.listen.is_empty() {
            config.listen.clone_from(&self.listen);
        }
        if let Some(file) = &self.web_config {
            config.web_config = Some(file.clone());
        }
        if !self.backends.is_empty() {
            Forced::parse(&self.backends).map_err(Error::Usage)?;
            config.backends.clone_from(&self.backends);
        }
        if !self.malloc.is_empty() {
            let rules: Result<_, _> = self.malloc.iter().map(|text| Rule::parse(text)).collect();
            config.malloc.rules =
                rules.map_err(|error| Error::Usage(format!("--malloc {error}")))?;
        }
        config.lookups |= self.lookups;
        config.look_again = self.look_again.unwrap_or(config.look_again);
        config.interval = self.interval.unwrap_or(config.interval);
        config.malloc.budget = self.malloc_budget.unwrap_or(config.malloc.budget);
        config.malloc.window = self.malloc_window.unwrap_or(config.malloc.window);
        Ok(())
    }

    pub(super) fn execute(&self, verbose: bool) -> Result<ExitCode, Error> {
        let config = self.configuration()?;
        if self.check_config {
            let file = self.file();
            let said = if file.exists() { "makes sense" } else { "is missing: defaults" };
            say(&format!("{} {said}", file.display()));
            return Ok(ExitCode::SUCCESS);
        }
        let options = Options {
            forced: Forced::parse(&config.backends).map_err(Error::Usage)?,
            verbose,
            ..Options::default()
        };
        runtime()?.block_on(self.serve(&options, config))?;
        Ok(ExitCode::SUCCESS)
    }

    async fn serve(&self, options: &Options, config: Config) -> Result<(), Error> {
        let unserved = |error: std::io::Error| Error::Usage(format!("cannot serve: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(unserved)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(unserved)?;
        let hangups = signal(SignalKind::hangup()).map_err(unserved)?;
        let guard = config.web_config.clone().map(Guard::open).transpose();
        let guard = guard.map_err(|error| Error::Usage(error.to_string()))?;
        let listeners = listeners(&config)?;
        let addresses = http::addresses(&listeners).map_err(unserved)?;
        let scheme = if guard.as_ref().is_some_and(Guard::encrypts) { "https" } else { "http" };

        let wanted = |signal: &Measured| wants(&config, signal.daemon);
        let (grouping, rules) = (config.grouping.clone(), config.malloc.rules.clone());
        let mut machine = Machine::start(options, grouping, rules, wanted)?;
        machine.failures().for_each(|line| warn(&line));
        machine.put_down_privileges();
        let (shelf, profiles) = watch::channel(Shelf::default());
        let interval = config.interval;
        let configuration = Configuration::new(self, config);
        let mut sampler = Sampler::new(machine, configuration, shelf);
        let (samples, sample) = watch::channel(None);
        let published = Published { sample, profiles };
        let mut server = Server::start(listeners, published, guard).map_err(unserved)?;
        samples.send_replace(Some(sampler.sample()?));
        for address in addresses {
            say(&format!("serving {scheme}://{address}/metrics"));
        }
        manager::ready(interval);
        tokio::select! {
            () = sampler.publish(&samples, hangups) => {}
            () = either(&mut interrupt, &mut terminate) => {}
            () = server.ended() => {
                // None of the user's making: the status is one with which the service begins anew.
                return Err(Error::Lost("the thread that answers requests has ended".to_owned()));
            }
        }
        manager::stopping();
        server.stop();
        Ok(())
    }
}

/// Where the service manager says, and where the configuration says if it says anything of its own.
fn listeners(config: &Config) -> Result<Vec<TcpListener>, Error> {
    let inherited = http::inherited();
    let mut listeners = inherited.map_err(|error| Error::Usage(error.to_string()))?;
    if listeners.is_empty() || config.listen != [LISTEN] {
        for address in &config.listen {
            let bound = http::bind(address);
            listeners.push(bound.map_err(|error| Error::Usage(error.to_string()))?);
        }
    }
    Ok(listeners)
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
