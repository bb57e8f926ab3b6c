//! Connections, and how long they may take.
//!
//! A connection carries one request and has so much time from its first byte to the last: no client can
//! hold one for longer, however slowly it writes or reads. They have a thread to themselves, so that a
//! scrape waits for no sample.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    io,
    net::TcpListener as Listener,
    sync::Arc,
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustix::thread::CapabilitySet;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime,
    sync::oneshot,
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    access::{Access, Guard},
    pages::{self, Published},
};
use crate::kernel::privileges;

/// Connections at once. One more ends the oldest: whoever is slow loses, not whoever comes next.
const MOST_CONNECTIONS: usize = 64;
/// How long a client may take to begin: TLS, and the headers of its request.
const TO_BEGIN: Duration = Duration::from_secs(10);
/// How long all of it may take.
const TO_END: Duration = Duration::from_secs(30);
/// How long requests under way may take once the service is to end.
const LAST_REQUESTS: Duration = Duration::from_secs(2);
/// Bytes of headers.
const LONGEST_HEADERS: usize = 16 << 10;
/// With no file descriptor left, accepting would fail again at once.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// The thread that answers.
pub struct Server {
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<Infallible>,
    thread: thread::JoinHandle<()>,
}

impl Server {
    /// Answers on these sockets, all comers or those that the guard lets in.
    ///
    /// # Errors
    /// When the kernel has no thread or no file descriptors left.
    pub fn start(
        listeners: Vec<Listener>,
        published: Published,
        guard: Option<Guard>,
    ) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let listeners: io::Result<Vec<_>> =
            listeners.into_iter().map(TcpListener::from_std).collect();
        let mut listeners = listeners?;
        drop(entered);
        let (stop, stopped) = oneshot::channel();
        let (alive, ended) = oneshot::channel();
        let thread = thread::Builder::new().name("http".to_owned()).spawn(move || {
            let _alive = alive;
            put_down_privileges(guard.as_ref());
            runtime.block_on(serve(&mut listeners, &pages::router(published), guard, stopped));
            // A password that is being looked at need not be.
            runtime.shutdown_background();
        })?;
        Ok(Self { stop, ended, thread })
    }

    /// Waits until it answers no more, which it does not do by itself.
    pub async fn ended(&mut self) {
        let _ = (&mut self.ended).await;
    }

    /// Lets requests under way come to their end, for a while.
    pub fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// Strangers talk to this thread. All that it has to open are the files of its guard.
fn put_down_privileges(guard: Option<&Guard>) {
    let kept = guard.map_or(CapabilitySet::empty(), |_| CapabilitySet::DAC_READ_SEARCH);
    if let Err(error) = privileges::keep(kept) {
        log::warn!("the thread that answers keeps its privileges: {error}");
    }
}

async fn serve(
    listeners: &mut [TcpListener],
    pages: &Router,
    mut guard: Option<Guard>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut connections = Connections::default();
    loop {
        tokio::select! {
            accepted = accept(listeners) => match accepted {
                Ok(stream) => {
                    let access = guard.as_mut().map(|guard| guard.current(Instant::now()));
                    connections.begin(stream, pages.clone(), access.unwrap_or_default());
                }
                Err(error) => {
                    log::debug!("cannot accept a connection: {error}");
                    sleep(AFTER_FAILURE).await;
                }
            },
            Some(_) = connections.tasks.join_next() => {}
            _ = &mut stopped => break,
        }
    }
    let rest = async { while connections.tasks.join_next().await.is_some() {} };
    if timeout(LAST_REQUESTS, rest).await.is_err() {
        log::info!("a request was cut off");
    }
}

/// The next connection. Each listener has its turn to be asked first.
async fn accept(listeners: &mut [TcpListener]) -> io::Result<TcpStream> {
    let accepted = poll_fn(|context| {
        for listener in &*listeners {
            if let Poll::Ready(accepted) = listener.poll_accept(context) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    });
    let (stream, _) = accepted.await?;
    listeners.rotate_left(1);
    Ok(stream)
}

#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    /// Oldest first.
    order: VecDeque<AbortHandle>,
}

impl Connections {
    fn begin(&mut self, stream: TcpStream, pages: Router, access: Arc<Access>) {
        self.order.retain(|task| !task.is_finished());
        if self.order.len() >= MOST_CONNECTIONS
            && let Some(oldest) = self.order.pop_front()
        {
            oldest.abort();
        }
        self.order.push_back(self.tasks.spawn(async move {
            let _ = timeout(TO_END, converse(stream, pages, &access)).await;
        }));
    }
}

async fn converse(stream: TcpStream, pages: Router, access: &Access) {
    let pages = pages::guarded(pages, access.users.clone());
    let _ = stream.set_nodelay(true);
    let Some(tls) = &access.tls else {
        return answer(stream, pages).await;
    };
    let handshake = TlsAcceptor::from(Arc::clone(tls)).accept(stream);
    match timeout(TO_BEGIN, handshake).await {
        Ok(Ok(stream)) => answer(stream, pages).await,
        Ok(Err(error)) => log::debug!("no TLS: {error}"),
        Err(_) => {}
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, pages: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(TO_BEGIN)
        .max_buf_size(LONGEST_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages));
    if let Err(error) = connection.await {
        log::debug!("a request was not answered: {error}");
    }
}
