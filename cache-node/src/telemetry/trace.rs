//! Spans, exported as OTLP over HTTP.
//!
//! The exporter has a thread of its own and a bounded queue: a slow or dead endpoint costs spans,
//! never a request. Only HyperCache's own spans are exported, so that the exporter's HTTP client
//! does not trace itself.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider,
};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, filter_fn};
use tracing_subscriber::registry::LookupSpan;

use super::Options;

/// Spans that wait to be sent; the next is dropped.
const QUEUE_SPANS: usize = 2_048;
/// Spans in one request.
const BATCH_SPANS: usize = 512;
/// How long one request may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long spans wait for others before they are sent.
const EXPORT_INTERVAL: Duration = Duration::from_secs(2);

/// The URL that takes spans: an endpoint without a path gets OTLP's.
fn traces_url(endpoint: &str) -> String {
    let path = endpoint.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
    match path {
        Some((_, path)) if !path.is_empty() => endpoint.to_owned(),
        _ => format!("{}/v1/traces", endpoint.trim_end_matches('/')),
    }
}

/// Starts the exporter.
///
/// # Errors
/// An endpoint that is no URL.
pub fn provider(
    options: &Options,
    endpoint: &str,
) -> Result<SdkTracerProvider, ExporterBuildError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(traces_url(endpoint))
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let batch = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_SPANS)
        .with_max_export_batch_size(BATCH_SPANS)
        .with_scheduled_delay(EXPORT_INTERVAL)
        .build();
    let resource = Resource::builder()
        .with_service_name(options.service_name.clone())
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", options.member.clone()),
            KeyValue::new("hypercache.cluster", options.cluster_name.clone()),
        ])
        .build();
    Ok(SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batch).build())
        .with_resource(resource)
        .build())
}

type Ours = FilterFn<fn(&Metadata<'_>) -> bool>;

/// The layer that hands HyperCache's spans to the exporter.
pub fn layer<S>(
    provider: &SdkTracerProvider,
) -> tracing_subscriber::filter::Filtered<
    tracing_opentelemetry::OpenTelemetryLayer<S, SdkTracer>,
    Ours,
    S,
>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let ours: fn(&Metadata<'_>) -> bool = |metadata| {
        metadata.target().starts_with("hypercache") && *metadata.level() <= tracing::Level::INFO
    };
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("hypercache"))
        .with_filter(filter_fn(ours))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use tracing_subscriber::layer::SubscriberExt;

    fn options(endpoint: &str) -> Options {
        Options {
            member: "demo-0".into(),
            level: "info".into(),
            otlp_endpoint: Some(endpoint.into()),
            service_name: "test-service".into(),
            cluster_name: "demo".into(),
        }
    }

    #[test]
    fn an_endpoint_without_a_path_gets_the_one_of_otlp() {
        assert_eq!(traces_url("http://c:4318"), "http://c:4318/v1/traces");
        assert_eq!(traces_url("http://c:4318/"), "http://c:4318/v1/traces");
        assert_eq!(traces_url("http://c:4318/own"), "http://c:4318/own");
    }

    /// Answers one HTTP request with 200 and returns it.
    fn take_request(listener: &TcpListener) -> Vec<u8> {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let n = stream.read(&mut buffer).unwrap();
            request.extend_from_slice(&buffer[..n]);
            let head = request.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
            let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
            let length =
                text.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
            let whole =
                head.zip(length).is_some_and(|(head, len): (_, usize)| request.len() >= head + len);
            if whole || n == 0 {
                break;
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        request
    }

    #[test]
    fn spans_reach_the_endpoint_before_the_process_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || take_request(&listener));
        let provider = provider(&options(&endpoint), &endpoint).unwrap();
        let subscriber = tracing_subscriber::registry().with(layer(&provider));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info_span!("a_span_of_ours").in_scope(|| {});
            tracing::info_span!(target: "hyper", "a_span_of_a_library").in_scope(|| {});
        });
        provider.shutdown_with_timeout(Duration::from_secs(10)).unwrap();
        let request = String::from_utf8_lossy(&server.join().unwrap()).into_owned();
        assert!(request.starts_with("POST /v1/traces "), "{request}");
        for text in ["a_span_of_ours", "test-service", "demo-0"] {
            assert!(request.contains(text), "{text}");
        }
        assert!(!request.contains("a_span_of_a_library"));
    }

    #[test]
    fn a_dead_endpoint_does_not_hold_up_the_end_beyond_the_deadline() {
        // Bound and never accepted: connecting works, an answer never comes.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let provider = provider(&options(&endpoint), &endpoint).unwrap();
        let subscriber = tracing_subscriber::registry().with(layer(&provider));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info_span!("lost").in_scope(|| {});
        });
        assert!(provider.shutdown_with_timeout(Duration::from_millis(50)).is_err());
    }
}
