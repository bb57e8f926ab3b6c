//! What there is to see while a session measures.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use tokio::time::Interval;

use super::{out::Out, screen::Key, ticks, tracing::Format};
use crate::{diagnose, error::Error, session::Session, sink::live::WindowView};

/// Between two looks at the numbers. The trends of a minute have room for as many.
const BETWEEN: Duration = Duration::from_secs(1);

/// Somebody who looks on.
pub(super) enum Onlooker {
    /// At the seconds so far.
    OfTime(Progress),
    /// At the window itself.
    OfWindow(Box<Live>),
}

/// What is to be done for an onlooker.
pub(super) enum Turn {
    /// Show how the window stands.
    Show,
    /// Show the same again.
    Redraw,
    /// End the window.
    End,
}

/// A live view of a window.
pub(super) struct Live {
    out: Out,
    view: WindowView,
    readings: Interval,
}

impl Onlooker {
    /// Seconds, where stderr is a terminal.
    pub(super) fn of_time() -> Self {
        Self::OfTime(Progress { wanted: io::stderr().is_terminal(), shown: None })
    }

    /// The window as it goes. What is written to a terminal from now on tears the picture.
    pub(super) fn of_window(format: Format) -> Result<Self, Error> {
        let (mut out, view) = (Out::open(format)?, WindowView::default());
        out.show(&view)?;
        Ok(Self::OfWindow(Box::new(Live { out, view, readings: ticks(BETWEEN) })))
    }

    /// Waits until there is something to be done.
    pub(super) async fn turn(&mut self) -> Turn {
        let Self::OfWindow(live) = self else { return std::future::pending().await };
        tokio::select! {
            _ = live.readings.tick() => Turn::Show,
            key = live.out.key() => match key {
                Key::Quit => Turn::End,
                Key::Rows(_) | Key::Redraw => Turn::Redraw,
            },
        }
    }

    /// A tick has passed.
    pub(super) fn tick(&mut self, session: &Session) {
        if let Self::OfTime(progress) = self {
            progress.show(session.elapsed().as_secs());
        }
    }

    /// Shows how the window stands; `false`: nobody looks on any more.
    pub(super) fn show(&mut self, session: &mut Session) -> Result<bool, Error> {
        let Self::OfWindow(live) = self else { return Ok(true) };
        let snapshot = session.so_far()?;
        let findings = diagnose::all(&snapshot);
        live.view.take(snapshot, findings);
        live.out.show(&live.view)
    }

    /// Shows the same again.
    pub(super) fn redraw(&mut self) -> Result<bool, Error> {
        let Self::OfWindow(live) = self else { return Ok(true) };
        live.out.show(&live.view)
    }
}

/// The seconds so far, where somebody is looking.
pub(super) struct Progress {
    wanted: bool,
    shown: Option<u64>,
}

impl Progress {
    fn show(&mut self, seconds: u64) {
        if self.wanted && self.shown != Some(seconds) {
            tell(&format!("\r{seconds} s traced "));
            self.shown = Some(seconds);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            tell("\r\x1b[K");
        }
    }
}

/// Without a line's end. A terminal that is gone meanwhile is no reason to stop.
fn tell(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
