//! A redis-server of the test's own, and its load.

use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
};

use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::support::{Ended, ensure, wait_until};

pub(crate) struct Redis {
    server: Ended,
    port: String,
    directory: TempDir,
}

impl Redis {
    /// Starts a server that keeps nothing, and waits until it listens.
    pub(crate) fn start() -> Result<Self, Failed> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
        let directory = TempDir::new()?;
        let server = Ended(
            Command::new("redis-server")
                .args(["--port", &port, "--save", "", "--appendonly", "no", "--dir"])
                .arg(directory.path())
                .stdout(Stdio::null())
                .spawn()?,
        );
        wait_until("redis listens", || TcpStream::connect(format!("127.0.0.1:{port}")).is_ok())?;
        Ok(Self { server, port, directory })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.0.id()
    }

    /// Where the test may write.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// So many requests of each of these commands, on 20,000 bytes each.
    pub(crate) fn load(&self, requests: u32, commands: &str) -> Result<(), Failed> {
        let load = self.benchmark(requests, commands).status()?;
        ensure(load.success(), "redis-benchmark failed")
    }

    /// What makes them.
    pub(crate) fn benchmark(&self, requests: u32, commands: &str) -> Command {
        let mut load = Command::new("redis-benchmark");
        load.args(["-p", &self.port, "-q", "-d", "20000", "-r", "2000", "-t", commands, "-n"]);
        load.arg(requests.to_string()).stdout(Stdio::null());
        load
    }
}
