//! The server on real sockets.

mod landing;
mod tls;

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Bytes;
use tokio::sync::watch;

use super::*;
use crate::aggregate::MachineSnapshot;

const STALE_AFTER: Duration = Duration::from_secs(60);

/// A server, and what it publishes.
struct Site {
    address: SocketAddr,
    server: Server,
    samples: watch::Sender<Option<Sample>>,
    _shelf: watch::Sender<Shelf>,
}

impl Site {
    fn open(guard: Option<Guard>) -> Self {
        let listeners = vec![bind("127.0.0.1:0").expect("a free port")];
        let address = addresses(&listeners).expect("bound")[0];
        let (samples, sample) = watch::channel(None);
        let (shelf, profiles) = watch::channel(Shelf::default());
        let published = Published { sample, profiles };
        let server = Server::start(listeners, published, guard).expect("a thread");
        Self { address, server, samples, _shelf: shelf }
    }

    fn publish(&self, text: impl Into<Bytes>, at: Instant) {
        self.show(MachineSnapshot::default(), text, at);
    }

    fn show(&self, machine: MachineSnapshot, text: impl Into<Bytes>, at: Instant) {
        let machine = Arc::new(machine);
        self.samples.send_replace(Some(Sample {
            at,
            stale_after: STALE_AFTER,
            machine,
            metrics: text.into(),
        }));
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).expect("it listens")
    }

    fn get(&self, path: &str) -> String {
        exchange(self.connect(), &request(path, "")).expect("answered")
    }
}

fn request(path: &str, header: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n")
}

fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<String> {
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn the_last_published_text_is_served() {
    let site = Site::open(None);
    site.publish("first 1\n", Instant::now());
    assert!(site.get("/metrics").ends_with("\r\n\r\nfirst 1\n"));
    site.publish("second 2\n", Instant::now());
    let answer = site.get("/metrics");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nsecond 2\n"), "{answer}");
    assert!(site.get("/").contains("href=\"/metrics\""));
    assert!(site.get("/debug/pprof/").contains("No window has ended"));
    let answer = site.get("/debug/pprof/allocs?pid=1");
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("pid 1"), "{answer}");
    assert!(site.get("/debug/pprof/allocs").starts_with("HTTP/1.1 400 "));
    assert!(site.get("/x").starts_with("HTTP/1.1 404"));
    site.server.stop();
    assert!(TcpStream::connect(site.address).is_err(), "it has closed its socket");
}

#[test]
fn it_is_ready_while_samples_come() {
    let site = Site::open(None);
    assert!(site.get("/-/healthy").ends_with("healthy\n"));
    for path in ["/-/ready", "/metrics"] {
        let answer = site.get(path);
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.contains("no sample yet"),
            "{answer}"
        );
    }
    site.publish("x 1\n", Instant::now());
    assert!(site.get("/-/ready").starts_with("HTTP/1.1 200 "));
    let long_ago = Instant::now().checked_sub(2 * STALE_AFTER).expect("the machine runs longer");
    site.publish("x 1\n", long_ago);
    let answer = site.get("/-/ready");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains(" s old"), "{answer}");
    assert!(site.get("/-/healthy").starts_with("HTTP/1.1 200 "));
}

#[test]
fn what_is_no_plain_question_is_refused() {
    let site = Site::open(None);
    site.publish("x 1\n", Instant::now());
    let with_body = "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = "GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let longest = request("/metrics", &format!("X: {}\r\n", "x".repeat(1 << 20)));
    for (request, status) in [
        (with_body, "413 "),
        (chunked, "413 "),
        ("POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "405 "),
        ("\x16\x03\x01\x02\r\n\r\n", "400 "),
    ] {
        let answer = exchange(site.connect(), request).expect("answered");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
    }
    // It may be hung up on before it has said it all.
    let answer = exchange(site.connect(), &longest).unwrap_or_default();
    assert!(!answer.contains(" 200 "), "{answer}");
    assert!(site.get("/metrics").ends_with("x 1\n"), "others are answered as ever");
}

/// More than the kernel takes in before anybody reads it.
fn large() -> String {
    "# a line that is there to be long, and nothing else\n".repeat(1 << 20)
}

#[test]
fn who_is_slow_keeps_nobody_waiting() {
    let site = Site::open(None);
    let text = large();
    site.publish(text.clone(), Instant::now());
    let mut slow = site.connect();
    slow.write_all(request("/metrics", "").as_bytes()).expect("taken");
    let mut byte = [0];
    slow.read_exact(&mut byte).expect("answered");
    let [one, other] = [0, 1].map(|_| {
        let address = site.address;
        std::thread::spawn(move || exchange(TcpStream::connect(address)?, &request("/metrics", "")))
    });
    for scraper in [one, other] {
        let answer = scraper.join().expect("joined").expect("answered");
        assert!(answer.ends_with(&text), "all of it");
    }
    slow.read_exact(&mut byte).expect("it is still being answered");
}

/// Whoever says nothing is hung up on when others want its place.
#[test]
fn connections_are_bounded() {
    let site = Site::open(None);
    site.publish("x 1\n", Instant::now());
    let mut silent = site.connect();
    let crowd: Vec<_> = (0..100).map(|_| site.connect()).collect();
    assert_eq!(silent.read(&mut [0]).expect("no error"), 0, "the oldest was ended");
    assert!(site.get("/metrics").ends_with("x 1\n"), "the newest is answered");
    drop(crowd);
}
