//! A daemon, and asking it.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};

use tempfile::TempDir;

use super::PATIENCE;
use crate::support::{ALLOCTRACE, ensure};

/// What tests start does not get old.
pub(super) const ANY_AGE: &str = "[groups]\nminimum_age = \"0s\"\n";

/// A running daemon that serves.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) address: String,
    errors: BufReader<ChildStderr>,
    /// Where its configuration is.
    directory: TempDir,
}

impl Daemon {
    pub(crate) fn start() -> Result<Self, Failed> {
        Self::with(&[])
    }

    pub(crate) fn with(options: &[&str]) -> Result<Self, Failed> {
        Self::configured(ANY_AGE, options)
    }

    /// With this in its configuration.
    pub(crate) fn configured(text: &str, options: &[&str]) -> Result<Self, Failed> {
        let directory = TempDir::new()?;
        let file = directory.path().join("alloctrace.toml");
        fs::write(&file, text)?;
        let mut command = Command::new(ALLOCTRACE);
        command
            .args(["daemon", "--listen", "127.0.0.1:0", "--interval", "100ms", "--config"])
            .arg(&file)
            .args(options);
        Self::started(command, directory)
    }

    /// One that is started otherwise.
    pub(crate) fn spawn(command: Command) -> Result<Self, Failed> {
        Self::started(command, TempDir::new()?)
    }

    fn started(mut command: Command, directory: TempDir) -> Result<Self, Failed> {
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let mut errors = BufReader::new(child.stderr.take().ok_or("no stderr")?);
        let mut said = String::new();
        let address = loop {
            if errors.read_line(&mut said)? == 0 {
                return Err(format!("it did not begin: {said}").into());
            }
            if let Some((_, url)) = said.split_once("serving http") {
                let address = url.trim().trim_start_matches("s://").trim_start_matches("://");
                break address.trim_end_matches("/metrics").to_owned();
            }
        };
        Ok(Self { child, address, errors, directory })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Another configuration, which it is told to read. Returns what it says of it.
    pub(crate) fn reconfigure(&mut self, text: &str) -> Result<String, Failed> {
        fs::write(self.directory.path().join("alloctrace.toml"), text)?;
        self.signal(Signal::HUP)?;
        self.hear()
    }

    fn signal(&self, signal: Signal) -> Result<(), Failed> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).ok_or("no pid")?;
        Ok(kill_process(pid, signal)?)
    }

    /// The next line that it says.
    pub(crate) fn hear(&mut self) -> Result<String, Failed> {
        let mut line = String::new();
        ensure(self.errors.read_line(&mut line)? > 0, "the daemon has ended")?;
        Ok(line)
    }

    /// The status of an answer, and its body.
    pub(crate) fn get(&self, path: &str) -> Result<(u16, Vec<u8>), Failed> {
        get(&self.address, path)
    }

    /// Every sample by its name and labels.
    pub(crate) fn scrape(&self) -> Result<BTreeMap<String, f64>, Failed> {
        let text = String::from_utf8(self.get("/metrics")?.1)?;
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples
            .map(|line| {
                let (series, value) = line.rsplit_once(' ').ok_or("no value")?;
                Ok((series.to_owned(), value.parse()?))
            })
            .collect()
    }

    /// The first scrape that has the end of `exits` processes of a group.
    pub(crate) fn after(&self, group: &str, exits: f64) -> Result<BTreeMap<String, f64>, Failed> {
        let series = format!("alloctrace_exits_total{{group=\"{group}\"}}");
        let began = Instant::now();
        loop {
            let samples = self.scrape()?;
            if samples.get(&series).is_some_and(|ended| *ended >= exits) {
                return Ok(samples);
            }
            ensure(began.elapsed() < PATIENCE, format!("no end of {group}"))?;
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn end(mut self, signal: Signal) -> Result<Option<i32>, Failed> {
        self.signal(signal)?;
        Ok(self.child.wait()?.code())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status of a server's answer, and its body.
pub(super) fn get(server: &str, path: &str) -> Result<(u16, Vec<u8>), Failed> {
    let mut stream = TcpStream::connect(server)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or("no body")?;
    let status = str::from_utf8(&answer[..end])?.split(' ').nth(1).ok_or("no status")?;
    Ok((status.parse()?, answer[end + 4..].to_vec()))
}
