//! Why it is so: findings, and whom one may be about next, in the lines below a table.

use std::time::Instant;

use ratatui::{
    style::{Style, Stylize},
    text::Line,
};

use crate::{
    aggregate::{
        looks::{Attention, LENGTH, LastLook, Load, Stage},
        snapshot::{ProbeStatus, unmeasured},
    },
    diagnose::{Cost, Finding, Severity},
    humanize::{bytes, escaped, percent, rough_time, seconds},
    sink::report::prose,
};

type Lines = Vec<Line<'static>>;

/// Whose a finding is, where it is not plain.
pub(super) struct Whose {
    /// The process, and when it was found.
    pub(super) who: String,
    /// The command that tells all about it.
    pub(super) all: String,
}

/// What a finding is, what it costs, and its best cure; nothing where there is nothing to gain.
pub(super) fn finding(finding: &Finding, whose: Option<&Whose>, width: u16) -> Lines {
    let (severity, style) = match finding.severity {
        Severity::NoGain => return Vec::new(),
        Severity::Low => ("low", Style::new().yellow()),
        Severity::Medium => ("medium", Style::new().red().bold()),
        Severity::High => ("high", Style::new().red().bold()),
    };
    let cost = cost(&finding.cost).map_or_else(String::new, |cost| format!(": {cost}"));
    let who = whose.map_or_else(String::new, |whose| format!("; {}", whose.who));
    let title = format!("{} ({severity}){cost}{who}", finding.id);
    let said = [
        ("  what  ", Some(finding.summary.as_str())),
        ("  cure  ", finding.remedy.first().map(String::as_str)),
        ("  all   ", whose.map(|whose| whose.all.as_str())),
    ];
    let title = prose("", &title, width).into_iter().map(|line| Line::from(line).style(style));
    let said = said.into_iter().filter_map(|(label, text)| Some(prose(label, text?, width)));
    std::iter::once(Line::default()).chain(title).chain(said.flatten().map(Line::from)).collect()
}

/// What it takes, in a few words; `None`: it is no matter of time or memory.
fn cost(cost: &Cost) -> Option<String> {
    let memory = |amount: u64| format!("{} of memory", bytes(amount));
    if cost.bytes_per_second > 0.0 {
        return Some(format!("{} each second", memory(cost.bytes_per_second.round() as u64)));
    }
    if cost.bytes > 0 {
        return Some(memory(cost.bytes));
    }
    let cpu = cost.cpu_seconds_per_second;
    let cpu = (cpu > 0.0).then(|| format!("{} of a CPU", percent(cpu)));
    let waited = cost.waited_seconds_per_second;
    let waited = (waited > 0.0).then(|| format!("{} of waiting each second", seconds(waited)));
    let both: Vec<_> = waited.into_iter().chain(cpu).collect();
    (!both.is_empty()).then(|| both.join(", "))
}

/// Whom a finding may be about next, and what it waits for.
pub(super) fn attention(attention: &Attention, now: Instant, width: u16) -> Lines {
    let Load { process, comm, cost, crowding, .. } = &attention.load;
    let who = format!("{comm} (pid {})", process.pid);
    let text = match &attention.stage {
        Stage::Looking { since } => match now.saturating_duration_since(*since) {
            passed if passed < LENGTH => {
                let (passed, length) = (passed.as_secs(), LENGTH.as_secs());
                format!("looking closer at {who}: {passed} s of {length} s")
            }
            _ => format!("looking closer at {who}: finding names for what was seen"),
        },
        Stage::Waiting { until, last } => {
            let crowding = crowding.filter(|crowding| crowding > cost);
            let why = match crowding {
                Some(crowding) => format!("has {} of the areas it may have", percent(crowding)),
                None => format!("takes {} of a CPU for memory", percent(*cost)),
            };
            format!("{who} {why}; {}", waits(*until, last.as_ref(), now))
        }
    };
    let lines = prose("", &text, width).into_iter().map(|line| Line::from(line).yellow());
    std::iter::once(Line::default()).chain(lines).collect()
}

fn waits(until: Instant, last: Option<&LastLook>, now: Instant) -> String {
    let left = until.saturating_duration_since(now).as_secs();
    let when = match left {
        0 => "soon".to_owned(),
        left => format!("in about {}", whole(left)),
    };
    match last {
        None => format!("a closer look begins {when}"),
        Some(LastLook { at, failure }) => {
            let age = whole(now.saturating_duration_since(*at).as_secs());
            let told = failure.as_deref().unwrap_or("nothing found");
            format!("the closer look {age} ago: {told}; another one {when}")
        }
    }
}

/// What was lost, and what could not be measured.
pub(super) fn missing<'a>(
    lost: impl Iterator<Item = (&'a str, u64)>,
    probes: &[ProbeStatus],
) -> Line<'static> {
    let lost: Vec<_> = lost.map(|(cause, number)| format!("{cause} {number}")).collect();
    let signals = unmeasured(probes).into_iter().flat_map(|(signals, _)| signals);
    let signals: Vec<_> = signals.collect();
    let said = [("lost: ", lost.join(", ")), ("not measured: ", signals.join(", "))];
    let said = said.into_iter().filter(|(_, names)| !names.is_empty());
    let said: Vec<_> = said.map(|(what, names)| what.to_owned() + &names).collect();
    Line::from(escaped(&said.join("  ")))
}

/// `12 s`, `4 minutes`.
pub(super) fn whole(seconds: u64) -> String {
    if seconds < 120 { format!("{seconds} s") } else { rough_time(seconds as f64) }
}

/// As many findings as there is room for, worst first, and below them `last`.
pub(super) fn fitted(findings: Vec<Lines>, last: Lines, room: usize) -> Lines {
    let number = findings.len();
    let mut lines = Vec::new();
    let mut left_out = 0;
    for (index, finding) in findings.into_iter().enumerate() {
        let more = usize::from(index + 1 < number);
        let free = room.saturating_sub(lines.len() + last.len() + more);
        if left_out > 0 || finding.len() > free {
            left_out += usize::from(index > 0);
            // Of the worst at least what it is.
            lines.extend(finding.into_iter().take(if index == 0 { free } else { 0 }));
        } else {
            lines.extend(finding);
        }
    }
    if left_out > 0 {
        lines.push(Line::from(format!("and {left_out} more, which a taller terminal shows")));
    }
    lines.extend(last);
    lines.truncate(room);
    lines
}
