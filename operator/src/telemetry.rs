//! What the operator tells about itself: JSON logs on stdout, Prometheus metrics, health.

mod calls;
mod clusters;
#[cfg(test)]
mod docs_metrics;
mod metrics;
pub mod table;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hypercache_log::{Lines, Origin, Service};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use calls::CountCalls;
pub use metrics::Metrics;

/// Whose lines a level is for.
const ORIGIN: Origin = Origin { own: &["hypercache_operator"], libraries: "warn" };

/// Starts the log, of a process in that pod.
///
/// # Errors
/// What is wrong with the filter, or that a log is there already.
pub fn start_log(filter: &str, pod: &str) -> Result<(), String> {
    let service = Service {
        name: "hypercache-operator",
        version: env!("CARGO_PKG_VERSION"),
        node: pod.to_owned(),
        cluster: None,
        dataset: "hypercache.operator",
    };
    let (filter, _) = ORIGIN.build(filter).map_err(|error| format!("--log: {error}"))?;
    let lines = Lines::new(service, std::io::stdout).with_filter(filter);
    tracing_subscriber::registry().with(lines).try_init().map_err(|error| error.to_string())
}

/// `/metrics`, `/healthz` and `/readyz`.
pub fn router(metrics: Metrics) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(expose))
        .with_state(metrics)
}

async fn readyz(State(metrics): State<Metrics>) -> (StatusCode, &'static str) {
    if metrics.is_ready() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "waiting for the first list of every watch")
    }
}

async fn expose(State(metrics): State<Metrics>) -> impl IntoResponse {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match metrics.text() {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, content_type)], text),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CONTENT_TYPE, "text/plain")],
            error.to_string(),
        ),
    }
}

/// Serves until `stop` resolves.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    metrics: Metrics,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, router(metrics)).with_graceful_shutdown(stop).await
}
