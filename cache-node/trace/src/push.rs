//! Metrics on their way to an OTLP endpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::export::{EXPORT_TIMEOUT, Error, Options, url};
use crate::points::{self, Times, attribute};

/// How much of an answer is read, for what it says about points that were refused.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// How long the last ones may take, when the process ends.
const LAST_TIMEOUT: Duration = Duration::from_secs(1);

/// What became of points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PointFigures {
    /// The endpoint took them.
    pub sent: u64,
    /// It took those beside them, and said that it did not take these.
    pub refused: u64,
    /// The endpoint did not answer in time, or not well.
    pub failed: u64,
}

/// What became of points, since the start. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct SentPoints(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

impl SentPoints {
    /// The figures as they are now.
    pub fn figures(&self) -> PointFigures {
        let Counts { sent, refused, failed } = &*self.0;
        let [sent, refused, failed] = [sent, refused, failed].map(|n| n.load(Relaxed));
        PointFigures { sent, refused, failed }
    }
}

/// Sends metrics, one request at a time: while the endpoint is slow, fewer are made.
#[derive(Debug)]
pub struct Push {
    options: Options,
    interval: Duration,
    client: reqwest::Client,
    url: reqwest::Url,
    started: Duration,
    sent: SentPoints,
}

impl Push {
    /// Makes one, that sends so often.
    ///
    /// # Errors
    /// An endpoint that is no URL.
    pub fn new(options: Options, interval: Duration) -> Result<Self, Error> {
        let text = url(&options.endpoint, "metrics");
        let url = text.parse().map_err(|_| Error::Url(text))?;
        // It goes nowhere else than where it was told to.
        let client = reqwest::Client::builder()
            .timeout(EXPORT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { options, interval, client, url, started: now(), sent: SentPoints::default() })
    }

    /// What became of points.
    pub fn sent(&self) -> SentPoints {
        self.sent.clone()
    }

    /// Sends what `text` tells, which is a text in Prometheus's format or OpenMetrics, again and again, and a last time
    /// when `stop` is ready.
    pub async fn run(self, text: impl Fn() -> Option<String>, stop: impl Future<Output = ()>) {
        let mut ticks = interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let again = async {
            loop {
                ticks.tick().await;
                self.send(text(), EXPORT_TIMEOUT).await;
            }
        };
        tokio::select! {
            () = again => {}
            () = stop => {}
        }
        self.send(text(), LAST_TIMEOUT).await;
    }

    async fn send(&self, text: Option<String>, timeout: Duration) {
        let Some(text) = text else { return };
        let times = Times { started: self.started, read: now() };
        let metrics = points::of_text(&text, times);
        let points: u64 = metrics.iter().map(|metric| points::count(metric) as u64).sum();
        let Options { service, version, instance, cluster, .. } = &self.options;
        let mut attributes = vec![
            attribute("service.name", service),
            attribute("service.version", version),
            attribute("service.instance.id", instance),
        ];
        attributes.extend(cluster.as_ref().map(|name| attribute("hypercache.cluster", name)));
        let scope = InstrumentationScope {
            name: "hypercache".into(),
            version: (*version).to_owned(),
            ..InstrumentationScope::default()
        };
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(Resource { attributes, ..Resource::default() }),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope),
                    metrics,
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        };
        let Counts { sent, refused, failed } = &*self.sent.0;
        match self.post(request.encode_to_vec(), timeout).await {
            Ok(Some(rejected)) => {
                let rejected = rejected.min(points);
                refused.fetch_add(rejected, Relaxed);
                sent.fetch_add(points - rejected, Relaxed);
            }
            Ok(None) | Err(_) => {
                failed.fetch_add(points, Relaxed);
            }
        }
    }

    /// How many points the endpoint says that it did not take; `None`: it took none.
    async fn post(&self, body: Vec<u8>, timeout: Duration) -> reqwest::Result<Option<u64>> {
        let request = self.client.post(self.url.clone()).timeout(timeout);
        let request = request.header(reqwest::header::CONTENT_TYPE, "application/x-protobuf");
        let mut answer = request.body(body).send().await?;
        if !answer.status().is_success() {
            return Ok(None);
        }
        let mut said = Vec::new();
        while let Some(more) = answer.chunk().await? {
            if said.len() + more.len() > MAX_ANSWER_BYTES {
                return Ok(Some(0));
            }
            said.extend_from_slice(&more);
        }
        let said = ExportMetricsServiceResponse::decode(&*said).unwrap_or_default();
        let rejected = said.partial_success.map_or(0, |part| part.rejected_data_points);
        Ok(Some(u64::try_from(rejected).unwrap_or(0)))
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
