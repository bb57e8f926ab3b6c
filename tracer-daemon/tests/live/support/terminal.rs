//! A terminal that a test looks at, by tmux.

use std::{
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::Failed;

use super::ensure;

/// To become suspicious and to be looked at takes half a minute, and longer where others come first.
const PATIENCE: Duration = Duration::from_secs(120);

/// A terminal of 80 columns and 24 lines, without anybody before it.
pub(crate) struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    pub(crate) fn run(directory: &Path, script: &str) -> Result<Self, Failed> {
        let terminal = Self { socket: directory.join("tmux") };
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", script])?;
        Ok(terminal)
    }

    pub(crate) fn tmux(&self, arguments: &[&str]) -> Result<String, Failed> {
        let mut tmux = Command::new("tmux");
        tmux.env("TERM", "xterm").env("LC_ALL", "C.UTF-8").arg("-u").arg("-S").arg(&self.socket);
        let done = tmux.args(arguments).output()?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        ensure(done.status.success(), format!("{arguments:?}: {said}"))?;
        Ok(String::from_utf8(done.stdout)?)
    }

    fn screen(&self) -> Result<Vec<String>, Failed> {
        Ok(self.tmux(&["capture-pane", "-p"])?.lines().map(str::to_owned).collect())
    }

    /// The first screen that is so.
    pub(crate) fn wait_for(
        &self,
        what: &str,
        is_so: impl Fn(&[String]) -> bool,
    ) -> Result<Vec<String>, Failed> {
        let began = Instant::now();
        loop {
            let screen = self.screen()?;
            if is_so(&screen) {
                return Ok(screen);
            }
            ensure(began.elapsed() < PATIENCE, format!("in vain: {what}\n{}", screen.join("\n")))?;
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The first screen with lines that begin so, each somewhere: a picture may be seen before it is whole.
    pub(crate) fn wait_for_lines(&self, lines: &[&str]) -> Result<Vec<String>, Failed> {
        let is_there =
            |screen: &[String], line: &str| screen.iter().any(|seen| seen.starts_with(line));
        let all = |screen: &[String]| lines.iter().all(|line| is_there(screen, line));
        self.wait_for(&lines.join("\n"), all)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}
