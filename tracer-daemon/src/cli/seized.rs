//! Holding a program of our own at its first moment, by ptrace, until it has been linked.
//!
//! A debug register says when, so that not a byte of the program's memory is changed.

use std::{io, mem::offset_of};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::{allocator::Linking, census::ProcRoot};

/// Of debug register 7: registers 0 and 1 stop the thread before it executes what they name.
const STOP_AT_BOTH: u64 = 0b101;
const STOP_NOWHERE: u64 = 0;

/// What [`waitid`] says of a stop: a signal, and above it the event.
const EXEC: i32 = libc::SIGTRAP | (libc::PTRACE_EVENT_EXEC << 8);
const EVENTS: i32 = !0xff;

/// A child that is let go when this is dropped.
pub(super) struct Seized(Pid);

impl Seized {
    /// A child that is yet to execute its program. It does not outlive a tracer that is killed meanwhile.
    pub(super) fn seize(child: Pid) -> Result<Self, String> {
        let options = libc::PTRACE_O_TRACEEXEC | libc::PTRACE_O_EXITKILL;
        let seized = Self(child);
        seized.request(libc::PTRACE_SEIZE, 0, options as u64).map_err(cannot("seize"))?;
        Ok(seized)
    }

    /// Waits until its program has all its libraries, and stops it there.
    pub(super) fn until_linked(&self) -> Result<(), String> {
        let root = ProcRoot::default();
        let pid = self.0.as_raw_nonzero().get().cast_unsigned();
        let mut linking = None;
        loop {
            let stop = self.wait()?;
            let signal = match (stop, linking) {
                (EXEC, _) => {
                    let found =
                        Linking::of(&root, pid).ok_or("it is not a 64-bit program for x86")?;
                    self.stop_at(found).map_err(cannot("stop"))?;
                    linking = Some(found);
                    0
                }
                (libc::SIGTRAP, Some(linking)) => {
                    if linking.is_done(&root, pid, self.instruction().map_err(cannot("ask"))?) {
                        return self.set(7, STOP_NOWHERE).map_err(cannot("free"));
                    }
                    0
                }
                (event, _) if event & EVENTS != 0 => 0,
                (signal, _) => signal,
            };
            self.request(libc::PTRACE_CONT, 0, signal as u64).map_err(cannot("continue"))?;
        }
    }

    /// Why it stopped. If it has ended, its status is left to whoever waits for it.
    fn wait(&self) -> Result<i32, String> {
        let what = WaitIdOptions::EXITED | WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
        let status = loop {
            match waitid(WaitId::Pid(self.0), what) {
                Ok(Some(status)) => break status,
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(cannot("wait for")(error.into())),
            }
        };
        status.trapping_signal().ok_or_else(|| "it ended before it began".to_owned())
    }

    fn stop_at(&self, linking: Linking) -> io::Result<()> {
        self.set(0, linking.entry)?;
        self.set(1, linking.hook.unwrap_or(linking.entry))?;
        self.set(7, STOP_AT_BOTH)
    }

    fn set(&self, debug_register: usize, value: u64) -> io::Result<()> {
        let place = offset_of!(libc::user, u_debugreg) + debug_register * size_of::<u64>();
        self.request(libc::PTRACE_POKEUSER, place, value).map(drop)
    }

    /// The address of the instruction that it is to execute next.
    fn instruction(&self) -> io::Result<u64> {
        self.request(libc::PTRACE_PEEKUSER, offset_of!(libc::user, regs.rip), 0)
    }

    fn request(&self, request: libc::c_uint, address: usize, data: u64) -> io::Result<u64> {
        let pid = self.0.as_raw_nonzero().get();
        // SAFETY: `ptrace` takes numbers in the place of pointers, and none of the requests made here
        // writes to this process's memory.
        match unsafe { libc::ptrace(request, pid, address, data) } {
            -1 => Err(io::Error::last_os_error()),
            word => Ok(word.cast_unsigned()),
        }
    }
}

impl Drop for Seized {
    fn drop(&mut self) {
        // A breakpoint would kill it, with nobody to tell of it; one that has ended needs neither.
        let _ = self.set(7, STOP_NOWHERE);
        let _ = self.request(libc::PTRACE_DETACH, 0, 0);
    }
}

fn cannot(act: &str) -> impl Fn(io::Error) -> String {
    move |error| format!("cannot {act} the command at its first moment: {error}")
}
