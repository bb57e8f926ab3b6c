//! What a tracer takes of the machine, whoever pays.

use anyhow::{Context, Result};
use std::{collections::BTreeMap, fs, time::Duration};

/// Clock ticks a second in `/proc/PID/stat` (`USER_HZ`, which no kernel of this architecture has otherwise).
const TICKS: f64 = 100.0;

/// Seconds of CPU time so far.
pub(super) struct Taken {
    /// By the process, in user and kernel mode.
    process: f64,
    /// By its programs in the kernel, which is time of whoever runs into them.
    programs: f64,
}

impl Taken {
    /// By a process that lives. What its programs take is counted while [`Statistics`] are on.
    pub(super) fn by(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, rest) = stat.rsplit_once(')').context("no name in its stat")?;
        let ticks = rest.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        let ticks = ticks.collect::<Result<Vec<_>, _>>()?;
        let mut programs = BTreeMap::new();
        for file in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
            // It may have been closed meanwhile.
            let text = fs::read_to_string(file?.path()).unwrap_or_default();
            let field = |name: &str| -> Option<u64> {
                text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
            };
            if let Some((id, nanoseconds)) = field("prog_id:").zip(field("run_time_ns:")) {
                programs.insert(id, nanoseconds);
            }
        }
        let nanoseconds: u64 = programs.into_values().sum();
        Ok(Self {
            process: ticks.into_iter().sum::<f64>() / TICKS,
            programs: nanoseconds as f64 / 1e9,
        })
    }

    /// What it has taken since then, in so much time.
    pub(super) fn since(&self, before: &Self, time: Duration) -> String {
        let percent = |seconds: f64| seconds / time.as_secs_f64() * 100.0;
        format!(
            "{:.2} % of a core, and {:.2} % in its kernel programs",
            percent(self.process - before.process),
            percent(self.programs - before.programs)
        )
    }
}

/// Makes the kernel count what programs take; as it was when dropped.
pub(super) struct Statistics(String);

impl Statistics {
    const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

    pub(super) fn on() -> Result<Self> {
        let before = Self(fs::read_to_string(Self::SWITCH)?);
        fs::write(Self::SWITCH, "1")?;
        Ok(before)
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        // Left on, it costs every program of the machine some nanoseconds.
        let _ = fs::write(Self::SWITCH, &self.0);
    }
}
