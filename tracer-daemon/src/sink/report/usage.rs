use super::page::{Page, Tone, bar};
use super::sites;
use crate::aggregate::snapshot::{Snapshot, StackTotals};
use crate::humanize::{count, number, percent, seconds};

const BAR: usize = 40;
const SITES_SHOWN: usize = 6;

/// Faults, and where the CPU time goes.
pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    page.heading("page faults");
    let window = snapshot.window.seconds;
    let faults = &snapshot.faults;
    let known = |faults: Option<u64>| match faults {
        Some(faults) => format!("{} ({}/s)", count(faults), number(faults as f64 / window)),
        None => "unknown".to_owned(),
    };
    let time = match faults.seconds {
        Some(time) if faults.samples > 0 => {
            format!("{} (from {} samples)", seconds(time), count(faults.samples))
        }
        Some(time) => format!("{} (sampled)", seconds(time)),
        None => "unknown".to_owned(),
    };
    let line = format!("minor {}, major {}; time {time}", known(faults.minor), known(faults.major));
    page.prose(Tone::Plain, "  ", &line);
    if let Some(futex) = snapshot.futex_waits {
        let (waits, time) = (count(futex.waits), seconds(futex.seconds));
        page.heading("waits for futexes");
        page.prose(Tone::Plain, "  ", &format!("{waits}, {time} over all threads"));
    }
    if snapshot.cpu_samples.is_empty() {
        return;
    }
    page.heading("where the CPU time goes");
    for sample in &snapshot.cpu_samples {
        let place = sample.place.chars().take(16).collect::<String>();
        let line =
            format!("  {place:<16} {:>7}  {}", percent(sample.share), bar(sample.share, BAR));
        page.line(Tone::Plain, &line);
    }
    sites(page, snapshot);
}

/// Who spends it: places with the user code that led there.
fn sites(page: &mut Page, snapshot: &Snapshot) {
    let Some(cpu) = snapshot.cpu.seconds().filter(|cpu| *cpu > 0.0) else {
        return;
    };
    let mut rows = Vec::new();
    for sample in &snapshot.cpu_samples {
        let is_here = |stack: &&StackTotals| {
            stack.kind == "cpu" && stack.place.as_deref() == Some(&*sample.place)
        };
        let here = snapshot.stacks.iter().filter(is_here);
        let times = here.map(|stack| (&*stack.frames, stack.seconds.unwrap_or(0.0)));
        let sums = sites::heaviest(times);
        rows.extend(sums.into_iter().map(|(site, time)| (&sample.place, site, time)));
    }
    rows.sort_by(|a, b| b.2.total_cmp(&a.2));
    if rows.is_empty() {
        return;
    }
    page.heading("who spends it (sampled; innermost function first)");
    for (place, site, time) in rows.into_iter().take(SITES_SHOWN) {
        let place = place.chars().take(16).collect::<String>();
        let line = format!("  {place:<16} {:>7}  {site}", percent(time / cpu));
        page.line(Tone::Plain, &line);
    }
}
