//! What every request leaves behind: a correlation ID, a line in the log, a span, and figures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State as Of};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hypercache_core::metric::Metric;
use opentelemetry::Context;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tracing::Instrument;

use super::{App, audit, auth, traced};
use crate::telemetry::metrics::out::unit;
use crate::telemetry::metrics::table;
use crate::telemetry::trace;

const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
const MAX_ID_BYTES: usize = 128;

/// Labels of an answered request. The route is a row of the table, never a path with a key in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: String,
    method: &'static str,
    status: u32,
}

/// Figures of the HTTP server.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<Answered, Counter>,
    duration: Histogram,
    pub(super) connections: Gauge,
    pub(super) rejected: Counter,
    refused_logins: Arc<AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            // 0.1 ms to 6.5 s.
            duration: Histogram::new(exponential_buckets(0.0001, 4.0, 9)),
            connections: Gauge::default(),
            rejected: Counter::default(),
            refused_logins: Arc::default(),
        }
    }
}

impl Metrics {
    /// Adds these figures to those of a scrape.
    pub fn register(&self, registry: &mut Registry) {
        let Self { requests, duration, connections, rejected, .. } = self.clone();
        add(registry, &table::HTTP_REQUESTS, requests);
        add(registry, &table::HTTP_REQUEST_DURATION, duration);
        add(registry, &table::HTTP_CONNECTIONS, connections);
        add(registry, &table::HTTP_REJECTED_CONNECTIONS, rejected);
    }

    /// Requests that did not bring the right password.
    pub fn refused_logins(&self) -> u64 {
        self.refused_logins.load(Relaxed)
    }
}

/// Registers what counts a metric of the table.
fn add(
    registry: &mut Registry,
    metric: &Metric,
    counter: impl prometheus_client::registry::Metric,
) {
    match unit(metric) {
        Some(unit) => registry.register_with_unit(metric.base(), metric.help, unit, counter),
        None => registry.register(metric.base(), metric.help, counter),
    }
}

/// The ID that a request brings, if it is one: up to 128 visible ASCII characters; else a new one.
fn correlation_id(headers: &HeaderMap) -> HeaderValue {
    let taken = headers.get(CORRELATION_ID).filter(|id| {
        let bytes = id.as_bytes();
        (1..=MAX_ID_BYTES).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    });
    taken.cloned().unwrap_or_else(|| {
        let mut random = [0u8; 16];
        if getrandom::fill(&mut random).is_err() {
            // An ID only tells requests apart; the clock does that as well.
            random[..8].copy_from_slice(&crate::clock::now_ms().to_be_bytes());
        }
        let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("0"))
    })
}

/// Known methods by name, so that a label cannot be whatever a client writes.
fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "PUT" => "PUT",
        "POST" => "POST",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// Runs around every request.
pub async fn observe(Of(app): Of<App>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = correlation_id(request.headers());
    let method = method_name(request.method());
    let path = request.uri().path().to_owned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |matched| matched.as_str().replace("{*", "{"));
    let from = request.extensions().get::<audit::From>().copied();
    let audited = audit::audited(request.method(), &route, &path, request.headers(), from);
    // Of the highest level, so that whatever is logged about this request carries its ID.
    let span = tracing::error_span!(
        "http_request",
        correlation_id = id.to_str().unwrap_or_default(),
        method,
        route,
        status = tracing::field::Empty,
    );
    let traced = traced::begin(app.router.traces(), request.headers(), method, &route);
    let answer = async {
        let allowed = match path == "/api" || path.starts_with("/api/") {
            true => auth::check((app.password)().as_ref(), request.headers()),
            false => Ok(()),
        };
        match allowed {
            Ok(()) => next.run(request).await,
            Err(denied) => {
                let source = from.map_or_else(|| "unknown".to_owned(), |from| from.0.to_string());
                app.logins.tell("http", &auth::who(request.headers()), source, false);
                app.metrics.refused_logins.fetch_add(1, Relaxed);
                denied.into_response()
            }
        }
    };
    let mut response = trace::within(traced.as_ref(), answer.instrument(span.clone())).await;
    response.headers_mut().insert(CORRELATION_ID, id);
    let status = response.status();
    let elapsed = started.elapsed();
    span.record("status", status.as_u16());
    // What is told of it belongs to its trace.
    let part = traced.clone().map(Context::attach);
    span.in_scope(|| {
        if let Some(audited) = audited {
            audited.log(&response);
        }
        let duration_ms = elapsed.as_secs_f64() * 1e3;
        if status.is_server_error() {
            tracing::info!(action = "http-request-failed", duration_ms, "request failed");
        } else {
            tracing::debug!(action = "http-request", duration_ms, url_path = path, "request");
        }
    });
    drop(part);
    if let Some(traced) = traced {
        traced::end(&traced, status);
    }
    let labels = Answered { route, method, status: u32::from(status.as_u16()) };
    app.metrics.requests.get_or_create(&labels).inc();
    app.metrics.duration.observe(elapsed.as_secs_f64());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(given: Option<&[u8]>) -> String {
        let mut headers = HeaderMap::new();
        if let Some(bytes) = given {
            headers.insert(CORRELATION_ID, HeaderValue::from_bytes(bytes).unwrap());
        }
        correlation_id(&headers).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_correlation_id_is_taken_if_it_is_one() {
        assert_eq!(id_for(Some(b"order-17/retry:2")), "order-17/retry:2");
        assert_eq!(id_for(Some(&[b'x'; 128])).len(), 128);
    }

    #[test]
    fn else_a_new_one_is_made_for_each_request() {
        for bad in [&b""[..], b"has blank", b"t\tab", "\u{e9}".as_bytes(), &[b'x'; 129]] {
            let id = id_for(Some(bad));
            assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        }
        assert_ne!(id_for(None), id_for(None));
    }
}
