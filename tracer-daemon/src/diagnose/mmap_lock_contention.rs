//! `mmap-lock-contention`: the target's threads wait for one another's changes to the address
//! space.
//!
//! Whatever changes mappings has `mmap_lock` alone; faults share it (with per-area locks since Linux
//! 6.4 most of them do without). So it is the writers that make others wait.

use super::{Cause, Cost, Finding, Saving, Severity, caller, worth};
use crate::aggregate::snapshot::{LockWait, Snapshot};
use crate::humanize::{count, number, percent, seconds};

const ID: &str = "mmap-lock-contention";

/// Fewer waits a second than this are ordinary life.
const WAITS_PER_SECOND: f64 = 1.0;

/// Fewer than this in the whole window may be a start-up.
const WAITS: u64 = 100;

/// Calls that take the lock for writing. `madvise` does for a part of its advice only.
const WRITERS: [&str; 5] = ["mmap", "munmap", "mremap", "mprotect", "brk"];

/// The class of CPU samples that wait for a lock without sleeping.
const LOCK_WAIT: &str = "lock_wait";

/// Waits that the target caused itself.
struct Waits {
    number: u64,
    seconds: f64,
    window: f64,
    /// Of the time that threads ran or waited, the part that they waited.
    share: f64,
    spinning_share: f64,
    cpu_seconds: f64,
}

/// Looks for threads that wait for the lock of their address space.
#[must_use]
pub fn mmap_lock_contention(snapshot: &Snapshot) -> Option<Finding> {
    let rows: Vec<_> = own_rows(snapshot).collect();
    let waits = Waits::of(snapshot, &rows)?;
    let writer = heaviest_writer(snapshot);
    let stack = writer.and_then(|(call, _)| caller::heaviest_stack(snapshot, call));
    let site = stack.and_then(caller::call_site).map(caller::site_text);
    let waited = waits.seconds / waits.window;
    let severity = worth::severity(waited, Some(waits.share));
    let gain = severity != Severity::NoGain;
    let spinning = waits.spinning_share * waits.cpu_seconds / waits.window;
    Some(Finding {
        id: ID.to_owned(),
        severity,
        summary: format!(
            "threads wait for mmap_lock for {} of the time that they run or wait{}",
            percent(waits.share),
            if gain { "" } else { ": too little to cure" }
        ),
        evidence: evidence(&waits, &rows, writer),
        cause: Cause {
            text: cause(writer, site.as_deref()),
            bytes: None,
            stack: stack.map_or_else(Vec::new, caller::stack_text),
        },
        cost: Cost {
            cpu_seconds_per_second: spinning,
            share_of_target: Some(waits.spinning_share),
            waited_seconds_per_second: waited,
            ..Cost::default()
        },
        remedy: if gain { remedies(writer, site.as_deref()) } else { Vec::new() },
        predicted_saving: gain.then_some(Saving {
            cpu_seconds_per_second: spinning,
            // Spinning may be for other locks as well.
            low: 0.0,
            high: spinning,
            waited_seconds_per_second: waited,
            ..Saving::default()
        }),
        confidence: if writer.is_some_and(|(_, share)| share >= 0.5) { 0.85 } else { 0.7 },
    })
}

/// Waits that alloctrace may have caused are not the target's.
fn own_rows(snapshot: &Snapshot) -> impl Iterator<Item = &LockWait> {
    snapshot.lock_waits.iter().flatten().filter(|row| !row.during_census)
}

impl Waits {
    fn of(snapshot: &Snapshot, rows: &[&LockWait]) -> Option<Self> {
        let window = snapshot.window.seconds;
        let number: u64 = rows.iter().map(|row| row.waits).sum();
        let seconds: f64 = rows.iter().map(|row| row.seconds).sum();
        let cpu_seconds = snapshot.cpu.seconds()?;
        let share = seconds / (seconds + cpu_seconds);
        let notable = number >= WAITS && number as f64 >= WAITS_PER_SECOND * window;
        let plausible = window > 0.0 && seconds >= 0.0 && (0.0..=1.0).contains(&share);
        let spinning = snapshot.cpu_samples.iter().find(|sample| sample.place == LOCK_WAIT);
        (notable && plausible).then(|| Self {
            number,
            seconds,
            window,
            share,
            spinning_share: spinning.map_or(0.0, |sample| sample.share),
            cpu_seconds,
        })
    }
}

