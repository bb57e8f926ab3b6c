//! The same for programs.

use std::time::Instant;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::pages::{Published, no_sample_yet};
use crate::sink::rates::Process;

#[derive(Serialize)]
struct Processes<'a> {
    /// The time that the rates are of; `null`: there was one sample only.
    interval_seconds: Option<f64>,
    processes: Vec<Process<'a>>,
}

#[derive(Serialize)]
struct Findings<'a> {
    findings: Vec<Finding<'a>>,
}

#[derive(Serialize)]
struct Finding<'a> {
    group: &'a str,
    id: &'a str,
    summary: &'a str,
    remedy: &'a [String],
    age_seconds: f64,
}

/// The worst processes, worst first.
pub(super) async fn processes(State(published): State<Published>) -> Response {
    let machine = published.sample.borrow().as_ref().map(|sample| sample.machine.clone());
    let Some(machine) = machine else { return no_sample_yet() };
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
    let found = published.findings.borrow().clone();
    let now = Instant::now();
    let findings = found.iter().map(|finding| Finding {
        group: &finding.group,
        id: &finding.id,
        summary: &finding.summary,
        remedy: &finding.remedy,
        age_seconds: now.saturating_duration_since(finding.since).as_secs_f64(),
    });
    Json(Findings { findings: findings.collect() }).into_response()
}
