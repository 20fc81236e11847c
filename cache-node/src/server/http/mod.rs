//! The HTTP API: values, stores, the cluster, figures and probes.
//!
//! The routes are data in [`routes`]; [`openapi`] describes them at `/openapi.json`. Every answer
//! carries `X-Correlation-ID`, every error is `{"error":{"code","message",…}}`, and every wait has
//! a bound: for a request's head, for a pause in its body, for a client that does not read its
//! answer, and for whatever the cluster must say. With a password configured, all of `/api` asks
//! for it (see [`auth`], which also says what stays open and why).

mod audit;
mod auth;
mod backups;
mod body;
mod cache;
mod cluster;
mod error;
mod filter;
mod key;
mod listener;
mod metrics;
mod observe;
pub mod openapi;
mod persistence;
mod progress;
mod rebalance;
mod reply;
pub mod routes;
mod stats;
mod stores;
mod traced;

use std::future::Future;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode, Uri};
use hypercache_core::keyspace::Keyspace;
use hypercache_core::store::{StoreNumber, StorePolicy};
use tokio::net::TcpListener;

pub use error::ApiError;

use crate::backup;
use crate::config::{Config, Secret};
use crate::loops::Loops;
use crate::memory::Memory;
use crate::raft;
use crate::router::Router;
use crate::server::logins::Logins;
use crate::server::stats::Stats;
use crate::telemetry::metrics::Format;

/// Says what `/api` asks for at the moment; `None`: nothing is asked. A function, because
/// `CONFIG SET requirepass` changes the password while the server runs, for RESP and HTTP alike.
pub type Password = Arc<dyn Fn() -> Option<Secret> + Send + Sync>;

/// What the API answers from.
#[derive(Clone)]
pub struct State {
    /// Runs commands, on whichever member owns their slots.
    pub router: Router,
    /// The cluster's table and its changes.
    pub cluster: raft::Handle,
    /// What this member holds.
    pub keyspace: Arc<Keyspace>,
    /// How the links to other members are.
    pub replicas: crate::replica::Handle,
    /// Where connections and links are served.
    pub loops: Loops,
    /// What the RESP server did.
    pub stats: Arc<Stats>,
    /// The effective configuration.
    pub config: Arc<Config>,
    /// The member's memory.
    pub memory: Arc<Memory>,
    /// Backups of this member's disk.
    pub backups: backup::Service,
    /// The password in force.
    pub password: Password,
    /// Tells who was let in.
    pub logins: Arc<Logins>,
    /// How many RESP connections may be open.
    pub max_connections: Arc<dyn Fn() -> usize + Send + Sync>,
    /// What became of metrics that are sent.
    pub points: hypercache_trace::SentPoints,
    /// When the process started, in milliseconds since the Unix epoch.
    pub started_ms: u64,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} (network.bind, network.http_port): {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// What all handlers share.
struct Shared {
    state: State,
    reading: body::Reading,
    metrics: observe::Metrics,
}

type App = Arc<Shared>;

impl Deref for Shared {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl Shared {
    /// The policy of the store of that name.
    fn policy(&self, name: &str) -> Result<StorePolicy, ApiError> {
        let policies = self.keyspace.policies();
        policies
            .iter()
            .find(|policy| policy.name == name)
            .cloned()
            .ok_or_else(|| self.unknown_store(name))
    }

    /// The number of the store of that name.
    fn store_number(&self, name: &str) -> Result<StoreNumber, ApiError> {
        let policies = self.keyspace.policies();
        let found = policies.iter().find(|policy| policy.name == name);
        found.map(|policy| policy.number).ok_or_else(|| self.unknown_store(name))
    }

    fn unknown_store(&self, name: &str) -> ApiError {
        let policies = self.keyspace.policies();
        let stores: Vec<&str> = policies.iter().map(|policy| policy.name.as_str()).collect();
        let message = format!("there is no store '{name}'; there are: {}", stores.join(", "));
        ApiError::new(StatusCode::NOT_FOUND, "unknown_store", message).with("stores", stores)
    }
}

/// A bound address that nothing is served at yet.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// The port; names the one that the system picked when 0 was asked for.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

/// Binds an address.
///
/// # Errors
/// [`Error::Bind`].
pub async fn listen(address: SocketAddr) -> Result<Listener, Error> {
    let failed = |source| Error::Bind { address, source };
    let socket = TcpListener::bind(address).await.map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    Ok(Listener { socket, address })
}

/// A server that is bound and not yet running.
pub struct Server {
    address: SocketAddr,
    shared: App,
    listening: listener::Listening,
}

/// Puts the API at a bound address.
pub fn build(listener: Listener, state: State) -> Server {
    let max_connections = state.config.network.max_connections;
    let metrics = observe::Metrics::default();
    let shared = Shared { state, reading: body::Reading::default(), metrics: metrics.clone() };
    let shared = Arc::new(shared);
    let app = app(Arc::clone(&shared));
    let Listener { socket, address } = listener;
    let listening = listener::Listening { listener: socket, app, max_connections, metrics };
    Server { address, shared, listening }
}

impl Server {
    /// Where it listens; names the port that the system picked when 0 was configured.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells what `/metrics` does.
    pub fn metrics(&self) -> impl Fn() -> Option<String> + Send + Sync + use<> {
        let shared = Arc::clone(&self.shared);
        move || metrics::text(&shared, Format::Prometheus).ok()
    }

    /// Serves until `shutdown` is ready, then lets requests that are under way end within `grace`.
    pub async fn run(self, shutdown: impl Future<Output = ()>, grace: Duration) {
        self.listening.run(shutdown, grace).await;
    }
}

/// The router, made from the table of routes.
fn app(shared: App) -> axum::Router {
    let mut router = axum::Router::new();
    for route in routes::ROUTES {
        router = router.route(&route.pattern(), route.handler());
    }
    router
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&shared), observe::observe))
        .with_state(shared)
}

async fn no_route(uri: Uri) -> ApiError {
    let message = format!("nothing is served at {}; /openapi.json tells what is", uri.path());
    ApiError::new(StatusCode::NOT_FOUND, "unknown_route", message)
}

async fn no_method(method: Method, uri: Uri) -> ApiError {
    let message =
        format!("{method} is not answered at {}; the header Allow tells what is", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}
