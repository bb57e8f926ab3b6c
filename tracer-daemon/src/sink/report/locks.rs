use super::page::{Page, Tone};
use crate::aggregate::snapshot::{LockWait, Snapshot};
use crate::humanize::{count, seconds};

/// Waits for the lock of the address space.
pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    let Some(waits) = snapshot.lock_waits.as_ref().filter(|waits| !waits.is_empty()) else {
        return;
    };
    page.heading("waits for mmap_lock");
    page.line(Tone::Dim, "  in         side         waits        time        mean");
    let (own, tracers): (Vec<_>, Vec<_>) = waits.iter().partition(|row| !row.during_census);
    for row in own {
        let call = row.call.chars().take(10).collect::<String>();
        let mean = seconds(row.seconds / row.waits.max(1) as f64);
        let line = format!(
            "  {call:<10} {:<6} {:>11} {:>11} {mean:>11}",
            row.side,
            count(row.waits),
            seconds(row.seconds)
        );
        page.line(Tone::Plain, &line);
    }
    if !tracers.is_empty() {
        let sum = |part: fn(&LockWait) -> f64| tracers.iter().map(|row| part(row)).sum::<f64>();
        let (number, time) = (sum(|row| row.waits as f64), sum(|row| row.seconds));
        let text = format!(
            "{} more, {}, while alloctrace was reading the mappings itself",
            count(number as u64),
            seconds(time)
        );
        page.prose(Tone::Dim, "  ", &text);
    }
}
