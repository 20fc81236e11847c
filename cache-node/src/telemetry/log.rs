//! The log: one JSON object a line, with `time` (RFC 3339, UTC, milliseconds), `level`, `member`,
//! `target`, `message` and `fields`.
//!
//! `fields` holds what the event names and what the spans around it name; the innermost wins. What
//! clients send is only ever a JSON string in it, so that no input can forge a line.

use std::fmt;
use std::io::Write;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// The filter that a configured level means. Directives are taken as they are; a level alone is
/// HyperCache's own, and the libraries below it are asked only for warnings.
pub fn directives(level: &str) -> String {
    if level.contains(['=', ',']) {
        return level.to_owned();
    }
    let libraries = match level.to_ascii_lowercase().as_str() {
        "off" | "error" | "trace" => level,
        // openraft warns at every heartbeat that a member which is down does not answer.
        _ => "warn,openraft=error",
    };
    format!("{libraries},hypercache={level},hypercache_core={level},audit={}", audit(level))
}

/// Who changed what is told also where only warnings are wanted; not where nothing is.
fn audit(level: &str) -> &str {
    match level.to_ascii_lowercase().as_str() {
        "warn" | "error" => "info",
        _ => level,
    }
}

/// Writes events as JSON lines.
pub struct JsonLines<W> {
    member: String,
    writer: W,
}

impl<O: Write, W: Fn() -> O> JsonLines<W> {
    /// Lines of one member, each written in one piece to what `writer` returns.
    pub fn new(member: impl Into<String>, writer: W) -> Self {
        Self { member: member.into(), writer }
    }
}

/// One line, its parts in the order in which people look for them.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    level: &'static str,
    member: &'a str,
    target: &'a str,
    message: String,
    fields: Map<String, Value>,
}

/// The fields of a span, kept with it.
struct SpanFields(Map<String, Value>);

impl<S, O, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    O: Write,
    W: Fn() -> O + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields.map));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        if let Some(SpanFields(map)) = extensions.get_mut::<SpanFields>() {
            let mut fields = Fields::default();
            values.record(&mut fields);
            map.append(&mut fields.map);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Fields::default();
        event.record(&mut own);
        let mut fields = Map::new();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(SpanFields(map)) = span.extensions().get::<SpanFields>() {
                fields.extend(map.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
        }
        fields.append(&mut own.map);
        let metadata = event.metadata();
        let line = Line {
            time: timestamp(crate::clock::now_ms()),
            level: metadata.level().as_str(),
            member: &self.member,
            target: metadata.target(),
            message: own.message.unwrap_or_default(),
            fields,
        };
        let Ok(mut text) = serde_json::to_vec(&line) else { return };
        text.push(b'\n');
        // Nobody is left to tell when the log itself cannot be written.
        let _ = (self.writer)().write_all(&text);
    }
}

/// Collects the fields of an event or span.
#[derive(Default)]
struct Fields {
    message: Option<String>,
    map: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.map.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = Some(text),
            _ => self.put(field, Value::String(text)),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = Some(value.to_owned()),
            _ => self.put(field, Value::String(value.to_owned())),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, Value::String(value.to_string()));
    }
}

/// A time as RFC 3339 in UTC with milliseconds.
///
/// The civil date comes from the days since the epoch by counting in eras of 400 years that begin
/// on the first of March, so that the leap day is the last of its year.
pub fn timestamp(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
    let (second, milli) = (ms / 1_000 % 60, ms % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::sync::Arc;
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines_of(log: impl FnOnce()) -> Vec<Value> {
        let sink = Sink::default();
        let writer = sink.clone();
        let layer = JsonLines::new("demo-0", move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, log);
        let text = String::from_utf8(sink.0.lock().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_has_level_time_member_target_message_and_fields() {
        let lines = lines_of(|| tracing::warn!(slot = 7, ratio = 0.5, ok = true, "moved {}", 3));
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["member"], "demo-0");
        assert_eq!(line["message"], "moved 3");
        assert_eq!(line["target"], module_path!());
        assert_eq!(line["fields"], serde_json::json!({"slot": 7, "ratio": 0.5, "ok": true}));
        assert_eq!(line["time"].as_str().unwrap().len(), "2026-11-24T20:32:03.000Z".len());
    }

    #[test]
    fn what_a_client_sent_cannot_forge_a_line() {
        let key = "k\n{\"level\":\"ERROR\"}\u{1b}[0m";
        let lines = lines_of(|| tracing::info!(key, "got {key}"));
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["fields"]["key"], key);
    }

    #[test]
    fn an_event_carries_the_fields_of_its_spans_and_its_own_win() {
        let lines = lines_of(|| {
            let outer = tracing::info_span!("request", correlation_id = "c-1", part = "outer");
            outer.in_scope(|| {
                let inner =
                    tracing::info_span!("call", member = tracing::field::Empty, part = "inner");
                inner.record("member", "demo-1");
                inner.in_scope(|| tracing::error!(status = 503, "no answer"));
            });
        });
        let expected = serde_json::json!({
            "correlation_id": "c-1", "member": "demo-1", "part": "inner", "status": 503
        });
        assert_eq!(lines[0]["fields"], expected);
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp(951_782_400_123), "2000-02-29T00:00:00.123Z");
        assert_eq!(timestamp(1_709_251_199_999), "2024-02-29T23:59:59.999Z");
        assert_eq!(timestamp(1_735_689_599_000), "2024-12-31T23:59:59.000Z");
        assert_eq!(timestamp(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn a_level_alone_is_ours_and_libraries_only_warn() {
        assert_eq!(
            directives("debug"),
            "warn,openraft=error,hypercache=debug,hypercache_core=debug,audit=debug"
        );
        assert_eq!(directives("off"), "off,hypercache=off,hypercache_core=off,audit=off");
        assert!(directives("error").ends_with(",audit=info"), "what was changed is told");
        assert_eq!(directives("info,openraft=debug"), "info,openraft=debug");
    }
}
