//! Where a live view goes.

use std::{
    future::pending,
    io::{ErrorKind, IsTerminal, Write},
};

use super::{
    screen::{Key, Screen},
    tracing::Format,
};
use crate::{
    error::Error,
    sink::live::{self, View},
};

/// Columns where there is no terminal.
const WIDTH: u16 = 80;

/// A terminal to draw on, or a file to write to.
pub(super) enum Out {
    Screen(Screen),
    /// Tables, or lines of JSON.
    Stdout(Format),
}

impl Out {
    /// The terminal, if there is one and text is wanted.
    pub(super) fn open(format: Format) -> Result<Self, Error> {
        if format == Format::Json || !std::io::stdout().is_terminal() {
            return Ok(Self::Stdout(format));
        }
        let opened = Screen::open();
        opened.map(Self::Screen).map_err(|error| {
            let instead = "send the output to a file or a pipe";
            Error::Usage(format!("the terminal cannot be drawn on: {error}; {instead}"))
        })
    }

    /// Shows an interval, if there is one yet; `false`: nobody reads it any more.
    pub(super) fn show(&mut self, view: &impl View) -> Result<bool, Error> {
        let text = match self {
            Self::Screen(screen) => return Ok(screen.draw(view)),
            Self::Stdout(Format::Json) => view.json(),
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
    pub(super) async fn key(&mut self) -> Key {
        match self {
            Self::Screen(screen) => screen.key().await,
            Self::Stdout(_) => pending().await,
        }
    }
}
