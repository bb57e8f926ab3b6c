//! What the daemon's threads may still do once everything is attached.

use std::fs;

use libtest_mimic::Failed;

use super::Daemon;
use crate::support::{ensure, same};

/// `CAP_DAC_READ_SEARCH` and `CAP_SYS_PTRACE`, by their bits.
const TO_READ: u64 = 1 << 2 | 1 << 19;
/// `CAP_BPF` and `CAP_SYS_ADMIN`: older kernels want one of them to hand out what a map holds.
const TO_READ_MAPS: u64 = TO_READ | 1 << 39 | 1 << 21;

pub(super) fn are_put_down() -> Result<(), Failed> {
    let daemon = Daemon::start()?;
    // Once it serves, all of its threads are there.
    daemon.scrape()?;
    let (mut answering, mut others) = (Vec::new(), Vec::new());
    for task in fs::read_dir(format!("/proc/{}/task", daemon.pid()))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.strip_prefix(":\t")).map(str::to_owned).ok_or("no such field")
        };
        let set = |name| Ok::<_, Failed>(u64::from_str_radix(&field(name)?, 16)?);
        match field("Name")?.as_str() {
            "http" => answering.push((set("CapEff")?, set("CapPrm")?)),
            _ => others.push(set("CapEff")?),
        }
    }
    same("those of the thread that answers", answering, vec![(0, 0)])?;
    ensure(
        !others.is_empty() && others.iter().all(|set| [TO_READ, TO_READ_MAPS].contains(set)),
        format!("effective capabilities of the other threads: {others:x?}"),
    )
}
