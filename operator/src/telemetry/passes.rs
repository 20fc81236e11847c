//! Spans of passes, and of what is done in them: `tracing`'s own, as far as they are the operator's.
//!
//! What a span is called by is told in lines of the log as well; what is only of interest in a trace is an attribute
//! ([`say`]).

use hypercache_log::Trace;
use opentelemetry::trace::{Status, TracerProvider};
use opentelemetry::{Key, Value};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::{Metadata, Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, Filtered, filter_fn};
use tracing_subscriber::registry::LookupSpan;

type Ours = FilterFn<fn(&Metadata<'_>) -> bool>;

/// The layer that makes them.
pub fn layer<S>(provider: &SdkTracerProvider) -> Filtered<OpenTelemetryLayer<S, SdkTracer>, Ours, S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    // Only spans: what lines say stays in the log. And none of libraries, so that what sends them has none.
    let ours: fn(&Metadata<'_>) -> bool = |metadata| {
        metadata.is_span()
            && metadata.target().starts_with("hypercache_operator")
            && *metadata.level() <= tracing::Level::INFO
    };
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(super::NAME))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(ours))
}

/// The trace that this thread works for.
pub fn current() -> Option<Trace> {
    let of = hypercache_trace::current_span()?;
    Some(Trace { trace_id: of.trace_id().to_string(), span_id: of.span_id().to_string() })
}

/// Says something about the span that is under way.
pub fn say(key: impl Into<Key>, value: impl Into<Value>) {
    Span::current().set_attribute(key, value);
}

/// The span that is under way comes to this error.
pub fn fail(kind: &str) {
    let span = Span::current();
    span.set_attribute("error.type", kind.to_owned());
    span.set_status(Status::error(""));
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SpanData, SpanExporter};
    use std::sync::{Arc, Mutex, OnceLock};
    use tracing_subscriber::layer::SubscriberExt;

    /// Spans that are kept where they are made.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    impl Kept {
        /// In the order of their ends.
        pub(crate) fn spans(&self) -> Vec<SpanData> {
            self.0.lock().unwrap().clone()
        }
    }

    /// Keeps the spans of what runs on this thread, until the guard is dropped.
    pub(crate) fn kept() -> (Kept, tracing::subscriber::DefaultGuard) {
        // While there is one subscriber alone, whichever thread comes to a span first says for all whether anybody wants
        // it: another test's, which has none. With a second one, all are asked.
        static SECOND: OnceLock<tracing::Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| tracing::Dispatch::new(tracing_subscriber::registry()));
        let kept = Kept::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
        let subscriber = tracing_subscriber::registry().with(layer(&provider));
        (kept, tracing::subscriber::set_default(subscriber))
    }

    /// The attribute of a span as a text.
    pub(crate) fn attribute(span: &SpanData, key: &str) -> String {
        let found = span.attributes.iter().find(|pair| pair.key.as_str() == key);
        found.map(|pair| pair.value.to_string()).unwrap_or_default()
    }

    #[test]
    fn only_spans_of_the_operator_are_made_and_lines_within_them_know_their_trace() {
        let (kept, _guard) = kept();
        let inside = tracing::info_span!("reconcile").in_scope(|| {
            say("a", 1);
            fail("status");
            tracing::info_span!(target: "hyper", "of_a_library").in_scope(|| {});
            current().unwrap()
        });
        let spans = kept.spans();
        assert_eq!(spans.iter().map(|span| &*span.name).collect::<Vec<_>>(), ["reconcile"]);
        assert_eq!(
            (attribute(&spans[0], "a"), attribute(&spans[0], "error.type")),
            ("1".into(), "status".into())
        );
        assert_eq!(inside.span_id, spans[0].span_context.span_id().to_string());
        assert_eq!(current(), None);
    }
}
