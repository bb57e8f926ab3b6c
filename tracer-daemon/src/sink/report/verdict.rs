use super::page::{Page, Tone};
use crate::aggregate::snapshot::{Cpu, Snapshot, TargetInfo, Window};
use crate::diagnose::{self, Finding, Severity};
use crate::humanize::{percent, seconds, shortened};
use crate::sink::Recording;

/// Characters of a command line that are worth showing.
const COMMAND_SHOWN: usize = 200;

/// The one thing to know, and what it is about.
pub(super) fn write(page: &mut Page, recording: &Recording) {
    let snapshot = &recording.snapshot;
    match recording.findings.first() {
        Some(worst) if worst.severity != Severity::NoGain => {
            page.prose(Tone::Bad, &format!("{}: ", worst.id), &worst.summary);
        }
        Some(worst) => page.prose(Tone::Good, &format!("{}: ", worst.id), &worst.summary),
        None => page.prose(Tone::Good, "nothing found: ", &nothing_found(snapshot)),
    }
    page.gap();
    page.prose(Tone::Plain, "target    ", &target(&snapshot.target));
    page.prose(Tone::Plain, "window    ", &window(&snapshot.window));
    page.prose(Tone::Plain, "CPU time  ", &cpu(&snapshot.cpu));
}

/// The tone of a finding.
pub(super) fn tone(finding: &Finding) -> Tone {
    match finding.severity {
        Severity::NoGain => Tone::Good,
        Severity::Low => Tone::Warning,
        Severity::Medium | Severity::High => Tone::Bad,
    }
}

fn nothing_found(snapshot: &Snapshot) -> String {
    let looked_for: Vec<_> = diagnose::names(snapshot).collect();
    let mut text = format!("looked for {}.", looked_for.join(", "));
    if snapshot.mappings.is_none() {
        text.push_str(" Births and deaths of mappings could not be seen, so churn may be there.");
    }
    if !snapshot.syscalls.is_empty() {
        let total: f64 = snapshot.syscalls.values().map(|call| call.seconds).sum();
        text.push_str(&format!(" Memory calls took {}", seconds(total)));
        if let Some(cpu) = target_cpu(&snapshot.cpu) {
            text.push_str(&format!(", {} of the target's CPU time", percent(total / cpu)));
        }
        text.push('.');
    }
    match snapshot.faults.seconds {
        Some(faults) => text.push_str(&format!(" Page faults took {}.", seconds(faults))),
        None => text.push_str(" The time of page faults is unknown."),
    }
    text
}

fn target(target: &TargetInfo) -> String {
    let mut text = format!("{} (pid {})", target.comm, target.pid);
    if let Some(threads) = target.threads {
        let plural = if threads == 1 { "" } else { "s" };
        text.push_str(&format!(", {threads} thread{plural}"));
    }
    if let Some(allocator) = &target.allocator {
        text.push_str(&format!(", allocator {allocator}"));
    }
    if !target.cmdline.is_empty() {
        let command = target.cmdline.join(" ");
        text.push_str(&format!(": {}", shortened(&command, COMMAND_SHOWN)));
    } else if let Some(exe) = &target.exe {
        text.push_str(&format!(": {exe}"));
    }
    text
}

fn window(window: &Window) -> String {
    let length = seconds(window.seconds);
    if window.complete {
        format!("{length}, complete")
    } else {
        format!("{length}, incomplete: totals are lower bounds (see what is missing)")
    }
}

fn cpu(cpu: &Cpu) -> String {
    let known = |value: Option<f64>| value.map_or("unknown".to_owned(), seconds);
    let (user, system) = (known(cpu.user_seconds), known(cpu.system_seconds));
    let mut text = format!("{user} user, {system} system");
    if let (Some(voluntary), Some(involuntary)) = (cpu.voluntary_switches, cpu.involuntary_switches)
    {
        text.push_str(&format!("; switches: {voluntary} voluntary, {involuntary} not"));
    }
    text
}

fn target_cpu(cpu: &Cpu) -> Option<f64> {
    cpu.seconds().filter(|seconds| *seconds > 0.0)
}

/// The one command to run now.
pub(super) fn next_step(page: &mut Page, recording: &Recording) {
    let snapshot = &recording.snapshot;
    let gain = recording.findings.iter().any(|finding| finding.severity != Severity::NoGain);
    let command = if gain {
        "alloctrace attach --pid PID --output after.json   (after the cure)"
    } else if snapshot.tracer.probes.iter().any(|probe| probe.status != "attached") {
        "alloctrace doctor   (why probes could not attach)"
    } else {
        "alloctrace attach --pid PID --duration 60s   (under the load in question)"
    };
    // The pid stays open: after the cure it is another one.
    page.gap();
    page.prose(Tone::Heading, "next  ", command);
}
