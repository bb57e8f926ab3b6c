use std::{fs, process};

use tracer_common::TICK_NS;

use crate::{
    aggregate::machine::OwnUsage,
    census::{ProcRoot, cpu_clock_ns},
};

/// What this process takes.
pub(super) fn usage(root: &ProcRoot) -> OwnUsage {
    let pid = process::id();
    let of_children = root.stat(pid).map_or(0, |stat| stat.children_ticks);
    OwnUsage {
        cpu_seconds: cpu_clock_ns(pid).unwrap_or(0) as f64 / 1e9,
        children_cpu_seconds: of_children.saturating_mul(TICK_NS) as f64 / 1e9,
        resident_bytes: resident_pages(root, pid).unwrap_or(0) * rustix::param::page_size() as u64,
    }
}

/// The second number of `/proc/PID/statm`.
fn resident_pages(root: &ProcRoot, pid: u32) -> Option<u64> {
    let line = fs::read_to_string(root.file(pid, "statm")).ok()?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}
