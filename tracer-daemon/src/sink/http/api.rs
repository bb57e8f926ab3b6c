//! The same for programs.

use std::time::Instant;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::pages::{Published, no_sample_yet};
use crate::sink::{
    findings::{ActiveFinding, active},
    rates::Process,
};

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
    Json(Findings { findings: active(&machine.looks, Instant::now()) }).into_response()
}
