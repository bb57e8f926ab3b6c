use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Interval,
};

use super::{
    console::warn, looks::CloserLooks, out::Out, runtime, screen::Key, ticks, tracing::Format,
};
use crate::{
    config::values::{interval, look_again},
    error::Error,
    probes::{
        catalog::{InDaemon, Signal as Measured},
        settings::Forced,
    },
    session::{DRAIN_INTERVAL, Grouping, Machine, Options},
    sink::live::{MachineView, Rows},
};

/// Show the machine live, by group or process
#[derive(Args)]
#[command(
    long_about = "Show the machine live, by group or process\n\n\
    Memory calls and page faults of everything that runs, worst first, and what is wrong with the worst: one that \
    takes a twentieth of a CPU for memory for ten seconds is looked at more closely (--look-again). \
    Keys: p processes, g groups, q quits. Without a terminal, a table for each interval.",
    after_help = "Examples:\n  sudo alloctrace top\n  sudo alloctrace top --processes --interval 5s\n  \
    sudo alloctrace top --once\n  \
    sudo alloctrace top --format json | jq -c '.groups[0]'"
)]
pub(super) struct Top {
    /// Time between samples: 500ms, 1s, 1m
    #[arg(long, value_parser = interval, default_value = "1s")]
    interval: Duration,
    /// Begin with processes
    #[arg(long)]
    processes: bool,
    /// Show one interval and end; nothing is looked at more closely
    #[arg(long)]
    once: bool,
    /// Look closer, for 10 s, at a process whose memory management takes a twentieth of a CPU or more, or that
    /// has half of the areas it may have; then leave its group alone for so long; 0s: never look. Meanwhile it
    /// costs that process what attach costs
    #[arg(long, value_name = "TIME", value_parser = look_again, default_value = "5m")]
    look_again: Duration,
    /// How to show it; json: a line for each interval, with groups, processes and findings
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Measure SIGNAL by KIND only, as in mmap=kprobe or all=tracepoint (see doctor), or not: cpu=off
    #[arg(long = "backend", value_name = "SIGNAL=KIND")]
    backends: Vec<String>,
}

impl Top {
    pub(super) fn execute(&self, verbose: bool) -> Result<ExitCode, Error> {
        let options = Options {
            forced: Forced::parse(&self.backends).map_err(Error::Usage)?,
            verbose,
            ..Options::default()
        };
        runtime()?.block_on(self.watch(&options))?;
        Ok(ExitCode::SUCCESS)
    }

    async fn watch(&self, options: &Options) -> Result<(), Error> {
        let mut ends = Ends::catch()?;
        let wanted = |signal: &Measured| matches!(signal.daemon, InDaemon::Always);
        let mut machine = Machine::start(options, Grouping::default(), Vec::new(), wanted)?;
        let mut looks = CloserLooks::new(self.rest(), self.backends.clone());
        let mut view = MachineView::default();
        view.rows = if self.processes { Rows::Processes } else { Rows::Groups };
        sample(&mut machine, &mut looks, &mut view)?;
        let mut out = if self.once { Out::Stdout(self.format) } else { Out::open(self.format)? };
        let mut samples = ticks(self.interval);
        let mut drains = ticks(DRAIN_INTERVAL);
        while out.show(&view)? && !(self.once && view.has_interval()) {
            loop {
                tokio::select! {
                    () = next_sample(&mut machine, &mut samples, &mut drains) => {
                        sample(&mut machine, &mut looks, &mut view)?;
                        break;
                    }
                    Some(ended) = looks.ended() => {
                        looks.take(ended, Instant::now()).iter().for_each(|line| warn(line));
                    }
                    key = out.key() => match key {
                        Key::Quit => return Ok(()),
                        Key::Rows(rows) => {
                            view.rows = rows;
                            break;
                        }
                        Key::Redraw => break,
                    },
                    () = ends.one() => return Ok(()),
                }
            }
        }
        Ok(())
    }

    /// How long a group is left alone after a look. Nobody waits for one in an interval.
    fn rest(&self) -> Duration {
        if self.once { Duration::ZERO } else { self.look_again }
    }
}

/// Takes a sample, and has a look begun where one is due.
fn sample(
    machine: &mut Machine,
    looks: &mut CloserLooks,
    view: &mut MachineView,
) -> Result<(), Error> {
    let (mut sample, now) = (machine.sample()?, Instant::now());
    looks.attend(machine, &mut sample, now);
    view.take(sample, now);
    Ok(())
}

/// Waits for the next sample, and meanwhile makes room for records.
async fn next_sample(machine: &mut Machine, samples: &mut Interval, drains: &mut Interval) {
    loop {
        tokio::select! {
            _ = samples.tick() => return,
            _ = drains.tick() => machine.drain(),
        }
    }
}

/// Signals that end it in good order.
struct Ends([Signal; 3]);

impl Ends {
    fn catch() -> Result<Self, Error> {
        let caught = |kind| {
            signal(kind).map_err(|error| Error::Usage(format!("cannot wait for signals: {error}")))
        };
        let kinds = (SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup());
        Ok(Self([caught(kinds.0)?, caught(kinds.1)?, caught(kinds.2)?]))
    }

    async fn one(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
