//! The terminal while a live view has it.

use std::{
    io::{self, BufWriter, Stdout},
    thread,
};

use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
};
use tokio::sync::mpsc;

use super::console;
use crate::sink::live::{Rows, View};

/// Keys that nobody has looked at yet.
const WAITING_KEYS: usize = 16;

/// In bytes, more than a picture: whoever looks sees a whole one, not the half that standard output's own buffer holds.
const PICTURE: usize = 1 << 16;

/// What a key, or the terminal itself, wants.
pub(super) enum Key {
    Quit,
    Rows(Rows),
    Redraw,
}

/// A terminal that is given back as it was, whatever happens: at the end, after an error, and in a panic
/// (by ratatui's hook).
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    keys: mpsc::Receiver<Key>,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        ratatui::try_init()?;
        let stdout = BufWriter::with_capacity(PICTURE, io::stdout());
        let terminal = Terminal::new(CrosstermBackend::new(stdout))?;
        console::hold();
        let (sender, keys) = mpsc::channel(WAITING_KEYS);
        let screen = Self { terminal, keys };
        thread::Builder::new().name("keys".to_owned()).spawn(move || read(&sender))?;
        Ok(screen)
    }

    /// Draws; `false`: the terminal is gone.
    pub(super) fn draw(&mut self, view: &impl View) -> bool {
        self.terminal.draw(|frame| view.draw(frame.area(), frame.buffer_mut())).is_ok()
    }

    /// The next thing that is wanted. A terminal that says nothing any more is gone.
    pub(super) async fn key(&mut self) -> Key {
        self.keys.recv().await.unwrap_or(Key::Quit)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
        console::release();
    }
}

fn read(keys: &mpsc::Sender<Key>) {
    while let Ok(event) = event::read() {
        if let Some(key) = meant(&event)
            && keys.blocking_send(key).is_err()
        {
            return;
        }
    }
}

fn meant(event: &Event) -> Option<Key> {
    let key = match event {
        Event::Resize(..) => return Some(Key::Redraw),
        Event::Key(key) if key.kind != KeyEventKind::Release => key,
        _ => return None,
    };
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
        KeyCode::Char('g') => Some(Key::Rows(Rows::Groups)),
        KeyCode::Char('p') => Some(Key::Rows(Rows::Processes)),
        _ => None,
    }
}