/// The call that has the lock alone for most of the time, and its part of that time.
fn heaviest_writer(snapshot: &Snapshot) -> Option<(&'static str, f64)> {
    let waited = |call: &str| -> f64 {
        own_rows(snapshot).filter(|row| row.call == call).map(|row| row.seconds).sum()
    };
    let busy = WRITERS.map(|call| {
        let total = snapshot.syscalls.get(call).map_or(0.0, |totals| totals.seconds);
        (call, (total - waited(call)).max(0.0))
    });
    let all: f64 = busy.iter().map(|(_, seconds)| seconds).sum();
    let (call, most) = busy.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    (all > 0.0).then(|| (call, most / all))
}

fn evidence(waits: &Waits, rows: &[&LockWait], writer: Option<(&str, f64)>) -> Vec<String> {
    let rate = number(waits.number as f64 / waits.window);
    let mut lines = vec![format!(
        "{} waits ({rate}/s), {} in all, {} each",
        count(waits.number),
        seconds(waits.seconds),
        seconds(waits.seconds / waits.number.max(1) as f64)
    )];
    for row in rows.iter().take(4) {
        let call = if row.call == "other" { "faults and other calls" } else { &row.call };
        let kind = if row.side == "write" { "to change mappings" } else { "to read them" };
        lines.push(format!("{call}: {} waits {kind}, {}", count(row.waits), seconds(row.seconds)));
    }
    if let Some((call, share)) = writer {
        lines.push(format!(
            "{call} makes up {} of the time in calls that have the lock alone, waiting excluded",
            percent(share)
        ));
    }
    lines
}

fn cause(writer: Option<(&str, f64)>, site: Option<&str>) -> String {
    let place = site.map_or(String::new(), |site| format!(", most of it from {site}"));
    match writer {
        Some((call, _)) => {
            format!("{call} has the lock of the whole address space alone while it works{place}")
        }
        None => "calls that change mappings; which ones is not known".to_owned(),
    }
}

fn remedies(writer: Option<(&str, f64)>, site: Option<&str>) -> Vec<String> {
    let place = site.map_or(String::new(), |site| format!(" in {site}"));
    let call = writer.map_or("mmap and munmap", |(call, _)| call);
    vec![
        format!("make fewer {call} calls{place}: keep memory in pools, one for each thread"),
        "give pages back by madvise(MADV_DONTNEED) or MADV_FREE, which share the lock, instead of \
         munmap"
            .to_owned(),
        "with glibc's malloc: mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1) together, or \
         GLIBC_TUNABLES=glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1073741824"
            .to_owned(),
        "processes instead of threads have a lock each".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::aggregate::snapshot::{Cpu, SyscallTotals, Window};

    fn wait(side: &str, call: &str, waits: u64, seconds: f64) -> LockWait {
        LockWait { side: side.into(), call: call.into(), waits, seconds, ..LockWait::default() }
    }

    fn snapshot(waits: Vec<LockWait>) -> Snapshot {
        let totals = |seconds| SyscallTotals { calls: 1, seconds, ..SyscallTotals::default() };
        Snapshot {
            window: Window { seconds: 10.0, complete: true, ..Window::default() },
            cpu: Cpu { user_seconds: Some(5.0), system_seconds: Some(5.0), ..Cpu::default() },
            syscalls: BTreeMap::from([
                ("munmap".to_owned(), totals(12.0)),
                ("mmap".to_owned(), totals(3.0)),
            ]),
            lock_waits: Some(waits),
            ..Snapshot::default()
        }
    }

    #[test]
    fn the_writer_that_works_longest_is_named() {
        let waits = vec![wait("read", "other", 900, 6.0), wait("write", "munmap", 400, 4.0)];
        let finding = mmap_lock_contention(&snapshot(waits)).expect("half of the time");
        assert_eq!(finding.severity, Severity::High);
        assert!(finding.cause.text.starts_with("munmap"), "{}", finding.cause.text);
        assert!((finding.cost.waited_seconds_per_second - 1.0).abs() < 1e-9);
        let saving = finding.predicted_saving.expect("a gain");
        assert!((saving.waited_seconds_per_second - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_tracers_own_waits_and_rare_ones_are_nothing() {
        let mut tracers = wait("write", "munmap", 400, 9.0);
        tracers.during_census = true;
        assert_eq!(mmap_lock_contention(&snapshot(vec![tracers])), None);
        assert_eq!(mmap_lock_contention(&snapshot(vec![wait("read", "other", 3, 0.1)])), None);
        let short = vec![wait("read", "other", 900, 0.02)];
        let finding = mmap_lock_contention(&snapshot(short)).expect("many, but short");
        assert_eq!(finding.severity, Severity::NoGain);
        assert_eq!(mmap_lock_contention(&Snapshot::default()), None);
    }
}
