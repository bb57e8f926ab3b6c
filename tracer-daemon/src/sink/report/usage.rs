use super::page::{Page, Tone, bar};
use crate::aggregate::snapshot::Snapshot;
use crate::humanize::{count, number, percent, seconds};

const BAR: usize = 40;

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
}
