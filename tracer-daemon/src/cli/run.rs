use std::{
    ffi::OsString,
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, Command, ExitCode, ExitStatus},
    thread::JoinHandle,
};

use clap::Args;
use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::{Pid, PidfdFlags, pidfd_open},
};
use tracer_common::Target;

use super::{
    onlooker::Onlooker,
    runtime, say,
    seized::Seized,
    tracing::Tracing,
    watch::{Interrupts, Limits, watch},
};
use crate::{census::ProcRoot, error::Error, session::Session};

/// Trace a command from its first instruction, then report
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    alloctrace run -- ./server --port 8080\n  \
    alloctrace run --follow --output build.json -- make\n  \
    alloctrace run --malloc --budget 100% -- ./server")]
pub(super) struct Run {
    #[command(flatten)]
    tracing: Tracing,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Run {
    pub(super) fn execute(&self, verbose: bool) -> Result<ExitCode, Error> {
        let outcome = self.tracing.outcome()?;
        let options = self.tracing.options(verbose)?;
        let mut session = Session::start(&options)?;
        let held = Held::fork(&self.command)?;
        let pid = held.pid;
        let found = ProcRoot::default()
            .stat(pid.as_raw_nonzero().get().cast_unsigned())
            .map_err(|error| Error::NoSuchProcess(error.to_string()))?;
        let process = pidfd_open(pid, PidfdFlags::empty())
            .map_err(|error| Error::Usage(format!("cannot watch the command: {error}")))?;
        runtime()?.block_on(async {
            let interrupts = Interrupts::catch()?;
            session.trace(&found, self.tracing.flags() | Target::FROM_EXEC)?;
            let seized = options.malloc.map(|_| Seized::seize(pid));
            let mut child = held.release(&self.command)?;
            if let Some(seized) = seized {
                let linked = seized.as_ref().map_err(Clone::clone).and_then(Seized::until_linked);
                session.command_is_linked(linked);
            }
            session.refresh_target();
            session.failures().for_each(|line| say(&line));
            // The terminal sends Ctrl-C to the command as well; the first one is the command's.
            let limits = Limits { process, duration: None, interrupts_for_process: 1 };
            watch(&mut session, interrupts, limits, Onlooker::of_time()).await?;
            // The command has ended and is not waited for yet, so that /proc still knows it.
            session.stop()?;
            let ended = child.try_wait().ok().flatten();
            let own = outcome.deliver(session.finish()?);
            match (exit_code(ended), own) {
                (Some(status), Err(error)) => {
                    say(&error.to_string());
                    Ok(status)
                }
                (Some(status), Ok(_)) => Ok(status),
                (None, own) => own.map(ExitCode::from),
            }
        })
    }
}

/// The command's own status, unless it is success: then alloctrace has its say.
fn exit_code(ended: Option<ExitStatus>) -> Option<ExitCode> {
    let status = ended?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    (code != 0).then(|| u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// A forked child that waits for permission to execute its program.
struct Held {
    pid: Pid,
    permission: File,
    spawner: JoinHandle<std::io::Result<Child>>,
}

impl Held {
    fn fork(words: &[OsString]) -> Result<Self, Error> {
        let failed = |error| Error::Usage(format!("cannot start the command: {error}"));
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed(error.into()));
        let (pid_reader, pid_writer) = pipe()?;
        let (wait_reader, wait_writer) = pipe()?;
        let (program, arguments) =
            words.split_first().ok_or_else(|| Error::Usage("no command is given".to_owned()))?;
        let mut command = Command::new(program);
        command.args(arguments);
        hold(&mut command, pid_writer, wait_reader);
        // `spawn` returns after the exec only.
        let spawner = std::thread::spawn(move || command.spawn());
        let mut pid = [0; 4];
        let announced = File::from(pid_reader).read_exact(&mut pid);
        let pid = announced.ok().and_then(|()| Pid::from_raw(i32::from_ne_bytes(pid)));
        match pid {
            Some(pid) => Ok(Self { pid, permission: File::from(wait_writer), spawner }),
            None => Err(failed(std::io::Error::other("it did not fork"))),
        }
    }

    /// Lets the child execute its program.
    fn release(mut self, words: &[OsString]) -> Result<Child, Error> {
        // If the child is gone, `join` tells why.
        let _ = self.permission.write_all(b"!");
        let spawned = self.spawner.join().map_err(|_| {
            Error::Usage("cannot start the command: its thread ended early".to_owned())
        })?;
        spawned.map_err(|error| {
            let name = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
            Error::Usage(format!("cannot execute {name}: {error}; is it spelled right?"))
        })
    }
}

/// Makes the child say its pid and wait before it executes.
fn hold(command: &mut Command, pid_writer: OwnedFd, wait_reader: OwnedFd) {
    let announce_and_wait = move || {
        let pid = std::process::id().to_ne_bytes();
        let mut permission = [0u8];
        // SAFETY: between fork and exec only async-signal-safe calls are allowed; write and read
        // are, and the buffers live on this stack.
        let (written, read) = unsafe {
            (
                libc::write(pid_writer.as_raw_fd(), pid.as_ptr().cast(), pid.len()),
                libc::read(wait_reader.as_raw_fd(), permission.as_mut_ptr().cast(), 1),
            )
        };
        if written == 4 && read == 1 { Ok(()) } else { Err(std::io::Error::from_raw_os_error(4)) }
    };
    // SAFETY: the closure allocates nothing and takes no locks.
    unsafe { command.pre_exec(announce_and_wait) };
}
