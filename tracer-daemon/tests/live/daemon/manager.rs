//! What a service manager hears, on a socket of the test's own.

use std::{
    os::unix::net::UnixDatagram,
    process::{Command, Stdio},
};

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::PATIENCE;
use crate::support::{ALLOCTRACE, Ended, same};

pub(super) fn hears() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut daemon = Command::new("sh");
    // The watchdog is meant for one process, which is this one and then the daemon.
    daemon
        .args(["-c", "export WATCHDOG_PID=$$; exec \"$@\"", "sh", ALLOCTRACE, "daemon"])
        .args(["--listen", "127.0.0.1:0", "--interval", "100ms"])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000")
        .stderr(Stdio::null());
    let mut daemon = Ended(daemon.spawn()?);
    let hear = || -> Result<String, Failed> {
        let mut bytes = [0; 256];
        let length = socket.recv(&mut bytes)?;
        Ok(String::from_utf8(bytes[..length].to_vec())?)
    };
    // Three intervals, for one and a half would be too impatient.
    same("at first", hear()?.as_str(), "WATCHDOG_USEC=300000\nREADY=1\n")?;
    for _ in 0..3 {
        same("after a sample", hear()?.as_str(), "WATCHDOG=1\n")?;
    }
    let pid = Pid::from_raw(daemon.0.id().cast_signed()).ok_or("no pid")?;
    kill_process(pid, Signal::TERM)?;
    let mut last = hear()?;
    while last == "WATCHDOG=1\n" {
        last = hear()?;
    }
    same("at last", last.as_str(), "STOPPING=1\n")?;
    same("status", daemon.0.wait()?.code(), Some(0))
}
