mod screen;

use std::{
    future::pending,
    io::{ErrorKind, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Interval,
};

use self::screen::{Key, Screen};
use super::{runtime, ticks, tracing::Format};
use crate::{
    config::values::interval,
    error::Error,
    probes::{
        catalog::{InDaemon, Signal as Measured},
        settings::Forced,
    },
    session::{DRAIN_INTERVAL, Grouping, Machine, Options},
    sink::live::{self, Rows, View},
};

/// Columns where there is no terminal.
const WIDTH: u16 = 80;

/// Show the machine live, by group or process
#[derive(Args)]
#[command(
    long_about = "Show the machine live, by group or process\n\n\
    Memory calls and page faults of everything that runs, worst first. Keys: p processes, g groups, \
    q quits. Without a terminal, a table for each interval.",
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
    /// Show one interval and end
    #[arg(long)]
    once: bool,
    /// How to show it; json: a line for each interval, groups and processes
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Measure SIGNAL by KIND only, as in mmap=kprobe or all=tracepoint (see doctor), or not: cpu=off
    #[arg(long = "backend", value_name = "SIGNAL=KIND")]
    backends: Vec<String>,
}

/// Where samples go.
enum Out {
    Screen(Screen),
    /// Tables, or lines of JSON.
    Stdout(Format),
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
        let mut view = View::default();
        view.rows = if self.processes { Rows::Processes } else { Rows::Groups };
        view.take(machine.sample()?);
        let mut out = self.out()?;
        let mut samples = ticks(self.interval);
        let mut drains = ticks(DRAIN_INTERVAL);
        loop {
            let is_read = out.show(&view)?;
            if !is_read || self.once && view.has_interval() {
                return Ok(());
            }
            tokio::select! {
                () = next_sample(&mut machine, &mut samples, &mut drains) => {
                    view.take(machine.sample()?);
                }
                key = out.key() => match key {
                    Key::Quit => return Ok(()),
                    Key::Rows(rows) => view.rows = rows,
                    Key::Redraw => {}
                },
                () = ends.one() => return Ok(()),
            }
        }
    }

    fn out(&self) -> Result<Out, Error> {
        let plain = self.once || self.format == Format::Json || !std::io::stdout().is_terminal();
        if plain {
            return Ok(Out::Stdout(self.format));
        }
        let opened = Screen::open();
        opened.map(Out::Screen).map_err(|error| {
            Error::Usage(format!("the terminal cannot be drawn on: {error}; try --once"))
        })
    }
}

impl Out {
    /// Shows an interval, if there is one yet; `false`: nobody reads it any more.
    fn show(&mut self, view: &View) -> Result<bool, Error> {
        let text = match self {
            Self::Screen(screen) => return screen.draw(view),
            Self::Stdout(Format::Json) => live::json(view),
            Self::Stdout(Format::Text) => live::text(view, WIDTH),
        };
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Error::Usage(format!("cannot print: {error}"))),
        }
    }

    /// What somebody wants; without a screen nobody does.
    async fn key(&mut self) -> Key {
        match self {
            Self::Screen(screen) => screen.key().await,
            Self::Stdout(_) => pending().await,
        }
    }
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
