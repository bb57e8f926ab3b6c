//! A session's parser: started again when a file was the end of it, a few times.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    process::Command,
    time::Duration,
};

use serde::de::DeserializeOwned;

use super::files::{Files, State};
use crate::{
    parser::{
        Process,
        message::{
            Addresses, BuildId, FileId, LONGEST_NAME, MOST_NAMES, Mapping, Names, Request, Stack,
        },
    },
    symbolize::{Location, MOST_BUILD_ID_BYTES},
    unwind::MOST_FRAMES,
};

/// CPU time that the parser may take for a file's unwind tables, or for a batch of stacks.
const UNWINDING: Duration = Duration::from_secs(3);
/// The same for a stack's names: debug information can be gigabytes.
const NAMING: Duration = Duration::from_secs(10);
/// Parsers of a session.
const MOST_PARSERS: u32 = 9;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// A file was the end of the parser. There is another one, which knows nothing yet.
    Replaced,
    /// There will be none.
    Unanswered,
}

/// A parser, and what it has been handed.
pub(super) struct Helper {
    command: fn() -> Command,
    process: Option<Process>,
    started: u32,
    pub(super) files: Files,
}

impl Helper {
    /// Starts a parser.
    pub(super) fn start(command: fn() -> Command) -> Self {
        let mut helper = Self { command, process: None, started: 0, files: Files::default() };
        helper.replace();
        helper
    }

    /// Which parser it is that knows what it was told.
    pub(super) fn generation(&self) -> u32 {
        self.started
    }

    /// The number of the file at a location, once the parser has it.
    pub(super) fn file(&mut self, location: &Location) -> Option<FileId> {
        let id = self.files.number(location)?;
        self.has(id).then_some(id)
    }

    /// Whether the parser has a file, which it is handed if it has not.
    pub(super) fn has(&mut self, id: FileId) -> bool {
        if self.files.state(id) == State::New {
            let Some(file) = self.files.open(id) else {
                self.files.condemn(id);
                return false;
            };
            let sound = |build: &BuildId| {
                let digits = |id: &String| id.len() <= 2 * MOST_BUILD_ID_BYTES;
                build
                    .as_ref()
                    .is_none_or(|id| digits(id) && id.bytes().all(|c| c.is_ascii_hexdigit()))
            };
            if let Ok(build_id) = self.ask(&Request::Keep(id), Some(file.as_fd()), UNWINDING, sound)
            {
                self.files.keep(id, build_id);
            }
        }
        self.files.state(id) == State::Kept
    }

    /// Tells the code of a process.
    pub(super) fn image(&mut self, number: u32, mappings: Vec<Mapping>) -> Result<(), Failure> {
        self.ask(&Request::Image(number, mappings), None, UNWINDING, |()| true)
    }

    /// Unwinds stacks.
    pub(super) fn unwind(&mut self, stacks: Vec<Stack<'_>>) -> Result<Vec<Addresses>, Failure> {
        let count = stacks.len();
        self.ask(&Request::Unwind(stacks), None, UNWINDING, |all: &Vec<Addresses>| {
            all.len() == count && all.iter().all(|stack| stack.frames.len() <= MOST_FRAMES)
        })
    }

    /// Names places of files that the parser has.
    pub(super) fn name(&mut self, places: Vec<(FileId, u64)>) -> Result<Vec<Names>, Failure> {
        let count = places.len();
        let short = |text: &Option<String>| text.as_ref().is_none_or(|it| it.len() <= LONGEST_NAME);
        self.ask(&Request::Name(places), None, NAMING, |all: &Vec<Names>| {
            let all_short =
                all.iter().flatten().all(|name| short(&name.symbol) && short(&name.file));
            all.len() == count && all.iter().all(|names| names.len() <= MOST_NAMES) && all_short
        })
    }

    /// Asks, and ends a parser whose answer does not come or makes no sense.
    fn ask<T: DeserializeOwned>(
        &mut self,
        request: &Request<'_>,
        file: Option<BorrowedFd<'_>>,
        allowed: Duration,
        sound: impl FnOnce(&T) -> bool,
    ) -> Result<T, Failure> {
        let Some(process) = &mut self.process else { return Err(Failure::Unanswered) };
        let answer = process.ask(request, file, allowed).and_then(|answer| {
            let nonsense = || io::Error::other("its answer makes no sense");
            sound(&answer).then_some(answer).ok_or_else(nonsense)
        });
        let error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let Some(process) = self.process.take() else { return Err(Failure::Unanswered) };
        let end = process.end(&error, allowed);
        self.files.forget_kept();
        let name = end.file.and_then(|id| self.files.condemn(id));
        match &name {
            Some(name) => log::warn!(
                "{}: {}; its functions have no names, and stacks may end there",
                name.display(),
                end.why
            ),
            None => log::warn!("some stacks have no callers or no names: {}", end.why),
        }
        self.replace();
        if name.is_some() && self.process.is_some() {
            Err(Failure::Replaced)
        } else {
            Err(Failure::Unanswered)
        }
    }

    fn replace(&mut self) {
        self.started += 1;
        if self.started > MOST_PARSERS {
            log::warn!("no callers and no names from now on: no files are read any more");
            return;
        }
        match Process::start((self.command)()) {
            Ok(process) => self.process = Some(process),
            Err(error) => log::warn!("no callers and no names: files cannot be read: {error}"),
        }
    }
}
