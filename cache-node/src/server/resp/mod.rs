//! The RESP server: one I/O loop per core, connections spread over them.
//!
//! One task accepts and hands each connection to the next loop in turn, which then keeps it. A
//! [loop](crate::loops) is a thread with a runtime of its own; nothing of a connection ever leaves its loop, but
//! any loop may run a command on any slot.

mod accounting;
mod ahead;
mod audit;
mod blocked;
pub mod clients;
mod commands;
mod connection;
mod for_scripts;
mod info;
mod info_disk;
pub mod pause;
mod redirect;
mod session;
mod traced;
mod transaction;

pub(crate) use commands::REDIS_VERSION;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hypercache_core::keyspace::{EventClasses, Keyspace};
use hypercache_core::resp::Limits;
use hypercache_log::Levels;
use parking_lot::{Mutex, RwLock};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::clock::now_ms;
use crate::config::{Config, Secret};
use crate::loops::{Loops, Wakes};
use crate::memory::Memory;
use crate::pubsub::PubSub;
use crate::router::{Router, Unblock};
use crate::server::logins::Logins;
use crate::server::stats::{Cell, Count, Stats, Thresholds};
use crate::telemetry::process;
use clients::{Client, Clients};
use connection::Connection;

/// Connections that the kernel holds for us while we accept others.
const BACKLOG: i32 = 1024;
/// Accepted connections that a loop may be behind with.
const HANDOVER: usize = 256;

/// How long clients that are sent to the members of their keys are told where these are now, after this member was told to
/// stop and has handed its slots over. Some look for them only when they are told, or a minute later.
const TELLS: Duration = Duration::from_millis(400);

/// Between two looks whether all connections have ended.
const LOOK: Duration = Duration::from_millis(2);

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen for RESP on {addr} (network.bind, {key}): {source}")]
    Bind {
        /// The port's key.
        key: &'static str,
        /// The address in question.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What can be changed while the server runs, by `CONFIG SET`.
#[derive(Debug, Clone)]
pub struct Tunables {
    /// The most connections at a time.
    pub max_connections: usize,
    /// Connections that say nothing for this long are closed; `None`: never. Holds for new ones.
    pub idle_timeout: Option<Duration>,
    /// What `AUTH` must show; `None`: nothing is asked.
    pub password: Option<Secret>,
    /// From when on something took long.
    pub thresholds: Thresholds,
    /// The percentiles that INFO latencystats shows, as they were written.
    pub percentiles: Vec<String>,
    /// The longest bulk string that is taken from a connection that begins now.
    pub max_bulk_bytes: usize,
    /// `client-output-buffer-limit` by class: bytes at once, bytes for a time, that time in seconds; 0 for
    /// no limit. Only `pubsub` has buffers to limit.
    pub output: [(&'static str, [u64; 3]); 3],
    /// What happens to keys that subscribers hear of.
    pub keyspace_events: EventClasses,
    /// Parameters that are only kept: see [`commands::config_kept`].
    pub kept: Arc<BTreeMap<&'static str, String>>,
}

/// What a RESP server is made of.
pub struct Options {
    /// Where clients connect.
    pub listener: Listener,
    /// Where cluster-mode clients connect, which are sent to the members of their keys.
    pub cluster_listener: Option<Listener>,
    /// Where connections are served.
    pub loops: Loops,
    /// Runs the commands.
    pub router: Router,
    /// Publishes, and knows who subscribes.
    pub pubsub: Arc<PubSub>,
    /// Where work is counted.
    pub stats: Arc<Stats>,
    /// Whether clients are paused.
    pub pause: Arc<pause::Pause>,
    /// How the links to other members are.
    pub replicas: crate::replica::Handle,
    /// The effective configuration, for INFO and CONFIG GET.
    pub config: Arc<Config>,
    /// The member's memory, for INFO.
    pub memory: Arc<Memory>,
    /// What is logged, for CONFIG.
    pub levels: Levels,
    /// Tells who was let in.
    pub logins: Arc<Logins>,
    /// When the process started, in Unix milliseconds.
    pub started_ms: u64,
}

/// What all loops share.
pub struct Shared {
    pub(crate) router: Router,
    pub(crate) pubsub: Arc<PubSub>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) config: Arc<Config>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) tunables: RwLock<Tunables>,
    pub(crate) pause: Arc<pause::Pause>,
    /// How the links to other members are.
    pub(crate) replicas: crate::replica::Handle,
    /// What the stores had counted at the last `CONFIG RESETSTAT`; INFO shows what came since.
    pub(crate) counted_before: Mutex<info::StoreCounts>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) levels: Levels,
    pub(crate) logins: Arc<Logins>,
    /// What the process had allocated when it began to serve.
    pub(crate) startup_bytes: u64,
    pub(crate) started_ms: u64,
    pub(crate) port: u16,
    pub(crate) cluster_port: Option<u16>,
    /// 40 hex digits, other ones at each start.
    pub(crate) run_id: String,
    /// The server stops: a connection ends when all that it was asked is answered.
    pub(crate) closing: AtomicBool,
    /// The same for connections whose clients are sent to the members of their keys.
    pub(crate) cluster_closing: AtomicBool,
}

