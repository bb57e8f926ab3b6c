//! A worker from its start to its end.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, copy, sink},
    process::{Child, Command},
    time::timeout,
};
use tracer_common::ProcessId;

use super::trace_window::{BEGUN, TraceWindow};
use crate::{error::Error, session::Budget, sink::Recording};

/// How long a worker may take besides its window: to begin, and to find the names of what it saw.
const MARGIN: Duration = Duration::from_secs(60);

/// Bytes of a recording. Those of large programs have some hundred thousand.
const LONGEST: u64 = 16 << 20;

/// Of what a worker complains about, the beginning is enough.
const LONGEST_ERROR: u64 = 4096;

/// A window that is wanted.
pub(super) struct Order {
    pub(super) process: ProcessId,
    pub(super) window: Duration,
    /// For the process's allocator, and nothing else is measured; absent: all else is.
    pub(super) budget: Option<Budget>,
    /// The user's wishes, as `--backend` has them.
    pub(super) backends: Vec<String>,
}

/// What came of it.
pub(super) struct Traced {
    pub(super) recording: Recording,
    /// What the worker complained about although it did its work: the first lines.
    pub(super) complaints: String,
}

/// Why there is no recording.
#[derive(Debug)]
pub(super) enum Failure {
    /// The process ended before the window began, which is nobody's fault.
    Gone,
    /// Anything else, in a line.
    Failed(String),
}

/// Has a window made. `begun` is called when its counting has begun.
pub(super) async fn trace(order: &Order, begun: impl FnOnce()) -> Result<Traced, Failure> {
    // The same program, even where its file has been replaced since.
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("alloctrace")
        .args(TraceWindow::arguments(order.process, order.window, order.budget, &order.backends))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| failed("cannot start its worker", error))?;
    let limit = order.window + MARGIN;
    let Ok(ended) = timeout(limit, follow(&mut child, begun)).await else {
        let why = format!("its worker did not end within {} s", limit.as_secs());
        let _ = child.kill().await;
        return Err(Failure::Failed(why));
    };
    ended
}

async fn follow(child: &mut Child, begun: impl FnOnce()) -> Result<Traced, Failure> {
    let lost = |error| failed("its worker cannot be heard", error);
    let (Some(out), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Failure::Failed("its worker has no pipes".to_owned()));
    };
    let (text, errors) = tokio::join!(text(out, begun), beginning(errors));
    let Some(text) = text.map_err(lost)? else {
        let _ = child.kill().await;
        return Err(Failure::Failed(format!("its recording has more than {LONGEST} bytes")));
    };
    let status = child.wait().await.map_err(lost)?;
    if status.success() {
        let complaints = errors.unwrap_or_default();
        let read = Recording::read_from(text.as_slice(), "its recording");
        let traced = |recording| Traced { recording, complaints };
        return read.map(traced).map_err(|error| Failure::Failed(error.to_string()));
    }
    if status.code() == Some(Error::NoSuchProcess(String::new()).status().into()) {
        return Err(Failure::Gone);
    }
    let said = errors.map_err(lost)?;
    let said = said.lines().last().map(|line| line.trim_start_matches("alloctrace: "));
    Err(Failure::Failed(
        said.map_or_else(|| format!("its worker ended with {status}"), str::to_owned),
    ))
}

/// All that it says; `None`: too much.
async fn text(
    out: impl AsyncRead + Unpin,
    begun: impl FnOnce(),
) -> std::io::Result<Option<Vec<u8>>> {
    let mut out = out.take(LONGEST + 1);
    let mut text = vec![0];
    if out.read(&mut text).await? == 0 {
        return Ok(Some(Vec::new()));
    }
    if text == [BEGUN] {
        begun();
    }
    out.read_to_end(&mut text).await?;
    Ok((text.len() as u64 <= LONGEST).then_some(text))
}

/// What it says at first. The rest is read as well, or it would have to wait.
async fn beginning(errors: impl AsyncRead + Unpin) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let mut errors = errors.take(LONGEST_ERROR);
    errors.read_to_end(&mut bytes).await?;
    copy(&mut errors.into_inner(), &mut sink()).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn failed(what: &str, error: std::io::Error) -> Failure {
    Failure::Failed(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    async fn hear(said: &[u8]) -> (Option<usize>, bool) {
        let begun = Cell::new(false);
        let text = text(said, || begun.set(true)).await.expect("memory can be read");
        (text.map(|text| text.len()), begun.get())
    }

    #[tokio::test]
    async fn a_worker_says_that_it_counts_and_then_what() {
        assert_eq!(hear(b"").await, (Some(0), false));
        assert_eq!(hear(b"{}").await, (Some(2), false));
        assert_eq!(hear(b"\n{}").await, (Some(3), true));
        let long = vec![b'\n'; LONGEST as usize + 1];
        assert_eq!(hear(&long[1..]).await, (Some(LONGEST as usize), true));
        assert_eq!(hear(&long).await, (None, true));
    }

    #[tokio::test]
    async fn of_complaints_the_beginning_is_kept() {
        let long = vec![b'x'; 100_000];
        let kept = beginning(long.as_slice()).await.expect("memory can be read");
        assert_eq!(kept.len() as u64, LONGEST_ERROR);
    }
}
