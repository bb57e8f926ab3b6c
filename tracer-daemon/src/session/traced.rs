//! What `/proc` says of the process that the window belongs to, at its beginning and at its end.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tracer_common::{ProcessId, TICK_NS, Target};

use crate::{
    aggregate::{major_faults::DiskWaits, snapshot::TargetInfo},
    census::{ProcRoot, ProcessStat, Switches},
    error::Error,
};

/// Of more threads the times are not read at each look.
const MOST_THREADS: u64 = 64;

/// Context switches stand in a file of each thread: too many to be read as often as the rest.
const BETWEEN_SWITCHES: Duration = Duration::from_secs(1);

/// The process that the window belongs to.
pub(super) struct Traced {
    pub(super) process: ProcessId,
    pub(super) since: Instant,
    pub(super) until: Option<Instant>,
    /// The same as `since` by the machine's clock, in seconds.
    pub(super) started_at: Option<f64>,
    pub(super) first: ProcessStat,
    pub(super) first_switches: Option<Switches>,
    pub(super) last: ProcessStat,
    pub(super) last_switches: Option<Switches>,
    pub(super) info: TargetInfo,
    pub(super) disk_waits: DiskWaits,
    read_switches_at: Instant,
}

impl Traced {
    /// The window begins.
    pub(super) fn begin(root: &ProcRoot, found: &ProcessStat) -> Result<Self, Error> {
        let since = Instant::now();
        let started_at = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        let pid = found.pid;
        let is_it = |stat: &ProcessStat| stat.start_ticks == found.start_ticks && stat.state != 'Z';
        let first = root.stat(pid).ok().filter(is_it).ok_or_else(|| {
            Error::NoSuchProcess(format!(
                "process {pid} ended before anything was measured; start it again and attach"
            ))
        })?;
        let switches = root.switches(pid).ok();
        Ok(Self {
            process: ProcessId::new(pid, found.start_ticks),
            since,
            until: None,
            started_at: started_at.map(|time| time.as_secs_f64()),
            info: target_info(root, &first),
            last: first.clone(),
            first,
            first_switches: switches,
            last_switches: switches,
            disk_waits: DiskWaits::default(),
            read_switches_at: since + BETWEEN_SWITCHES,
        })
    }

    /// Reads on while the process is there.
    pub(super) fn look(&mut self, root: &ProcRoot, now: Instant) {
        let Ok(stat) = root.stat(self.process.pid) else {
            return;
        };
        if stat.start_ticks != self.process.start_ticks {
            return;
        }
        if stat.state != 'Z' {
            self.info.threads = Some(stat.threads);
            let times = (stat.threads <= MOST_THREADS).then(|| root.thread_times(stat.pid));
            self.disk_waits.look(now, stat.major_faults, times.and_then(Result::ok));
            if now >= self.read_switches_at {
                self.last_switches = root.switches(stat.pid).ok().or(self.last_switches);
                self.read_switches_at = now + BETWEEN_SWITCHES;
            }
        }
        // One that has ended has no memory any more.
        let resident =
            if stat.state == 'Z' { self.last.resident_bytes } else { stat.resident_bytes };
        self.last = ProcessStat { resident_bytes: resident, ..stat };
    }

    /// The window ended at `now`.
    pub(super) fn end(&mut self, root: &ProcRoot, now: Instant) {
        self.until = Some(now);
        self.read_switches_at = now;
        self.look(root, now);
    }

    /// What the process is called now.
    pub(super) fn refresh(&mut self, root: &ProcRoot) {
        if let Ok(stat) = root.stat(self.process.pid) {
            self.info = target_info(root, &stat);
        }
    }
}

/// The targets that have not ended, as `/proc` shows them.
pub(super) fn living(
    root: &ProcRoot,
    targets: Vec<(u32, Target)>,
) -> HashMap<ProcessId, ProcessStat> {
    let alive = targets.into_iter().filter_map(|(pid, target)| {
        let stat = root.stat(pid).ok()?;
        let same = target.start_ticks == 0 || target.start_ticks == stat.start_ticks;
        same.then(|| (ProcessId::new(pid, stat.start_ticks), stat))
    });
    alive.collect()
}

fn target_info(root: &ProcRoot, stat: &ProcessStat) -> TargetInfo {
    TargetInfo {
        pid: stat.pid,
        start_time: Some(stat.start_ticks as f64 * TICK_NS as f64 / 1e9),
        comm: stat.comm.clone(),
        exe: root.exe(stat.pid).map(|path| path.to_string_lossy().into_owned()),
        cmdline: root.cmdline(stat.pid),
        threads: Some(stat.threads),
        allocator: None,
    }
}
