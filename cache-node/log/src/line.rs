//! One event, one line.

use std::io::Write;

use serde::ser::SerializeMap;
use serde_json::Value;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::visit::Named;
use crate::{AUDIT, fields, now_ms, timestamp};

/// The version of the schema that the names are from.
pub const ECS_VERSION: &str = "1.12.0";

/// Who writes the lines.
#[derive(Debug, Clone)]
pub struct Service {
    /// `service.name`.
    pub name: &'static str,
    /// `service.version`.
    pub version: &'static str,
    /// `service.node.name`: the member's name, or the pod's.
    pub node: String,
    /// `hypercache.cluster`, where all lines are of one cluster.
    pub cluster: Option<String>,
    /// `event.dataset` of what is no audit.
    pub dataset: &'static str,
}

/// The trace that a line belongs to, in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// `trace.id`
    pub trace_id: String,
    /// `span.id`
    pub span_id: String,
}

/// Which trace this thread works for, if for any.
type CurrentTrace = fn() -> Option<Trace>;

/// Writes events as JSON lines.
///
/// The first keys are those that people look for, in that order. What clients send is only ever a JSON
/// string, so that no input can forge a line.
pub struct Lines<W> {
    service: Service,
    trace: Option<CurrentTrace>,
    writer: W,
}

impl<O: Write, W: Fn() -> O> Lines<W> {
    /// Lines of a service, each written in one piece to what `writer` returns.
    pub fn new(service: Service, writer: W) -> Self {
        Self { service, trace: None, writer }
    }

    /// Tells of the traces that lines belong to, as far as `trace` knows of any.
    #[must_use]
    pub fn with_traces(mut self, trace: CurrentTrace) -> Self {
        self.trace = Some(trace);
        self
    }
}

/// The fields of a span, kept with it.
struct SpanFields(Named);

impl<S, O, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    O: Write,
    W: Fn() -> O + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut named = Named::default();
        attributes.record(&mut named);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(named));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(SpanFields(named)) = span.extensions_mut().get_mut::<SpanFields>() {
            values.record(named);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut named = Named::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(SpanFields(of)) = span.extensions().get::<SpanFields>() {
                for (name, value) in &of.fields {
                    named.put(name, value.clone());
                }
            }
        }
        event.record(&mut named);
        let trace = self.trace.and_then(|trace| trace());
        let metadata = event.metadata();
        let line = Line {
            service: &self.service,
            time: timestamp(now_ms()),
            level: *metadata.level(),
            logger: metadata.target(),
            named,
            trace,
        };
        let Ok(mut text) = serde_json::to_vec(&line) else { return };
        text.push(b'\n');
        // Nobody is left to tell when the log itself cannot be written.
        let _ = (self.writer)().write_all(&text);
    }
}

struct Line<'a> {
    service: &'a Service,
    time: String,
    level: Level,
    logger: &'a str,
    named: Named,
    trace: Option<Trace>,
}

impl serde::Serialize for Line<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut line = to.serialize_map(None)?;
        line.serialize_entry("@timestamp", &self.time)?;
        let level = match self.level {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        line.serialize_entry("log.level", level)?;
        line.serialize_entry("log.logger", self.logger)?;
        line.serialize_entry("message", self.named.message.as_deref().unwrap_or_default())?;
        line.serialize_entry("ecs.version", ECS_VERSION)?;
        line.serialize_entry("service.name", self.service.name)?;
        line.serialize_entry("service.version", self.service.version)?;
        line.serialize_entry("service.node.name", &self.service.node)?;
        let is_audit = self.logger == AUDIT;
        let dataset = if is_audit { "hypercache.audit" } else { self.service.dataset };
        line.serialize_entry("event.dataset", dataset)?;
        let named = fields::mapped(&self.named.fields);
        if let Some(cluster) = &self.service.cluster
            && named.iter().all(|(name, _)| name != fields::CLUSTER)
        {
            line.serialize_entry(fields::CLUSTER, cluster)?;
        }
        if let Some(trace) = &self.trace {
            line.serialize_entry("trace.id", &trace.trace_id)?;
            line.serialize_entry("span.id", &trace.span_id)?;
        }
        for (name, value) in named.iter().filter(|(_, value)| *value != Value::Null) {
            line.serialize_entry(name, value)?;
        }
        line.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt;

    thread_local! {
        /// What this thread works for.
        static TRACE: RefCell<Option<Trace>> = const { RefCell::new(None) };
    }

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn text_of(log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let service = Service {
            name: "hypercache",
            version: "1.2.3",
            node: "demo-0".into(),
            cluster: Some("demo".into()),
            dataset: "hypercache.log",
        };
        let layer = Lines::new(service, move || writer.clone()).with_traces(|| TRACE.take());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, log);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn line_of(log: impl FnOnce()) -> Value {
        let text = text_of(log);
        assert_eq!(text.lines().count(), 1, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_line_begins_with_time_level_logger_and_message_and_names_service_and_cluster() {
        let text = text_of(|| {
            tracing::warn!(action = "slot-moved", slot = 7, took_ms = 3, "moved {}", 3);
        });
        let time = r#"{"@timestamp":"2026-11-24T20:32:03.000Z","#.len();
        let logger = module_path!();
        let wanted = [
            r#""log.level":"warn""#,
            &format!(r#""log.logger":"{logger}""#),
            r#""message":"moved 3""#,
            r#""ecs.version":"1.12.0""#,
            r#""service.name":"hypercache""#,
            r#""service.version":"1.2.3""#,
            r#""service.node.name":"demo-0""#,
            r#""event.dataset":"hypercache.log""#,
            r#""hypercache.cluster":"demo""#,
            r#""event.action":"slot-moved""#,
            r#""event.duration":3000000"#,
            r#""hypercache.slot":7"#,
        ];
        assert_eq!(&text[time..], format!("{}}}\n", wanted.join(",")));
    }

    #[test]
    fn the_audit_is_a_dataset_of_its_own() {
        let line = line_of(|| tracing::info!(target: AUDIT, action = "login", "who"));
        assert_eq!(line["event.dataset"], "hypercache.audit");
    }

    #[test]
    fn what_a_client_sent_cannot_forge_a_line() {
        let error = "k\n{\"log.level\":\"error\"}\u{1b}[0m";
        let line = line_of(|| tracing::info!(error, "got {error}"));
        assert_eq!(line["error.message"], error);
    }

    #[test]
    fn an_event_carries_the_fields_of_its_spans_and_its_own_win() {
        let line = line_of(|| {
            let outer = tracing::info_span!("request", correlation_id = "c-1", reason = "outer");
            outer.in_scope(|| {
                let inner =
                    tracing::info_span!("call", member = tracing::field::Empty, reason = "inner");
                inner.record("member", "demo-1");
                TRACE.set(Some(Trace { trace_id: "4bf9".into(), span_id: "00f0".into() }));
                inner.in_scope(|| tracing::error!(status = 503, "no answer"));
            });
        });
        for (name, value) in [
            ("http.request.id", Value::from("c-1")),
            ("hypercache.member", "demo-1".into()),
            ("event.reason", "inner".into()),
            ("http.response.status_code", 503.into()),
            ("trace.id", "4bf9".into()),
            ("span.id", "00f0".into()),
        ] {
            assert_eq!(line[name], value, "{name}: {line}");
        }
    }

    #[test]
    fn outside_of_traces_there_is_none_in_a_line() {
        assert!(line_of(|| tracing::info!("alone")).get("trace.id").is_none());
    }
}
