use tracer_common::DURATION_BUCKETS;

use super::page::{Page, Tone};
use crate::aggregate::snapshot::{Snapshot, SyscallTotals};
use crate::errno;
use crate::humanize::{bytes, count, number, seconds};

/// The table of the calls.
pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    page.heading("system calls");
    if snapshot.syscalls.is_empty() {
        page.prose(Tone::Plain, "  ", "none was counted");
        return;
    }
    let timed =
        snapshot.syscalls.values().any(|totals| totals.durations.iter().any(|calls| *calls > 0));
    let mut header = row(["", "calls", "per s", "failed", "bytes", "time"].map(str::to_owned));
    if timed {
        header.push_str(&format!(" {:>9} {:>9}", "p50 <", "p99 <"));
    }
    page.line(Tone::Dim, &header);
    for (name, totals) in &snapshot.syscalls {
        page.line(Tone::Plain, &call(name, totals, snapshot.window.seconds, timed));
    }
    for (name, totals) in &snapshot.syscalls {
        if totals.failures > 0 && !totals.errnos.is_empty() {
            page.prose(Tone::Warning, &format!("  {name} failed: "), &reasons(totals));
        }
    }
}

fn call(name: &str, totals: &SyscallTotals, window: f64, timed: bool) -> String {
    let mut line = row([
        name.to_owned(),
        count(totals.calls),
        number(totals.calls as f64 / window),
        count(totals.failures),
        bytes(totals.bytes),
        seconds(totals.seconds),
    ]);
    if timed {
        for share in [0.5, 0.99] {
            let limit = quantile(&totals.durations, share).unwrap_or_default();
            line.push_str(&format!(" {limit:>9}"));
        }
    }
    line
}

fn row([name, calls, rate, failed, bytes, time]: [String; 6]) -> String {
    format!("  {name:<8} {calls:>11} {rate:>8} {failed:>7} {bytes:>9} {time:>8}")
}

fn reasons(totals: &SyscallTotals) -> String {
    let mut errnos: Vec<_> = totals.errnos.iter().collect();
    errnos.sort_by_key(|(_, calls)| std::cmp::Reverse(**calls));
    let reasons =
        errnos.iter().map(|(errno, calls)| format!("{} {}", count(**calls), errno::name(**errno)));
    reasons.collect::<Vec<_>>().join(", ")
}

/// The upper end of the bucket that the quantile falls into.
fn quantile(durations: &[u64; DURATION_BUCKETS], share: f64) -> Option<String> {
    let all: u64 = durations.iter().sum();
    let rank = (all as f64 * share).ceil() as u64;
    let mut below = 0;
    for (bucket, calls) in durations.iter().enumerate() {
        below += calls;
        if all > 0 && below >= rank {
            let is_open = bucket == DURATION_BUCKETS - 1;
            let limit = if is_open { bucket - 1 } else { bucket };
            let text = seconds((1_u64 << limit) as f64 * 1e-9);
            return Some(if is_open { format!("over {text}") } else { text });
        }
    }
    None
}
