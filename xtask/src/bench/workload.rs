//! The workload that never stops, and says every few milliseconds what a cycle costs it.

use crate::sh;
use anyhow::{Context, Result, bail};
use std::{
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

/// The running workload.
pub(super) struct Workload {
    child: Child,
    slices: Receiver<f64>,
}

impl Workload {
    /// Starts it.
    pub(super) fn start(example: &str, arguments: &[&str]) -> Result<Self> {
        let program = sh::workspace().join("target/release/examples").join(example);
        let mut child = Command::new(&program)
            .args(["--slice-ms", "20"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let output = child.stdout.take().context("its output is not to be had")?;
        let (say, slices) = channel();
        std::thread::spawn(move || {
            use std::io::BufRead;
            for line in std::io::BufReader::new(output).lines().map_while(Result::ok) {
                let slice = line.strip_prefix("slice ").and_then(|text| text.parse().ok());
                if slice.is_some_and(|slice| say.send(slice).is_err()) {
                    return;
                }
            }
        });
        Ok(Self { child, slices })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The median cost of a cycle from now on, in nanoseconds of its CPU time.
    pub(super) fn median(&mut self, turn: Duration) -> Result<f64> {
        Ok(super::median(self.slices(turn)?.into_iter()))
    }

    /// What a cycle costs from now on, slice by slice, in nanoseconds of its CPU time.
    pub(super) fn slices(&mut self, turn: Duration) -> Result<Vec<f64>> {
        // The first ones began before the turn.
        let begun = self.slices.try_iter().count();
        let _ = (begun, self.slices.recv()?);
        let end = Instant::now() + turn;
        let mut slices = Vec::new();
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            match self.slices.recv_timeout(left) {
                Ok(slice) => slices.push(slice),
                Err(_) => break,
            }
        }
        if slices.is_empty() {
            bail!("the workload did not get to a single slice in {turn:?}");
        }
        Ok(slices)
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        // One that has ended need not be ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
