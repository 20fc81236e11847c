//! The spans of requests: `request`, and below it `forward`, `execute`, `log` and `replicate`.
//!
//! Of a request that has none, nothing is kept and nothing is allocated: a count decides
//! ([`Traces::takes_next`]). A request that has some carries an OpenTelemetry [`Context`], in which the span
//! that is under way stands; what runs in a task of the request's finds it as the thread's current one. Attributes
//! are OpenTelemetry's own where it has a name; keys and values are in none.

use std::sync::Arc;
use std::time::SystemTime;

use hypercache_core::command::Spec;
use hypercache_core::store::StoreNumber;
use hypercache_trace::{Figures, Ratio, Sent, Spans};
use opentelemetry::trace::{
    FutureExt, SpanContext, SpanKind, Status, TraceContextExt, TraceId, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;

use crate::server::stats::errors;

/// Makes spans, if they are sent anywhere. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Arc<Made>>);

#[derive(Debug)]
struct Made {
    tracer: SdkTracer,
    ratio: Ratio,
    sent: Sent,
    exemplars: bool,
}

/// A span that is over: what of, and from when to when.
#[derive(Debug)]
pub struct Past {
    /// The span's name.
    pub name: &'static str,
    /// When it began.
    pub began: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// What is said about it.
    pub attributes: Vec<KeyValue>,
}

impl Traces {
    /// Makes them there, for so many of the requests that do not say themselves whether they have any. With `exemplars`,
    /// metrics tell of those.
    pub fn new(spans: &Spans, ratio: Ratio, exemplars: bool) -> Self {
        let tracer = spans.provider().tracer("hypercache");
        Self(Some(Arc::new(Made { tracer, ratio, sent: spans.sent(), exemplars })))
    }

    /// The trace of a request that has this span, if the metrics tell of it.
    #[inline]
    pub fn exemplar(&self, span: Option<&Context>) -> Option<TraceId> {
        self.trace_told(span?)
    }

    #[cold]
    fn trace_told(&self, span: &Context) -> Option<TraceId> {
        self.0.as_ref().filter(|made| made.exemplars)?;
        let span = span.span();
        let span = span.span_context();
        span.is_sampled().then(|| span.trace_id())
    }

    /// Whether any request has spans.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the next request has spans, of those that do not say so themselves.
    #[inline]
    pub fn takes_next(&self) -> bool {
        self.0.as_ref().is_some_and(|made| made.ratio.takes_next())
    }

    /// What became of the spans.
    pub fn figures(&self) -> Figures {
        self.0.as_ref().map(|made| made.sent.figures()).unwrap_or_default()
    }

    /// The span that this thread works for, if for any.
    #[inline]
    pub fn current(&self) -> Option<Context> {
        self.0.as_ref().and_then(|_| hypercache_trace::current())
    }

    /// Begins the span of a request: of a parent's trace, or of a new one.
    pub fn request(&self, parent: Option<SpanContext>, attributes: Vec<KeyValue>) -> Context {
        let parent = parent
            .map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent));
        self.begin(&parent, "request", SpanKind::Server, attributes)
    }

    /// Begins a span below another one.
    pub fn begin(
        &self,
        parent: &Context,
        name: &'static str,
        kind: SpanKind,
        attributes: Vec<KeyValue>,
    ) -> Context {
        let Some(made) = &self.0 else { return parent.clone() };
        let span = made.tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
        parent.with_span(span.start_with_context(&made.tracer, parent))
    }

    /// Tells of what a command did in the keyspace from then until now: the parent of what it waits for.
    pub fn executed(
        &self,
        parent: &Context,
        began: SystemTime,
        attributes: Vec<KeyValue>,
        reply: &[u8],
    ) -> Context {
        let Some(made) = &self.0 else { return parent.clone() };
        let is_remote = parent.span().span_context().is_remote();
        let span = made
            .tracer
            .span_builder("execute")
            .with_kind(if is_remote { SpanKind::Server } else { SpanKind::Internal })
            .with_start_time(began)
            .with_attributes(attributes);
        let context = parent.with_span(span.start_with_context(&made.tracer, parent));
        end(&context, error_of(reply));
        context
    }

    /// Tells of what is over.
    pub fn tell(&self, parent: &Context, past: &Past, error: Option<&str>) {
        let Some(made) = &self.0 else { return };
        let span = made
            .tracer
            .span_builder(past.name)
            .with_kind(SpanKind::Internal)
            .with_start_time(past.began)
            .with_attributes(past.attributes.iter().cloned());
        let context = parent.with_span(span.start_with_context(&made.tracer, parent));
        note(&context, error);
        context.span().end_with_timestamp(past.ended);
    }
}

/// What is said about a command: by a name of the table, and the store's number.
pub fn of_command(spec: &Spec, store: StoreNumber) -> Vec<KeyValue> {
    vec![
        // The protocol's name: what reads spans knows no other of this kind.
        KeyValue::new("db.system.name", "redis"),
        KeyValue::new("db.operation.name", spec.name.to_ascii_uppercase()),
        KeyValue::new("db.namespace", store.to_string()),
    ]
}

/// The error's word, where a reply is one.
pub fn error_of(reply: &[u8]) -> Option<&str> {
    (reply.first() == Some(&b'-')).then(|| errors::kind(reply))
}

fn note(context: &Context, error: Option<&str>) {
    if let Some(error) = error {
        let span = context.span();
        span.set_attribute(KeyValue::new("error.type", error.to_owned()));
        span.set_status(Status::error(""));
    }
}

/// Ends a span: well, or with that error.
pub fn end(context: &Context, error: Option<&str>) {
    note(context, error);
    context.span().end();
}

/// Runs a future as a part of that span, if there is one.
pub async fn within<F: Future>(context: Option<&Context>, future: F) -> F::Output {
    match context {
        Some(context) => future.with_context(context.clone()).await,
        None => future.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypercache_core::command::lookup;

    #[test]
    fn where_none_are_sent_no_request_has_spans() {
        let traces = Traces::default();
        assert!(!traces.is_on() && !(0..1_000).any(|_| traces.takes_next()));
        assert!(traces.current().is_none());
        assert_eq!(traces.figures(), Figures::default());
    }

    #[test]
    fn a_commands_attributes_are_its_name_and_its_store_and_no_argument() {
        let args: [&[u8]; 3] = [b"set", b"a-key", b"a value"];
        let said = format!("{:?}", of_command(lookup(&args).unwrap(), 7));
        assert!(said.contains("SET") && said.contains("\"7\""), "{said}");
        assert!(!said.contains("a-key") && !said.contains("a value"), "{said}");
    }

    #[test]
    fn an_error_is_its_first_word() {
        assert_eq!(error_of(b"-WRONGTYPE of key k\r\n"), Some("WRONGTYPE"));
        assert_eq!(error_of(b"+OK\r\n"), None);
        assert_eq!(error_of(b""), None);
    }
}
