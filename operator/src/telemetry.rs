//! What the operator tells about itself: JSON logs on stdout, spans of passes, Prometheus metrics, which it may also
//! send, health.

mod calls;
mod clusters;
#[cfg(test)]
mod docs_metrics;
mod metrics;
pub mod passes;
mod sent;
pub mod table;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hypercache_log::{Lines, Origin, Service};
use hypercache_trace::{Push, Spans};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use calls::CountCalls;
pub use metrics::Metrics;

use crate::options::Options;

/// The service's name in lines and spans.
const NAME: &str = "hypercache-operator";

/// Whose lines a level is for.
const ORIGIN: Origin =
    Origin { own: &["hypercache_operator", "hypercache_trace"], libraries: "warn" };

/// Starts the log, and spans where an endpoint is given: to be shut down at the end. Not to be called on a runtime's thread.
///
/// # Errors
/// What is wrong with the filter or the endpoint, or that a log is there already.
pub fn start(options: &Options) -> Result<Option<Spans>, String> {
    let service = Service {
        name: NAME,
        version: env!("CARGO_PKG_VERSION"),
        node: options.pod.clone(),
        cluster: None,
        dataset: "hypercache.operator",
    };
    let (filter, _) = ORIGIN.build(&options.log).map_err(|error| format!("--log: {error}"))?;
    let mut lines = Lines::new(service, std::io::stdout);
    let there = sent_to(options, options.otlp_endpoint.as_deref());
    if there.is_some() {
        lines = lines.with_traces(passes::current);
    }
    let spans = there.map(|there| hypercache_trace::start(&there)).transpose();
    let spans = spans.map_err(|error| format!("--otlp-endpoint: {error}"))?;
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(spans.as_ref().map(|spans| passes::layer(spans.provider())))
        .try_init()
        .map_err(|error| error.to_string())?;
    Ok(spans)
}

/// What sends metrics, where an endpoint is given.
///
/// # Errors
/// An endpoint that cannot be.
pub fn push(options: &Options) -> Result<Option<Push>, hypercache_trace::Error> {
    sent_to(options, options.otlp_metrics_endpoint.as_deref())
        .map(|there| Push::new(there, options.otlp_metrics_interval))
        .transpose()
}

/// Who sends to an endpoint. An empty one is none: a variable that is set to nothing.
fn sent_to(options: &Options, endpoint: Option<&str>) -> Option<hypercache_trace::Options> {
    let endpoint = endpoint.filter(|endpoint| !endpoint.is_empty())?;
    Some(hypercache_trace::Options {
        service: NAME.into(),
        version: env!("CARGO_PKG_VERSION"),
        instance: options.pod.clone(),
        cluster: None,
        endpoint: endpoint.into(),
    })
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