impl Shared {
    /// The keys and values of this member.
    pub(crate) fn keyspace(&self) -> &Arc<Keyspace> {
        self.router.keyspace()
    }

    /// Whether a client is sent to the members of its keys: it connected to the port for that.
    fn redirects(&self, client: &Client) -> bool {
        self.cluster_port == Some(client.laddr.port())
    }

    /// Whether connections of clients that are sent to the members of their keys, or of the others, end.
    fn closes(&self, redirects: bool) -> bool {
        if redirects { &self.cluster_closing } else { &self.closing }.load(Relaxed)
    }
}

/// What one loop's connections share.
pub struct Loop {
    index: usize,
    shared: Arc<Shared>,
    idle_timeout: Option<Duration>,
    /// What the requests that came just now will need.
    gathered: Rc<ahead::Gathered>,
}

impl std::ops::Deref for Loop {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Loop {
    #[inline]
    fn cell(&self) -> &Cell {
        self.shared.stats.cell(self.index)
    }
}

/// A RESP server that listens, but does not accept yet.
pub struct Server {
    listener: TcpListener,
    cluster_listener: Option<TcpListener>,
    loops: Loops,
    shared: Arc<Shared>,
}

impl Options {
    /// Puts the server together; nobody is served yet.
    pub fn build(self) -> Server {
        let mut random = [0u8; 20];
        // Only a label: if the system has no randomness, the time will do.
        if getrandom::fill(&mut random).is_err() {
            random[..8].copy_from_slice(&now_ms().to_le_bytes());
        }
        let network = &self.config.network;
        let tunables = Tunables {
            max_connections: network.max_connections,
            idle_timeout: (network.idle_timeout_ms > 0)
                .then(|| Duration::from_millis(network.idle_timeout_ms)),
            password: self.config.auth.password.clone(),
            thresholds: self.config.slowlog.thresholds(),
            percentiles: ["50", "99", "99.9"].map(str::to_owned).to_vec(),
            max_bulk_bytes: Limits::default().max_bulk_bytes,
            output: [
                ("normal", [0, 0, 0]),
                ("slave", [256 << 20, 64 << 20, 60]),
                ("pubsub", self.pubsub.limits().in_force()),
            ],
            keyspace_events: self.config.keyspace_events,
            kept: Arc::default(),
        };
        self.stats.watch.set(tunables.thresholds);
        let shared = Arc::new(Shared {
            router: self.router,
            pubsub: self.pubsub,
            stats: self.stats,
            config: self.config,
            clients: Arc::default(),
            tunables: RwLock::new(tunables),
            pause: self.pause,
            replicas: self.replicas,
            counted_before: Mutex::default(),
            memory: self.memory,
            levels: self.levels,
            logins: self.logins,
            startup_bytes: process::allocated_bytes(),
            started_ms: self.started_ms,
            port: self.listener.port,
            cluster_port: self.cluster_listener.as_ref().map(|listener| listener.port),
            run_id: random.iter().map(|b| format!("{b:02x}")).collect(),
            closing: AtomicBool::new(false),
            cluster_closing: AtomicBool::new(false),
        });
        let serves = for_scripts::ForScripts::new(&shared);
        shared.router.scripts().set_outside(Box::new(serves));
        let cluster_listener = self.cluster_listener.map(|listener| listener.listener);
        Server { listener: self.listener.listener, cluster_listener, loops: self.loops, shared }
    }
}

/// A socket that listens; the kernel holds connections until the server runs.
pub struct Listener {
    listener: TcpListener,
    port: u16,
}

impl Listener {
    /// The port; the one that the system picked when 0 was asked for.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Listens on an address, whose port stands under `key` in the configuration.
///
/// # Errors
/// The address cannot be bound.
pub fn listen(addr: SocketAddr, key: &'static str) -> Result<Listener, Error> {
    use socket2::{Domain, Protocol, Socket, Type};
    let bound = || {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into())?;
        let port = listener.local_addr()?.port();
        Ok(Listener { listener, port })
    };
    bound().map_err(|source| Error::Bind { key, addr, source })
}

impl Server {
    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.shared.port
    }

