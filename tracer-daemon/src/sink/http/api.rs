//! The same for programs.

use std::time::Instant;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::pages::{Published, no_sample_yet};
use crate::{diagnose::Finding, sink::rates::Process};

#[derive(Serialize)]
struct Processes<'a> {
    /// The time that the rates are of; `null`: there was one sample only.
    interval_seconds: Option<f64>,
    processes: Vec<Process<'a>>,
}

#[derive(Serialize)]
struct Findings<'a> {
    findings: Vec<ActiveFinding<'a>>,
}

/// A finding of a recording, and whose it is.
#[derive(Serialize)]
struct ActiveFinding<'a> {
    group: &'a str,
    comm: &'a str,
    pid: u32,
    age_seconds: f64,
    #[serde(flatten)]
    finding: &'a Finding,
}

/// The worst processes, worst first.
pub(super) async fn processes(State(published): State<Published>) -> Response {
    let Some(machine) = published.machine() else { return no_sample_yet() };
    let interval = machine.interval.as_ref();
    let processes = interval.map_or(&[][..], |interval| &interval.processes);
    let answer = Processes {
        interval_seconds: interval.map(|interval| interval.seconds),
        processes: processes.iter().map(Process::from).collect(),
    };
    Json(answer).into_response()
}

/// The findings that hold.
pub(super) async fn findings(State(published): State<Published>) -> Response {
    let Some(machine) = published.machine() else { return no_sample_yet() };
    let now = Instant::now();
    let findings = machine.looks.found.iter().flat_map(|(group, found)| {
        found.findings.iter().map(move |finding| ActiveFinding {
            group,
            comm: &found.comm,
            pid: found.process.pid,
            age_seconds: now.saturating_duration_since(found.at).as_secs_f64(),
            finding,
        })
    });
    Json(Findings { findings: findings.collect() }).into_response()
}
