//! The way to the endpoint.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider,
};

use crate::lost::{Bounded, Counted, Sent};

/// Spans that wait to be sent, or are being sent; the next is dropped.
const QUEUE_SPANS: usize = 4_096;
/// Spans in one request.
const BATCH_SPANS: usize = 512;
/// How long one request may take.
pub(crate) const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long spans wait for others before they are sent.
const EXPORT_INTERVAL: Duration = Duration::from_secs(2);

/// Who makes spans or metrics, and where they go.
#[derive(Debug, Clone)]
pub struct Options {
    /// `service.name`
    pub service: String,
    /// `service.version`
    pub version: &'static str,
    /// `service.instance.id`: the member's name, or the pod's.
    pub instance: String,
    /// `hypercache.cluster`, where all spans are of one cluster.
    pub cluster: Option<String>,
    /// The OTLP/HTTP endpoint. Without a path, OTLP's is added.
    pub endpoint: String,
}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint is no URL.
    #[error(transparent)]
    Endpoint(#[from] ExporterBuildError),
    /// The endpoint of metrics is no URL.
    #[error("{0} is no URL")]
    Url(String),
    /// There is no HTTP client.
    #[error("no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// The URL that takes a signal: an endpoint without a path gets OTLP's.
pub(crate) fn url(endpoint: &str, signal: &str) -> String {
    let path = endpoint.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
    match path {
        Some((_, path)) if !path.is_empty() => endpoint.to_owned(),
        _ => format!("{}/v1/{signal}", endpoint.trim_end_matches('/')),
    }
}

/// Spans, and the thread that sends them; to be shut down as the last thing before the process ends.
#[derive(Debug)]
pub struct Spans {
    provider: SdkTracerProvider,
    sent: Sent,
}

impl Spans {
    /// What makes them.
    pub fn provider(&self) -> &SdkTracerProvider {
        &self.provider
    }

    /// What became of them.
    pub fn sent(&self) -> Sent {
        self.sent.clone()
    }

    /// Sends those that are still queued, for at most `deadline`. Blocks the thread for that time, so it is called when no
    /// runtime is left.
    pub fn shutdown(self, deadline: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(deadline) {
            tracing::warn!(action = "spans-lost", %error, "spans were lost at the end");
        }
    }
}

/// Starts the exporter, on a thread of its own. Not to be called on a runtime's thread: the HTTP client blocks the one
/// that it is made on.
///
/// # Errors
/// An endpoint that is no URL.
pub fn start(options: &Options) -> Result<Spans, Error> {
    let sent = Sent::default();
    // It goes nowhere else than where it was told to.
    let client = reqwest::blocking::Client::builder()
        .timeout(EXPORT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(url(&options.endpoint, "traces"))
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let exporter = Counted { exporter, sent: sent.clone() };
    let batch = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_SPANS)
        .with_max_export_batch_size(BATCH_SPANS)
        .with_scheduled_delay(EXPORT_INTERVAL)
        .build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batch).build();
    let processor = Bounded { processor, most: QUEUE_SPANS as u64, sent: sent.clone() };
    let mut resource = Resource::builder()
        .with_service_name(options.service.clone())
        .with_attribute(KeyValue::new("service.version", options.version))
        .with_attribute(KeyValue::new("service.instance.id", options.instance.clone()));
    if let Some(cluster) = &options.cluster {
        resource = resource.with_attribute(KeyValue::new("hypercache.cluster", cluster.clone()));
    }
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor)
        // Whoever begins a trace has decided already.
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_resource(resource.build())
        .build();
    Ok(Spans { provider, sent })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Figures;
    use opentelemetry::trace::{Tracer, TracerProvider};
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Instant;

    fn options(endpoint: &str) -> Options {
        Options {
            service: "test-service".into(),
            version: "1.2.3",
            instance: "demo-0".into(),
            cluster: Some("demo".into()),
            endpoint: endpoint.into(),
        }
    }

    #[test]
    fn an_endpoint_without_a_path_gets_the_one_of_otlp() {
        assert_eq!(url("http://c:4318", "traces"), "http://c:4318/v1/traces");
        assert_eq!(url("http://c:4318/", "metrics"), "http://c:4318/v1/metrics");
        assert_eq!(url("http://c:4318/own", "traces"), "http://c:4318/own");
    }

    #[test]
    fn an_endpoint_that_is_none_is_an_error_and_not_a_panic() {
        assert!(matches!(start(&options("http://[")), Err(Error::Endpoint(_))));
    }

    /// Answers one HTTP request and returns it.
    fn take_request(listener: &TcpListener, answer: &str) -> Vec<u8> {
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
        stream.write_all(answer.as_bytes()).unwrap();
        request
    }

    #[test]
    fn spans_reach_the_endpoint_before_the_process_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        let server = std::thread::spawn(move || take_request(&listener, ok));
        let spans = start(&options(&endpoint)).unwrap();
        let sent = spans.sent();
        drop(spans.provider().tracer("test").start("a_span_of_ours"));
        spans.shutdown(Duration::from_secs(10));
        let request = String::from_utf8_lossy(&server.join().unwrap()).into_owned();
        assert!(request.starts_with("POST /v1/traces "), "{request}");
        for text in ["a_span_of_ours", "test-service", "demo-0"] {
            assert!(request.contains(text), "{text}");
        }
        assert_eq!(sent.figures(), Figures { sent: 1, ..Figures::default() });
    }

    #[test]
    fn an_endpoint_that_sends_spans_elsewhere_loses_them() {
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = elsewhere.local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let answer = format!(
            "HTTP/1.1 307 Elsewhere\r\nlocation: http://{there}/v1/traces\r\ncontent-length: 0\r\n\r\n"
        );
        let server = std::thread::spawn(move || take_request(&listener, &answer));
        let spans = start(&options(&endpoint)).unwrap();
        let sent = spans.sent();
        drop(spans.provider().tracer("test").start("lost"));
        spans.shutdown(Duration::from_secs(10));
        server.join().unwrap();
        assert_eq!(sent.figures(), Figures { failed: 1, ..Figures::default() });
        elsewhere.set_nonblocking(true).unwrap();
        assert!(elsewhere.accept().is_err(), "it went there");
    }

    #[test]
    fn an_endpoint_that_never_answers_costs_the_spans_beyond_the_queue_and_no_time() {
        // Bound and never accepted: connecting works, an answer never comes.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let spans = start(&options(&endpoint)).unwrap();
        let tracer = spans.provider().tracer("test");
        let (began, more) = (Instant::now(), 100);
        for _ in 0..QUEUE_SPANS + more {
            drop(tracer.start("lost"));
        }
        assert!(began.elapsed() < EXPORT_TIMEOUT);
        let figures = spans.sent().figures();
        assert_eq!((figures.waiting, figures.dropped), (QUEUE_SPANS as u64, more as u64));
        let began = Instant::now();
        spans.shutdown(Duration::from_millis(50));
        assert!(began.elapsed() < EXPORT_TIMEOUT);
    }

    #[test]
    fn spans_that_an_endpoint_that_is_gone_does_not_take_are_counted() {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let spans = start(&options(&format!("http://{gone}"))).unwrap();
        let sent = spans.sent();
        drop(spans.provider().tracer("test").start("lost"));
        spans.shutdown(Duration::from_secs(10));
        assert_eq!(sent.figures(), Figures { failed: 1, ..Figures::default() });
    }
}