    /// The port on which cluster-mode clients are sent to the members of their keys.
    pub fn cluster_port(&self) -> Option<u16> {
        self.shared.cluster_port
    }

    /// Says which password is in force, as `CONFIG SET requirepass` may change it.
    pub fn password(&self) -> impl Fn() -> Option<Secret> + Send + Sync + 'static {
        let shared = self.shared.clone();
        move || shared.tunables.read().password.clone()
    }

    /// Says how many connections may be open, as `CONFIG SET maxclients` may change it.
    pub fn max_connections(&self) -> impl Fn() -> usize + Send + Sync + 'static {
        let shared = self.shared.clone();
        move || shared.tunables.read().max_connections
    }

    /// Accepts and serves until `stop` says so; then answers what has come, and ends every connection: those
    /// that are not done within `grace` as they are.
    ///
    pub async fn run(self, mut stop: watch::Receiver<bool>, grace: Duration) {
        let (mut loops, mut ends) = (Vec::new(), Vec::new());
        for index in 0..self.loops.len() {
            let (give, take) = mpsc::channel(HANDOVER);
            let (shared, stop) = (self.shared.clone(), stop.clone());
            let serve = move || serve_loop(index, shared, take, stop);
            ends.push(self.loops.run(index, serve).await);
            loops.push(give);
        }
        let mut next = 0;
        loop {
            let for_cluster = async {
                match &self.cluster_listener {
                    Some(listener) => listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                accepted = for_cluster => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match accepted {
                Ok(accepted) => self.take_in(accepted, &loops, &mut next).await,
                Err(error) => {
                    // Out of descriptors, most often: others may go away in a moment.
                    tracing::warn!(
                        action = "client-not-accepted",
                        %error,
                        "cannot accept a connection"
                    );
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        let is_there = self.shared.clients.all().iter().any(|client| self.shared.redirects(client));
        if let Some(listener) = self.cluster_listener.as_ref().filter(|_| is_there) {
            let until = tokio::time::Instant::now() + TELLS;
            while let Ok(Ok(accepted)) = tokio::time::timeout_at(until, listener.accept()).await {
                self.take_in(accepted, &loops, &mut next).await;
            }
        }
        drop((self.listener, self.cluster_listener));
        let until = Instant::now() + grace;
        while !self.shared.clients.is_empty() && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
        drop(loops);
        for client in self.shared.clients.all() {
            client.kill();
        }
        let ended = futures::future::join_all(ends);
        let _ = tokio::time::timeout(Duration::from_secs(5), ended).await;
    }

    /// Gives a connection to the next loop, if it may come in.
    async fn take_in(
        &self,
        (stream, addr): (TcpStream, SocketAddr),
        loops: &[mpsc::Sender<Arrival>],
        next: &mut usize,
    ) {
        let index = *next % loops.len();
        if let Some(arrival) = self.admit(stream, addr, index) {
            // A loop that is behind makes the others wait here, not pile up.
            let _ = loops[index].send(arrival).await;
            *next += 1;
        }
    }

    /// Enters a connection, or tells it that there are too many.
    fn admit(&self, stream: TcpStream, addr: SocketAddr, index: usize) -> Option<Arrival> {
        let cell = self.shared.stats.cell(index);
        let (max_connections, open) = {
            let tunables = self.shared.tunables.read();
            (tunables.max_connections, tunables.password.is_none())
        };
        if self.shared.clients.len() >= max_connections {
            cell.add(Count::RejectedConnections, 1);
            // Best effort: it fits the socket's empty buffer, or the client sees only the end.
            let _ = stream.try_write(b"-ERR max number of clients reached\r\n");
            return None;
        }
        let laddr = stream.local_addr().ok()?;
        let _ = stream.set_nodelay(true);
        let _ = socket2::SockRef::from(&stream).set_keepalive(true);
        let stream = stream.into_std().ok()?;
        cell.add(Count::ConnectionsReceived, 1);
        Some(Arrival { stream, client: self.shared.clients.enter(addr, laddr, now_ms(), open) })
    }
}

/// A connection on its way to its loop.
struct Arrival {
    stream: std::net::TcpStream,
    client: Arc<Client>,
}

/// Ends the connections of this loop that wait for nothing but a request, and the waits of those that wait for
/// keys; all others end once they have answered. Those whose clients are sent to the members of their keys, or the others.
fn close(index: usize, shared: &Shared, redirects: bool) {
    if redirects { &shared.cluster_closing } else { &shared.closing }.store(true, Relaxed);
    for client in shared.clients.all() {
        if shared.redirects(&client) == redirects && !client.end_if_idle(index) {
            blocked::unblock(&client, Unblock::Stop);
        }
    }
}

/// Serves the connections of one I/O loop, on its thread.
async fn serve_loop(
    index: usize,
    shared: Arc<Shared>,
    mut arrivals: mpsc::Receiver<Arrival>,
    mut stop: watch::Receiver<bool>,
) {
    let mut tasks = tokio::task::JoinSet::new();
    let gathered = Rc::new(ahead::Gathered::default());
    let wakes = Wakes::of_this_thread();
    let (mut is_closing, mut has_told) = (false, false);
    let mut told = std::pin::pin!(tokio::time::sleep(Duration::MAX));
    loop {
        tokio::select! {
            arrival = arrivals.recv() => match arrival {
                Some(Arrival { stream, client }) => {
                    let idle_timeout = shared.tunables.read().idle_timeout;
                    let this = Rc::new(Loop {
                        index,
                        shared: shared.clone(),
                        idle_timeout,
                        gathered: gathered.clone(),
                    });
                    match TcpStream::from_std(stream) {
                        Ok(stream) => {
                            let task = Connection::serve(stream, this, client.clone());
                            let task = wakes.clone().together(task);
                            client.set_task(index, tasks.spawn_local(task));
                        }
                        Err(error) => {
                            tracing::warn!(
                                action = "client-not-accepted",
                                %error,
                                "a connection cannot join its I/O loop"
                            );
                            shared.clients.leave(client.id);
                            this.cell().add(Count::ConnectionsClosed, 1);
                        }
                    }
                }
                None => break,
            },
            _ = stop.wait_for(|stop| *stop), if !is_closing => {
                is_closing = true;
                close(index, &shared, false);
                told.as_mut().reset(tokio::time::Instant::now() + TELLS);
            }
            () = told.as_mut(), if is_closing && !has_told => {
                has_told = true;
                close(index, &shared, true);
            }
            // Reap what has ended, so that the set does not grow.
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
        }
    }
    tasks.shutdown().await;
}
