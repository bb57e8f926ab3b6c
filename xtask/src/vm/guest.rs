//! One boot: QEMU without KVM, a serial console, and an exit code that cannot be mistaken.

use crate::sh;
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Without cmpxchg16b, whose emulation (QEMU 7.2) corrupted the slabs of Linux 6.12 in one boot of six.
const CPU: &str = "qemu64,-cx16";

/// How a guest's command ended.
pub(crate) struct Outcome {
    /// Its exit status.
    pub(crate) code: i32,
    /// What it printed, and after a failure the kernel's last words.
    pub(crate) log: String,
}

/// A machine to boot.
pub(super) struct Machine<'a> {
    pub(super) kernel: &'a Path,
    pub(super) initrd: &'a Path,
    /// Images of disks. What the guest writes to them is forgotten.
    pub(super) drives: &'a [&'a Path],
    /// In MiB.
    pub(super) memory: u64,
    /// Whether a reboot is one, or the end.
    pub(super) may_restart: bool,
}

impl Machine<'_> {
    /// Waits for its end, at most `limit`. Lines with the marker are around what it prints on its serial console.
    pub(super) fn run(&self, serial: &Path, marker: &str, limit: Duration) -> Result<Outcome> {
        let child = self
            .qemu(serial)
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start qemu-system-x86_64")?;
        let status = wait(&mut sh::Reaped(child), limit)?;
        let log = fs::read_to_string(serial).map(|log| log.replace('\r', "")).unwrap_or_default();
        match status {
            None => bail!("not finished after {} s; {}", limit.as_secs(), last_words(&log)),
            Some(status) => judge(&log, marker, status),
        }
    }

    fn qemu(&self, serial: &Path) -> Command {
        let mut qemu = Command::new("qemu-system-x86_64");
        // With a thread for each processor, one now and then executes code that the kernel patched a
        // moment ago on another, and dies of a breakpoint that is not there any more.
        qemu.args(["-accel", "tcg,thread=single", "-machine", "q35", "-cpu", CPU, "-smp", "2"])
            .args(["-nographic", "-nodefaults", "-m", &self.memory.to_string()])
            .args(["-serial", &format!("file:{}", serial.display())])
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"])
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.initrd)
            // Of the kernel's messages only a panic may cut into the command's lines.
            .args(["-append", "console=ttyS0 panic=-1 oops=panic quiet loglevel=1"]);
        for drive in self.drives {
            let drive = drive.display();
            qemu.args(["-drive", &format!("file={drive},format=raw,if=virtio,snapshot=on")]);
        }
        if !self.may_restart {
            qemu.arg("-no-reboot");
        }
        qemu
    }
}

/// The exit code that QEMU ended with, or nothing when the time was up.
fn wait(qemu: &mut sh::Reaped, limit: Duration) -> Result<Option<i32>> {
    let start = Instant::now();
    while start.elapsed() < limit {
        if let Some(status) = qemu.0.try_wait()? {
            return Ok(Some(status.code().unwrap_or(-1)));
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(None)
}

/// Believes an exit code only when the console and the exit device tell the same.
fn judge(log: &str, marker: &str, status: i32) -> Result<Outcome> {
    let (before, told) = log
        .rsplit_once(&format!("{marker} ends with "))
        .with_context(|| format!("the guest stopped early; {}", last_words(log)))?;
    let told = told.trim();
    let code: i32 = told.parse().with_context(|| format!("unreadable exit status {told:?}"))?;
    if status != (code.min(127) << 1) | 1 {
        bail!("the guest says {code}, but QEMU ended with {status}");
    }
    // The firmware talks first.
    let output =
        before.split_once(&format!("{marker} begins\n")).map_or(before, |(_, output)| output);
    Ok(Outcome { code, log: output.trim_end().to_owned() + "\n" })
}

fn last_words(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let tail = lines[lines.len().saturating_sub(30)..].join("\n");
    if tail.is_empty() {
        "its console stayed empty".to_owned()
    } else {
        format!("its last lines:\n{tail}")
    }
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn both_the_marker_and_the_device_must_tell() {
        let log = "BIOS\nM begins\nhello\n\nM ends with 3\n";
        let outcome = judge(log, "M", 7).expect("3 is 7 >> 1");
        assert_eq!((outcome.code, outcome.log.as_str()), (3, "hello\n"));
        assert_eq!(judge("\nM ends with 134\n", "M", 255).expect("more than 127 is 127").code, 134);
        assert!(judge(log, "M", 1).is_err());
        assert!(judge("M begins\npanic\n", "M", 1).is_err());
    }
}
