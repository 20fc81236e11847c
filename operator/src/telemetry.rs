//! What the operator tells about itself: JSON logs on stdout, Prometheus metrics, health.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hypercache_log::{Lines, Origin, Service};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Labels<const N: usize>([(&'static str, String); N]);

impl<const N: usize> EncodeLabelSet for Labels<N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        for pair in &self.0 {
            prometheus_client::encoding::EncodeLabel::encode(pair, encoder.encode_label())?;
        }
        Ok(())
    }
}

/// The operator's counters.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    passes: Family<Labels<1>, Counter>,
    pass_seconds: Histogram,
    steps: Family<Labels<2>, Counter>,
    cluster_requests: Family<Labels<2>, Counter>,
    watch_errors: Family<Labels<1>, Counter>,
    ready: Arc<AtomicBool>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("hypercache_operator");
        let passes = Family::default();
        let pass_seconds = Histogram::new(exponential_buckets(0.005, 2.0, 12));
        let steps = Family::default();
        let cluster_requests = Family::default();
        let watch_errors = Family::default();
        registry.register("passes", "Passes over a resource, by result", passes.clone());
        registry.register_with_unit(
            "pass",
            "How long a pass takes",
            Unit::Seconds,
            pass_seconds.clone(),
        );
        registry.register("steps", "Writes to the API server, by action and result", steps.clone());
        registry.register(
            "cluster_requests",
            "Requests to clusters, by action and result",
            cluster_requests.clone(),
        );
        registry.register("watch_errors", "Watches that broke off, by kind", watch_errors.clone());
        Self {
            registry: Arc::new(registry),
            passes,
            pass_seconds,
            steps,
            cluster_requests,
            watch_errors,
            ready: Arc::default(),
        }
    }
}

impl Metrics {
    /// Counts a pass.
    pub fn pass(&self, result: &str, seconds: f64) {
        self.passes.get_or_create(&Labels([("result", result.to_owned())])).inc();
        self.pass_seconds.observe(seconds);
    }

    /// Counts a write to the API server.
    pub fn step(&self, action: &str, result: &str) {
        let labels = Labels([("action", action.to_owned()), ("result", result.to_owned())]);
        self.steps.get_or_create(&labels).inc();
    }

    /// Counts a request to a cluster.
    pub fn cluster_request(&self, action: &str, result: &str) {
        let labels = Labels([("action", action.to_owned()), ("result", result.to_owned())]);
        self.cluster_requests.get_or_create(&labels).inc();
    }

    /// Counts a watch that broke off.
    pub fn watch_error(&self, kind: &str) {
        self.watch_errors.get_or_create(&Labels([("kind", kind.to_owned())])).inc();
    }

    /// Says whether every watch has its first complete list.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Everything in Prometheus's text format.
    ///
    /// # Errors
    /// When a value cannot be written.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

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
    if metrics.ready.load(Ordering::Relaxed) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_in_the_text() {
        let metrics = Metrics::default();
        metrics.pass("settled", 0.01);
        metrics.step("apply", "Forbidden");
        metrics.cluster_request("report", "ok");
        metrics.watch_error("Pod");
        let text = metrics.text().unwrap();
        for line in [
            r#"hypercache_operator_passes_total{result="settled"} 1"#,
            r#"hypercache_operator_steps_total{action="apply",result="Forbidden"} 1"#,
            r#"hypercache_operator_cluster_requests_total{action="report",result="ok"} 1"#,
            r#"hypercache_operator_watch_errors_total{kind="Pod"} 1"#,
            "hypercache_operator_pass_seconds_count 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
