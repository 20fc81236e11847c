//! The socket: accepts within a bound, ends what is half open, and stops within a deadline.

use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::audit::From;
use super::observe::Metrics;
use super::progress::Progress;

/// How long a request's head may take, and a kept connection may wait for its next one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer may wait for its client to read.
const WRITE_PAUSE: Duration = Duration::from_secs(30);
/// The largest head of a request.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Connections beyond the bound that are being told so; more are closed without a word.
const MAX_REFUSALS: usize = 64;
/// How long telling one may take.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// The pause after the system had no descriptor for a new connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// What a connection beyond the bound is told.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
connection: close\r\ncontent-length: 105\r\n\r\n\
{\"error\":{\"code\":\"too_many_connections\",\"message\":\"network.max_connections is reached: try again later\"}}";

/// A bound socket and what it serves.
pub struct Listening {
    pub(super) listener: TcpListener,
    pub(super) app: Router,
    pub(super) max_connections: usize,
    pub(super) metrics: Metrics,
}

impl Listening {
    /// Serves until `shutdown` is ready, then lets requests that are under way end within `grace`.
    pub async fn run(self, shutdown: impl Future<Output = ()>, grace: Duration) {
        let places = Arc::new(Semaphore::new(self.max_connections));
        let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
        let (stop, stopping) = watch::channel(false);
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Ok((stream, peer)) => match Arc::clone(&places).try_acquire_owned() {
                    Ok(place) => {
                        let connection = self.connection(stream, peer, place, stopping.clone());
                        connections.spawn(connection);
                    }
                    Err(_) => {
                        self.metrics.rejected.inc();
                        if let Ok(turn) = Arc::clone(&refusals).try_acquire_owned() {
                            connections.spawn(async move {
                                let _ = tokio::time::timeout(REFUSAL_TIME, refuse(stream)).await;
                                drop(turn);
                            });
                        }
                    }
                },
                Err(error) => {
                    let gone = matches!(
                        error.kind(),
                        ErrorKind::ConnectionAborted
                            | ErrorKind::ConnectionReset
                            | ErrorKind::Interrupted
                    );
                    if !gone {
                        tracing::warn!(
                            action = "http-not-accepted",
                            %error,
                            "cannot accept an HTTP connection"
                        );
                        tokio::time::sleep(EXHAUSTED_PAUSE).await;
                    }
                }
            }
        }
        drop(self.listener);
        let _ = stop.send(true);
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all).await.is_err() {
            tracing::warn!(
                action = "http-cut-off",
                grace_ms = grace.as_millis() as u64,
                "HTTP requests were cut off"
            );
        }
        connections.shutdown().await;
    }

    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: OwnedSemaphorePermit,
        mut stopping: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + 'static {
        let app = TowerToHyperService::new(self.app.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(From(peer));
            app.call(request)
        });
        let open = self.metrics.connections.clone();
        async move {
            open.inc();
            // Small answers leave at once; without it they would wait for the last acknowledgement.
            let _ = stream.set_nodelay(true);
            let io = TokioIo::new(Progress::new(stream, WRITE_PAUSE));
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_header_size(MAX_HEAD_BYTES)
                .half_close(false)
                .serve_connection(io, service);
            tokio::pin!(served);
            let ended = tokio::select! {
                ended = served.as_mut() => ended,
                () = stopped(&mut stopping) => {
                    served.as_mut().graceful_shutdown();
                    served.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(
                    action = "http-disconnected",
                    source = %peer,
                    %error,
                    "HTTP connection ended"
                );
            }
            open.dec();
            drop(place);
        }
    }
}

/// Waits until the server stops.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Tells a connection that there is no place. What it sends is read and thrown away: closing over
/// unread bytes would take the answer back.
async fn refuse(mut stream: TcpStream) {
    if stream.write_all(FULL).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    let mut unread = [0; 4096];
    while stream.read(&mut unread).await.is_ok_and(|n| n > 0) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::sync::oneshot;

    const TEN_SECONDS: Duration = Duration::from_secs(10);

    #[test]
    fn the_refusal_is_whole() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    }

    async fn start(
        app: Router,
        max_connections: usize,
    ) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listening = Listening { listener, app, max_connections, metrics: Metrics::default() };
        let (stop, stopped) = oneshot::channel();
        let run = listening.run(async { drop(stopped.await) }, TEN_SECONDS);
        (address, stop, tokio::spawn(run))
    }

    async fn ask(stream: &mut TcpStream) -> String {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut buffer = vec![0; 4096];
        let n = tokio::time::timeout(TEN_SECONDS, stream.read(&mut buffer)).await.unwrap().unwrap();
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    }

    #[tokio::test]
    async fn l12_connections_have_a_bound_and_the_next_one_is_told() {
        let app = Router::new().route("/", get(|| async { "hello" }));
        let (address, stop, ended) = start(app, 1).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut first).await.ends_with("hello"));
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        second.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("too_many_connections"));
        drop(second);
        stop.send(()).unwrap();
        ended.await.unwrap();
    }

    #[tokio::test]
    async fn s2_a_malformed_request_ends_that_connection_only() {
        let app = Router::new().route("/", get(|| async { "hello" }));
        let (address, stop, ended) = start(app, 8).await;
        let mut good = TcpStream::connect(address).await.unwrap();
        for bytes in
            [&b"\x00\x01\x02\r\n\r\n"[..], b"GET / HTTP/9.9\r\n\r\n", b"*1\r\n$4\r\nPING\r\n"]
        {
            let mut bad = TcpStream::connect(address).await.unwrap();
            bad.write_all(bytes).await.unwrap();
            let mut answer = Vec::new();
            let read = tokio::time::timeout(TEN_SECONDS, bad.read_to_end(&mut answer)).await;
            assert!(read.is_ok(), "the connection stayed open");
        }
        assert!(ask(&mut good).await.ends_with("hello"));
        stop.send(()).unwrap();
        ended.await.unwrap();
    }

    #[tokio::test]
    async fn a_request_under_way_ends_before_the_server_does() {
        let (release, released) = oneshot::channel::<()>();
        let (entered, enter) = oneshot::channel::<()>();
        let once = Arc::new(parking_lot::Mutex::new(Some((released, entered))));
        let handler = move || async move {
            let taken = once.lock().take();
            if let Some((released, entered)) = taken {
                entered.send(()).unwrap();
                released.await.unwrap();
            }
            "done"
        };
        let (address, stop, ended) = start(Router::new().route("/", get(handler)), 8).await;
        let client = tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            ask(&mut stream).await
        });
        enter.await.unwrap();
        stop.send(()).unwrap();
        release.send(()).unwrap();
        assert!(client.await.unwrap().ends_with("done"));
        ended.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "it still listens");
    }
}
