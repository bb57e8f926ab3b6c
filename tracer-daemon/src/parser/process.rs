//! The session's end of a parser.

use std::{
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;

use super::{
    board::Board,
    channel::Channel,
    confine::MOST_MEMORY,
    message::{FileId, Request},
};
use crate::{census::cpu_clock_ns, humanize};

/// How long a parser may take to begin: a program is loaded.
const BEGINNING: Duration = Duration::from_secs(10);

/// How often it is looked how much CPU time an answer has taken.
const LOOK: Duration = Duration::from_millis(50);
/// A busy machine, or the limits of a service, may leave a parser a tenth of a CPU.
const SLOWEST: u32 = 10;

/// A parser that runs. It ends with this.
pub(crate) struct Process {
    child: Child,
    channel: Channel,
    board: Board,
}

/// The end of a parser, for people.
pub(crate) struct End {
    /// The file that it had in hand.
    pub(crate) file: Option<FileId>,
    /// What happened.
    pub(crate) why: String,
}

/// Starts this program again as a parser.
pub(crate) fn command() -> Command {
    // The same program, even where its file has been replaced since.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("alloctrace").arg(super::COMMAND);
    command
}

impl Process {
    /// Starts a parser. It has its say when it has given its privileges up.
    pub(crate) fn start(mut command: Command) -> io::Result<Self> {
        let (own, its) = UnixStream::pair()?;
        let child = command
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(its)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is for the session.
            .process_group(0)
            .spawn()?;
        // It holds the parser's end of the socket, which would seem open when the parser has ended.
        drop(command);
        // From here on it is ended if anything fails.
        let mut process = Self { child, channel: Channel::new(own), board: Board::new()? };
        let deadline = Instant::now() + BEGINNING;
        process.channel.send(&(), Some(process.board.file().as_fd()), Some(deadline))?;
        let ready: Result<Option<String>, String> = process.channel.answer(deadline)?;
        if let Some(remark) = ready.map_err(io::Error::other)? {
            log::warn!("{remark}");
        }
        Ok(process)
    }

    /// Asks for something that may take so much CPU time. After an error it is to be ended.
    pub(crate) fn ask<T: DeserializeOwned>(
        &mut self,
        request: &Request<'_>,
        file: Option<BorrowedFd<'_>>,
        allowed: Duration,
    ) -> io::Result<T> {
        let (before, deadline) = (self.cpu_time(), Instant::now() + allowed * SLOWEST);
        self.channel.send(request, file, Some(deadline))?;
        while !self.channel.has_answer(LOOK)? {
            let taken = self.cpu_time().saturating_sub(before);
            if taken > allowed || Instant::now() > deadline {
                return Err(ErrorKind::TimedOut.into());
            }
        }
        self.channel.answer(deadline)
    }

    fn cpu_time(&self) -> Duration {
        Duration::from_nanos(cpu_clock_ns(self.child.id()).unwrap_or(0))
    }

    /// Ends it because of an error.
    pub(crate) fn end(mut self, error: &io::Error, allowed: Duration) -> End {
        let late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        let has_left = matches!(
            error.kind(),
            ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
        );
        // One that is ending already keeps the status that it ends with.
        let _ = self.child.kill();
        let signal = self.child.wait().ok().and_then(|status| status.signal());
        let why = match signal {
            _ if late => {
                format!("reading it took longer than {}", humanize::seconds(allowed.as_secs_f64()))
            }
            // What Rust's allocator and its guard of the stack end a program with.
            Some(libc::SIGABRT) => {
                format!(
                    "reading it took more than {} of memory, or too deep a stack",
                    humanize::bytes(MOST_MEMORY)
                )
            }
            Some(signal) if has_left => format!("reading it ended with signal {signal}"),
            _ => format!("reading it failed ({error})"),
        };
        End { file: self.board.read(), why }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It is waited for, so that its CPU time is counted as this process's children's.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_parser_does_not_begin() {
        // It ends, or says nonsense without end.
        for script in ["exit 0", "exec yes >&0"] {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]);
            assert!(Process::start(command).is_err(), "{script}");
        }
    }
}
