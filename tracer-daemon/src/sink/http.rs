//! The daemon's web pages.
//!
//! The sampler publishes rendered text; a request takes a reference to the last one. However many
//! scrape, and however often, the sampler does the same work.

mod profiles;

use std::future::Future;
use std::io;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::metrics;
pub use profiles::{Profile, Sampled, Shelf};

const LANDING_PAGE: &str = "<!DOCTYPE html><html lang=\"en\"><title>alloctrace</title>\
<h1>alloctrace</h1><p><a href=\"/metrics\">Metrics</a></p>\
<p><a href=\"/debug/pprof/\">Profiles</a></p></html>\n";

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {why}; {}", remedy(why))]
pub struct BindError {
    address: String,
    why: io::Error,
}

/// What is published, shared and not copied.
#[derive(Clone)]
pub struct Published {
    /// The sampler's: the text of `/metrics`.
    pub metrics: watch::Receiver<Bytes>,
    /// The profiles of allocators' windows.
    pub profiles: watch::Receiver<Shelf>,
}

/// Listens on `address`, as in `127.0.0.1:9435` or `[::1]:9435`.
pub async fn bind(address: &str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|why| BindError { address: crate::humanize::escaped(address), why })
}

/// Serves `/metrics`, `/debug/pprof/`, `/-/healthy` and a landing page until `shutdown` is done and the requests
/// under way have been answered.
pub async fn serve(
    listener: TcpListener,
    published: Published,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let profiles = Router::new()
        .route("/debug/pprof/", get(profiles::list))
        .route("/debug/pprof/allocs", get(profiles::allocs))
        .with_state(published.profiles);
    let pages = Router::new()
        .route("/", get(|| async { Html(LANDING_PAGE) }))
        .route("/-/healthy", get(|| async { "ok\n" }))
        .route("/metrics", get(scrape))
        .with_state(published.metrics)
        .merge(profiles);
    axum::serve(listener, pages).with_graceful_shutdown(shutdown).await
}

async fn scrape(State(published): State<watch::Receiver<Bytes>>) -> impl IntoResponse {
    let text = published.borrow().clone();
    let headers = [(CONTENT_TYPE, metrics::CONTENT_TYPE), (CACHE_CONTROL, "no-store")];
    (headers, text)
}

fn remedy(why: &io::Error) -> &'static str {
    match why.kind() {
        io::ErrorKind::AddrInUse => "stop what listens there, or choose another port",
        io::ErrorKind::AddrNotAvailable => "choose an address of this machine, or 0.0.0.0 for all",
        io::ErrorKind::PermissionDenied => "choose a port from 1024 up",
        _ => "give it as ADDRESS:PORT, for example 127.0.0.1:9435",
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};

    use tokio::sync::oneshot;

    use super::*;

    async fn fetch(server: SocketAddr, path: &'static str) -> String {
        let exchange = move || {
            let mut stream = TcpStream::connect(server)?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            io::Result::Ok(answer)
        };
        let answer = tokio::task::spawn_blocking(exchange).await;
        answer.expect("joined").expect("answered")
    }

    #[tokio::test]
    async fn the_last_published_text_is_served() {
        let listener = bind("127.0.0.1:0").await.expect("a free port");
        let server = listener.local_addr().expect("bound");
        let (sampler, metrics) = watch::channel(Bytes::from_static(b"first 1\n"));
        let (_windows, profiles) = watch::channel(Shelf::default());
        let published = Published { metrics, profiles };
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(serve(listener, published, async {
            let _ = stopped.await;
        }));
        assert!(fetch(server, "/metrics").await.ends_with("\r\n\r\nfirst 1\n"));
        sampler.send_replace(Bytes::from("second 2\n".to_owned()));
        let answer = fetch(server, "/metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-type: text/plain; version=0.0.4\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nsecond 2\n"), "{answer}");
        assert!(fetch(server, "/-/healthy").await.ends_with("ok\n"));
        assert!(fetch(server, "/").await.contains("href=\"/metrics\""));
        assert!(fetch(server, "/debug/pprof/").await.contains("No window has ended"));
        let answer = fetch(server, "/debug/pprof/allocs?pid=1").await;
        assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("pid 1"), "{answer}");
        assert!(fetch(server, "/debug/pprof/allocs").await.starts_with("HTTP/1.1 400 "));
        assert!(fetch(server, "/x").await.starts_with("HTTP/1.1 404"));
        stop.send(()).expect("it still serves");
        serving.await.expect("joined").expect("served to the end");
    }

    #[tokio::test]
    async fn a_port_in_use_is_one_line_with_a_remedy() {
        let first = bind("127.0.0.1:0").await.expect("a free port");
        let address = first.local_addr().expect("bound").to_string();
        let error = bind(&address).await.expect_err("in use").to_string();
        assert!(error.starts_with(&format!("cannot listen on {address}: ")), "{error}");
        assert!(error.ends_with("choose another port"), "{error}");
        let error = bind("no\nwhere").await.expect_err("no address").to_string();
        assert!(error.contains("ADDRESS:PORT") && !error.contains('\n'), "{error}");
    }
}
