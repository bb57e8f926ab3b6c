//! Where profiles are to be had, as Prometheus's HTTP service discovery wants to be told.
//!
//! <https://prometheus.io/docs/prometheus/latest/http_sd/>: a list of groups of targets, each with labels. Those that
//! begin with `__param_` become part of the question to the target.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header::HOST, uri::Authority},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::sync::watch;

use super::profiles::{ALLOCS, Profile, Shelf};

#[derive(Serialize)]
struct Group<'a> {
    targets: [&'a str; 1],
    labels: Labels<'a>,
}

#[derive(Serialize)]
struct Labels<'a> {
    #[serde(rename = "__metrics_path__")]
    path: &'static str,
    #[serde(rename = "__param_pid")]
    asked: String,
    #[serde(rename = "__meta_alloctrace_comm")]
    comm: &'a str,
    #[serde(rename = "__meta_alloctrace_group")]
    group: &'a str,
}

impl<'a> Group<'a> {
    fn new(host: &'a str, profile: &'a Profile) -> Self {
        let Profile { pid, comm, group, .. } = profile;
        let asked = pid.to_string();
        Self { targets: [host], labels: Labels { path: ALLOCS, asked, comm, group } }
    }
}

/// Every living process that has a profile, at the address that this list was asked for at.
pub(super) async fn list(
    State(shelf): State<watch::Receiver<Shelf>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let Some(host) = uri.authority().map(Authority::as_str).or(host) else {
        return (StatusCode::BAD_REQUEST, "the request has no Host\n").into_response();
    };
    let shelf = shelf.borrow();
    let groups = shelf.living().map(|profile| Group::new(host, profile));
    Json(groups.collect::<Vec<_>>()).into_response()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use axum::http::HeaderValue;
    use serde_json::{Value, json};

    use super::{super::profiles::tests, *};

    fn profile(pid: u32, bytes: usize) -> Profile {
        Profile {
            comm: "a \"name\"".to_owned(),
            group: "redis.service".to_owned(),
            ..tests::profile(pid, 1, bytes, Instant::now())
        }
    }

    async fn asked(shelf: &Shelf, headers: HeaderMap) -> (u16, Value) {
        let (_sender, shelf) = watch::channel(shelf.clone());
        let answer = list(State(shelf), Uri::from_static("/api/v1/profiles"), headers).await;
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), 4096).await.expect("short");
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn living_processes_with_a_profile_are_targets() {
        let mut shelf = Shelf::default();
        shelf.put(profile(7, 1));
        shelf.put(profile(8, 0));
        shelf.put(profile(9, 1));
        shelf.tidy(|pid, _| pid != 9, Instant::now() + Duration::from_secs(1));
        let host = HeaderMap::from_iter([(HOST, HeaderValue::from_static("[::1]:9435"))]);
        let labels = json!({
            "__metrics_path__": "/debug/pprof/allocs",
            "__param_pid": "7",
            "__meta_alloctrace_comm": "a \"name\"",
            "__meta_alloctrace_group": "redis.service",
        });
        let truth = json!([{ "targets": ["[::1]:9435"], "labels": labels }]);
        assert_eq!(asked(&shelf, host.clone()).await, (200, truth));
        assert_eq!(asked(&Shelf::default(), host).await, (200, json!([])));
        assert_eq!(asked(&shelf, HeaderMap::new()).await.0, 400);
    }
}
