//! The operator's counters.

use std::sync::Arc;

use hypercache_core::metric::Metric;
use hypercache_crds::HyperCacheCluster;
use hypercache_trace::{Sent, SentPoints};
use kube::runtime::reflector::Store;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::clusters::Clusters;
use super::sent::OverOtlp;
use super::table;

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

/// See the module.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    passes: Family<Labels<1>, Counter>,
    pass_seconds: Histogram,
    passes_running: Gauge,
    pass_errors: Family<Labels<1>, Counter>,
    queued: Gauge,
    ready: Gauge,
    api_calls: Family<Labels<2>, Counter>,
    api_call_seconds: Histogram,
    steps: Family<Labels<2>, Counter>,
    cluster_requests: Family<Labels<2>, Counter>,
    watch_errors: Family<Labels<1>, Counter>,
    clusters: Clusters,
}

fn times() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 2.0, 12))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(Sent::default(), SentPoints::default())
    }
}

impl Metrics {
    /// Metrics; what became of spans and of values that were sent is among them.
    pub fn new(spans: Sent, points: SentPoints) -> Self {
        let mut registry = Registry::default();
        let metrics = Self {
            registry: Arc::default(),
            passes: Family::default(),
            pass_seconds: times(),
            passes_running: Gauge::default(),
            pass_errors: Family::default(),
            queued: Gauge::default(),
            ready: Gauge::default(),
            api_calls: Family::default(),
            api_call_seconds: times(),
            steps: Family::default(),
            cluster_requests: Family::default(),
            watch_errors: Family::default(),
            clusters: Clusters::default(),
        };
        add(&mut registry, &table::PASSES, metrics.passes.clone());
        add(&mut registry, &table::PASS, metrics.pass_seconds.clone());
        add(&mut registry, &table::PASSES_RUNNING, metrics.passes_running.clone());
        add(&mut registry, &table::PASS_ERRORS, metrics.pass_errors.clone());
        add(&mut registry, &table::QUEUED, metrics.queued.clone());
        add(&mut registry, &table::READY, metrics.ready.clone());
        add(&mut registry, &table::API_CALLS, metrics.api_calls.clone());
        add(&mut registry, &table::API_CALL, metrics.api_call_seconds.clone());
        add(&mut registry, &table::STEPS, metrics.steps.clone());
        add(&mut registry, &table::CLUSTER_REQUESTS, metrics.cluster_requests.clone());
        add(&mut registry, &table::WATCH_ERRORS, metrics.watch_errors.clone());
        registry.register_collector(Box::new(metrics.clusters.clone()));
        registry.register_collector(Box::new(OverOtlp { spans, points }));
        Self { registry: Arc::new(registry), ..metrics }
    }
}

/// Registers what counts a metric of the table.
fn add(
    registry: &mut Registry,
    metric: &Metric,
    counter: impl prometheus_client::registry::Metric,
) {
    match metric.unit() {
        Some(_) => {
            registry.register_with_unit(metric.base(), metric.help, Unit::Seconds, counter);
        }
        None => registry.register(metric.base(), metric.help, counter),
    }
}

/// A pass that runs; over when this is dropped.
pub struct Running(Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// A pass begins.
    pub fn begin_pass(&self) -> Running {
        self.passes_running.inc();
        Running(self.passes_running.clone())
    }

    /// Counts a pass.
    pub fn pass(&self, result: &str, seconds: f64) {
        self.passes.get_or_create(&Labels([("result", result.to_owned())])).inc();
        self.pass_seconds.observe(seconds);
    }

    /// Counts a pass that ended early.
    pub fn pass_error(&self, kind: &str) {
        self.pass_errors.get_or_create(&Labels([("kind", kind.to_owned())])).inc();
    }

    /// So many changes more, or fewer, wait for a pass.
    pub fn queued(&self, more: i64) {
        self.queued.inc_by(more);
    }

    /// Counts a request to the API server; `status` is that of its answer.
    pub fn api_call(&self, verb: &str, status: Option<u16>, seconds: f64) {
        let result = status.map_or("unreachable".to_owned(), |code| format!("{}xx", code / 100));
        let labels = Labels([("verb", verb.to_owned()), ("result", result)]);
        self.api_calls.get_or_create(&labels).inc();
        if verb != "watch" {
            self.api_call_seconds.observe(seconds);
        }
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

    /// From now on the clusters of this store are told.
    pub fn add_clusters(&self, store: Store<HyperCacheCluster>) {
        self.clusters.add(store);
    }

    /// Says whether every watch has its first complete list.
    pub fn set_ready(&self, ready: bool) {
        self.ready.set(ready.into());
    }

    /// Whether that was said.
    pub fn is_ready(&self) -> bool {
        self.ready.get() == 1
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
