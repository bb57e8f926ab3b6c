use super::page::{Page, Tone};
use super::verdict::tone;
use crate::aggregate::snapshot::Snapshot;
use crate::diagnose::{Cost, Finding, Saving, Severity};
use crate::humanize::{bytes, percent, seconds};

const LABEL: usize = 12;

/// One finding with its reasons, its cure and how to check it.
pub(super) fn write(page: &mut Page, finding: &Finding, snapshot: &Snapshot) {
    page.gap();
    let severity = match finding.severity {
        Severity::NoGain => "no gain",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
    };
    let title = format!("{} ({severity}, confidence {})", finding.id, percent(finding.confidence));
    page.line(tone(finding), &title);
    list(page, "evidence", &finding.evidence);
    labelled(page, "cause", &finding.cause.text);
    labelled(page, "cost", &cost(&finding.cost));
    list(page, "remedy", &finding.remedy);
    match &finding.predicted_saving {
        Some(saving) => {
            labelled(page, "saves", &saves(saving, snapshot));
            labelled(page, "check", &check(saving, snapshot));
        }
        None if finding.severity == Severity::NoGain => {
            labelled(page, "saves", "nothing worth the work");
        }
        None if finding.cost.bytes_per_second > 0.0 => {
            let memory = memory(&finding.cost);
            labelled(page, "saves", &format!("up to {memory} of memory each second"));
            labelled(page, "check", "apply the cure, record the same load again and compare");
        }
        None => {
            labelled(page, "saves", "no CPU time that could be predicted");
            labelled(page, "check", "apply the cure, record the same load again and compare");
        }
    }
}

fn labelled(page: &mut Page, label: &str, text: &str) {
    page.prose(Tone::Plain, &format!("  {label:<LABEL$}"), text);
}

fn list(page: &mut Page, label: &str, items: &[String]) {
    for (index, item) in items.iter().enumerate() {
        let label = if index == 0 { label } else { "" };
        page.prose(Tone::Plain, &format!("  {label:<LABEL$}- "), item);
    }
}

fn cost(cost: &Cost) -> String {
    if cost.bytes_per_second > 0.0 {
        return format!("{} of memory each second", memory(cost));
    }
    if cost.bytes > 0 {
        return format!("{} of memory", bytes(cost.bytes));
    }
    if cost.waited_seconds_per_second > 0.0 && cost.cpu_seconds_per_second == 0.0 {
        return format!("{} of waiting each second", seconds(cost.waited_seconds_per_second));
    }
    let per_second = seconds(cost.cpu_seconds_per_second);
    let cpu = match cost.share_of_target {
        Some(share) => {
            format!("{per_second} of CPU time each second, {} of the target's", percent(share))
        }
        None => format!("{per_second} of CPU time each second (the target's total is unknown)"),
    };
    match cost.waited_seconds_per_second {
        waited if waited > 0.0 => format!("{} of waiting each second; {cpu}", seconds(waited)),
        _ => cpu,
    }
}

fn memory(cost: &Cost) -> String {
    bytes(cost.bytes_per_second.round() as u64)
}

fn saves(saving: &Saving, snapshot: &Snapshot) -> String {
    if let Some(memory) = saving.memory {
        let [best, low, high] = [memory.bytes, memory.low, memory.high].map(bytes);
        return format!("{best} of memory ({low} to {high})");
    }
    if saving.waited_seconds_per_second > 0.0 && saving.high == 0.0 {
        return format!(
            "up to {} of waiting each second",
            seconds(saving.waited_seconds_per_second)
        );
    }
    let mut text = format!(
        "{} of CPU time each second (95 %: {} to {})",
        seconds(saving.cpu_seconds_per_second),
        seconds(saving.low),
        seconds(saving.high),
    );
    if saving.cpu_seconds_per_cycle > 0.0 {
        text.push_str(&format!(", {} for each cycle", seconds(saving.cpu_seconds_per_cycle)));
    }
    if saving.waited_seconds_per_second > 0.0 {
        let waited = seconds(saving.waited_seconds_per_second);
        text.push_str(&format!(", and up to {waited} of waiting each second"));
    }
    if !snapshot.window.complete {
        text.push_str("; something was lost, so it may be more");
    }
    text
}

/// A prediction is as good as its check.
fn check(saving: &Saving, snapshot: &Snapshot) -> String {
    let mut text = "apply the cure, record the same load again and compare".to_owned();
    if let Some(memory) = saving.memory {
        if let Some(resident) = snapshot.resident {
            let left = resident.after.saturating_sub(memory.bytes);
            let (now, then) = (bytes(resident.after), bytes(left));
            text.push_str(&format!(": its memory should fall from {now} to about {then}"));
        }
    } else if let Some(cpu) = snapshot.cpu.seconds().filter(|_| saving.high > 0.0) {
        let now = cpu / snapshot.window.seconds;
        let [expected, least, most] = [saving.cpu_seconds_per_second, saving.high, saving.low]
            .map(|saved| seconds((now - saved).max(0.0)));
        text.push_str(&format!(
            ": CPU time each second should fall from {} to about {expected} ({least} to {most})",
            seconds(now)
        ));
    }
    text
}
