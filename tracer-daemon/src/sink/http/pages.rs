//! What is published, and at which address.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Bytes, HttpBody},
    extract::{Request, State},
    http::{
        HeaderValue, StatusCode,
        header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE},
    },
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::sync::watch;

use super::{
    access::Users,
    api, landing, profile_targets,
    profiles::{self, Shelf},
};
use crate::{aggregate::MachineSnapshot, sink::metrics};

/// What is published, shared and not copied.
#[derive(Clone)]
pub struct Published {
    /// The last sample of the machine; none at first.
    pub sample: watch::Receiver<Option<Sample>>,
    /// The profiles of allocators' windows.
    pub profiles: watch::Receiver<Shelf>,
}

impl Published {
    /// The machine as it was last found; nothing before the first sample.
    pub(super) fn machine(&self) -> Option<Arc<MachineSnapshot>> {
        self.sample.borrow().as_ref().map(|sample| Arc::clone(&sample.machine))
    }
}

/// The machine at a moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it was taken.
    pub at: Instant,
    /// When it is too old to be of use.
    pub stale_after: Duration,
    /// What was found.
    pub machine: Arc<MachineSnapshot>,
    /// The text of `/metrics`.
    pub metrics: Bytes,
}

/// Every page.
pub(super) fn router(published: Published) -> Router {
    let profiles = Router::new()
        .route("/debug/pprof/", get(profiles::list))
        .route(profiles::ALLOCS, get(profiles::allocs))
        .route("/api/v1/profiles", get(profile_targets::list))
        .with_state(published.profiles.clone());
    Router::new()
        .route("/", get(landing::page))
        .route("/-/healthy", get(|| async { "healthy\n" }))
        .route("/-/ready", get(ready))
        .route("/metrics", get(scrape))
        .route("/api/v1/processes", get(api::processes))
        .route("/api/v1/findings", get(api::findings))
        .with_state(published)
        .merge(profiles)
        .layer(from_fn(without_body))
}

/// The same for users only, if there are any.
pub(super) fn guarded(pages: Router, users: Option<Arc<Users>>) -> Router {
    match users {
        Some(users) => pages.layer(from_fn_with_state(users, for_users)),
        None => pages,
    }
}

async fn for_users(State(users): State<Arc<Users>>, request: Request, next: Next) -> Response {
    let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    if users.admit(authorization).await {
        return next.run(request).await;
    }
    let challenge = [(WWW_AUTHENTICATE, "Basic realm=\"alloctrace\", charset=\"UTF-8\"")];
    (StatusCode::UNAUTHORIZED, challenge, "a user's name and password are wanted\n").into_response()
}

/// There is nothing to be said to these pages.
async fn without_body(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        next.run(request).await
    } else {
        (StatusCode::PAYLOAD_TOO_LARGE, "a request has no body here\n").into_response()
    }
}

async fn ready(State(published): State<Published>) -> Response {
    let sample = published.sample.borrow();
    match sample.as_ref().map(|sample| (sample.at.elapsed(), sample.stale_after)) {
        None => no_sample_yet(),
        Some((age, stale_after)) if age > stale_after => {
            let text = format!("the last sample is {} s old\n", age.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
        Some(_) => "ready\n".into_response(),
    }
}

async fn scrape(State(published): State<Published>) -> Response {
    let Some(text) = published.sample.borrow().as_ref().map(|sample| sample.metrics.clone()) else {
        return no_sample_yet();
    };
    let headers = [(CONTENT_TYPE, metrics::CONTENT_TYPE), (CACHE_CONTROL, "no-store")];
    (headers, text).into_response()
}

pub(super) fn no_sample_yet() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "there is no sample yet\n").into_response()
}
