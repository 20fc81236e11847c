//! Spans on their way to the exporter, and those that do not get there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};

/// What became of spans, since the start. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Sent(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicU64,
    sent: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

/// What became of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// They wait, or are being sent.
    pub waiting: u64,
    /// The endpoint took them.
    pub sent: u64,
    /// They found the queue full.
    pub dropped: u64,
    /// The endpoint did not take them, or not in time.
    pub failed: u64,
}

impl Sent {
    /// The figures as they are now.
    pub fn figures(&self) -> Figures {
        let Counts { waiting, sent, dropped, failed } = &*self.0;
        let [waiting, sent, dropped, failed] =
            [waiting, sent, dropped, failed].map(|n| n.load(Relaxed));
        Figures { waiting, sent, dropped, failed }
    }
}

/// A processor that is given only so many spans at a time as its queue has room for: what more there is, is
/// dropped here and counted. (The SDK's own processor counts as well, and tells nobody.)
#[derive(Debug)]
pub(crate) struct Bounded<P> {
    pub processor: P,
    pub most: u64,
    pub sent: Sent,
}

impl<P: SpanProcessor> SpanProcessor for Bounded<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        let Counts { waiting, dropped, .. } = &*self.sent.0;
        if waiting.fetch_add(1, Relaxed) >= self.most {
            waiting.fetch_sub(1, Relaxed);
            dropped.fetch_add(1, Relaxed);
            return;
        }
        self.processor.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

/// An exporter whose spans are counted.
#[derive(Debug)]
pub(crate) struct Counted<E> {
    pub exporter: E,
    pub sent: Sent,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let done = self.exporter.export(batch).await;
        let Counts { waiting, sent, failed, .. } = &*self.sent.0;
        if done.is_ok() { sent } else { failed }.fetch_add(spans, Relaxed);
        waiting.fetch_sub(spans, Relaxed);
        done
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
