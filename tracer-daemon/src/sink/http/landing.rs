//! The page for people: what is wrong, who is worst, what is missing. It needs no scripts and nothing from elsewhere.

use std::time::Instant;

use axum::{
    extract::State,
    http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY},
    response::{Html, IntoResponse, Response},
};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::pages::Published;
use crate::{
    aggregate::{
        MachineSnapshot,
        looks::Found,
        rates::{Interval, Rates},
        snapshot::unmeasured,
    },
    diagnose::Finding,
    humanize::{self, escaped, rough_time, shortened},
};

const STYLE: &str = include_str!("landing.css");
/// Rows of a table.
const MOST_ROWS: usize = 15;
/// Characters of a name.
const LONGEST_NAME: usize = 60;

/// Makes the page of what was published last.
pub(super) async fn page(State(published): State<Published>) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "alloctrace" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "alloctrace" }
                @match published.machine().as_deref() {
                    Some(machine) => {
                        (wrong(machine, Instant::now()))
                        (state(machine))
                    },
                    None => p { "There is no sample yet." },
                }
                (links())
            }
        }
    };
    // What names bring along has no power here, even if it were to get through.
    let headers = [
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, Html(page.into_string())).into_response()
}

fn wrong(machine: &MachineSnapshot, now: Instant) -> Markup {
    let findings = machine.looks.worst_first();
    html! {
        @if !findings.is_empty() {
            section id="findings" {
                h2 { "What is wrong" }
                @for (group, found, finding) in findings { (entry(group, found, finding, now)) }
            }
        }
    }
}

fn entry(group: &str, found: &Found, finding: &Finding, now: Instant) -> Markup {
    let age = now.saturating_duration_since(found.at).as_secs_f64();
    let pid = found.process.pid;
    html! {
        article {
            h3 { (name(group)) ": " (escaped(&finding.id)) }
            p { (escaped(&finding.summary)) }
            ul { @for remedy in &finding.remedy { li { (escaped(remedy)) } } }
            p.dim {
                "Found in " (name(&found.comm)) " (pid " (pid) ") " (rough_time(age)) " ago. Next: "
                code { "alloctrace attach --pid " (pid) " --duration 30s" }
            }
        }
    }
}

fn state(machine: &MachineSnapshot) -> Markup {
    let limit = machine.area_counting.limit;
    let has_fault_time =
        machine.probes.iter().any(|row| row.signal == "faults" && row.backend.is_some());
    html! {
        @match &machine.interval {
            Some(interval) => {
                (groups(interval, limit))
                (legend(interval, has_fault_time))
                (processes(interval, limit))
            },
            None => p { "Rates are known from the second sample on." },
        }
        (missing(machine))
        p.dim { "alloctrace " (escaped(&machine.version)) " on Linux " (escaped(&machine.kernel)) }
    }
}

fn groups(interval: &Interval, limit: Option<u64>) -> Markup {
    let rest = interval.groups.len().saturating_sub(MOST_ROWS);
    html! {
        section {
            h2 { "Worst groups" }
            table id="groups" {
                thead { tr { th.name { "group" } th { "processes" } (headings()) } }
                tbody {
                    @for group in interval.groups.iter().take(MOST_ROWS) {
                        tr {
                            td.name { (name(&group.name)) }
                            td { (humanize::count(group.processes)) }
                            (cells(&group.rates, group.areas, limit))
                        }
                    }
                }
            }
            @if rest > 0 { p.dim { "and " (rest) " more, in " a href="/metrics" { "the metrics" } } }
        }
    }
}

fn processes(interval: &Interval, limit: Option<u64>) -> Markup {
    html! {
        section {
            h2 { "Worst processes" }
            table id="processes" {
                thead { tr { th.name { "process" } th { "pid" } th.name { "group" } (headings()) } }
                tbody {
                    @for process in interval.processes.iter().take(MOST_ROWS) {
                        tr {
                            td.name { (name(&process.comm)) }
                            td { (process.process.pid) }
                            td.name { (name(&process.group)) }
                            (cells(&process.rates, process.areas, limit))
                        }
                    }
                }
            }
        }
    }
}

fn headings() -> Markup {
    html! { th { "calls/s" } th { "faults/s" } th { "time" } th { "CPU" } th { "areas" } }
}

fn cells(rates: &Rates, areas: Option<u64>, limit: Option<u64>) -> Markup {
    html! {
        td { (humanize::number(rates.calls)) }
        td { (humanize::number(rates.faults)) }
        td { (humanize::percent(rates.time)) }
        td { (rates.cpu.map_or("unknown".to_owned(), humanize::percent)) }
        td {
            @match areas {
                Some(areas) => {
                    (humanize::count(areas))
                    @if let Some(limit) = limit.filter(|limit| *limit > 0) {
                        " (" (humanize::percent(areas as f64 / limit as f64)) ")"
                    }
                },
                None => "unknown",
            }
        }
    }
}

fn legend(interval: &Interval, has_fault_time: bool) -> Markup {
    let faults = match has_fault_time {
        true => "in them and in faults (sampled)",
        false => "in them (that in faults is not measured here)",
    };
    html! {
        p.dim {
            "Over the last " (humanize::seconds(interval.seconds)) ". " b { "calls" }
            ": mmap, munmap, mremap, mprotect, brk, madvise. " b { "time" }
            " " (faults) ", waiting included, summed over threads, as a share of one CPU's. " b { "CPU" }
            ": what the kernel spent on memory, sampled, as a share of one CPU. " b { "areas" }
            " of the largest process, and the share of the limit."
        }
    }
}

fn missing(machine: &MachineSnapshot) -> Markup {
    let lost: Vec<_> = machine.losses().collect();
    let failed = unmeasured(&machine.probes);
    html! {
        @if !lost.is_empty() || !failed.is_empty() {
            section id="missing" {
                h2 { "What is missing" }
                ul {
                    @for (cause, number) in lost {
                        li { "lost, " (cause.name()) ": " (humanize::count(number)) }
                    }
                    @for (signals, reason) in failed {
                        li {
                            "not measured: " (escaped(&signals.join(", ")))
                            @if let Some(reason) = reason { " (" (escaped(reason)) ")" }
                        }
                    }
                }
            }
        }
    }
}

fn links() -> Markup {
    html! {
        nav {
            a href="/metrics" { "metrics" }
            a href="/debug/pprof/" { "profiles" }
            a href="/api/v1/processes" { "processes (JSON)" }
            a href="/api/v1/findings" { "findings (JSON)" }
        }
    }
}

fn name(text: &str) -> String {
    shortened(&escaped(text), LONGEST_NAME)
}
