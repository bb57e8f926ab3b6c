//! Waiting while a session measures.

use std::{mem::MaybeUninit, os::fd::OwnedFd, ptr, time::Duration};

use tokio::{
    io::unix::AsyncFd,
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::onlooker::{Onlooker, Turn};
use crate::{error::Error, session::Session};

/// Often enough that the ring buffer has room for what comes between.
const TICK: Duration = Duration::from_millis(20);

/// Status of a command that Ctrl-C ended, as shells have it.
const INTERRUPTED: i32 = 130;

/// What ends a window.
pub(super) struct Limits {
    /// Becomes readable when the process has ended.
    pub(super) process: OwnedFd,
    /// The longest window.
    pub(super) duration: Option<Duration>,
    /// Interrupts that the process gets as well, and that are left to it.
    pub(super) interrupts_for_process: u32,
}

/// Interrupts, caught from the moment that this exists.
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    /// `None`: it is to outlive its terminal.
    hangup: Option<Signal>,
}

impl Interrupts {
    /// Catches them. To be called before anybody is told that there is something to interrupt.
    pub(super) fn catch() -> Result<Self, Error> {
        let caught = |kind| signal(kind).map_err(|error| unwatchable(&error));
        let hangup = (!ignores_hangups()).then(|| caught(SignalKind::hangup()));
        Ok(Self {
            interrupt: caught(SignalKind::interrupt())?,
            terminate: caught(SignalKind::terminate())?,
            hangup: hangup.transpose()?,
        })
    }
}

/// As nohup(1) has it.
fn ignores_hangups() -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the kernel writes into `action` only, of which zeros are a valid value.
    let action = unsafe {
        libc::sigaction(libc::SIGHUP, ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

fn unwatchable(error: &std::io::Error) -> Error {
    Error::Usage(format!("cannot watch the process: {error}"))
}

/// Measures until the process has ended, the time is up, or somebody has had enough.
pub(super) async fn watch(
    session: &mut Session,
    interrupts: Interrupts,
    limits: Limits,
    mut onlooker: Onlooker,
) -> Result<(), Error> {
    let Interrupts { mut interrupt, mut terminate, mut hangup } = interrupts;
    // SAFETY: an `OwnedFd` owns its descriptor, which stays the same and open until it is dropped.
    let process =
        unsafe { AsyncFd::register(limits.process) }.map_err(|error| unwatchable(&error.into()))?;
    // SAFETY: as above.
    let wake_ups =
        unsafe { AsyncFd::register(session.wake_ups().map_err(|error| unwatchable(&error))?) }
            .map_err(|error| unwatchable(&error.into()))?;
    let mut left = limits.interrupts_for_process;
    let deadline = limits.duration.map(|duration| Instant::now() + duration);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                session.tick();
                onlooker.tick(session);
            }
            Ok(mut woken) = wake_ups.readable() => {
                woken.clear_ready();
                session.tick();
            }
            turn = onlooker.turn() => {
                let is_seen = match turn {
                    Turn::Show => onlooker.show(session)?,
                    Turn::Redraw => onlooker.redraw()?,
                    Turn::End => false,
                };
                if !is_seen {
                    break;
                }
            }
            _ = process.readable() => break,
            () = until(deadline) => break,
            _ = terminate.recv() => break,
            () = hung_up(hangup.as_mut()) => break,
            _ = interrupt.recv() => match left.checked_sub(1) {
                Some(fewer) => left = fewer,
                None => break,
            },
        }
    }
    drop(onlooker);
    tokio::spawn(give_up(interrupt));
    Ok(())
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn hung_up(hangup: Option<&mut Signal>) {
    match hangup {
        Some(hangup) => _ = hangup.recv().await,
        None => std::future::pending().await,
    }
}

/// A Ctrl-C while the report is made. The kernel detaches the probes of a process that ends.
async fn give_up(mut interrupt: Signal) {
    interrupt.recv().await;
    super::say("interrupted again: no report");
    std::process::exit(INTERRUPTED);
}
