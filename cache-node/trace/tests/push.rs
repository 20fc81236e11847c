//! What becomes of metrics at endpoints that take them, refuse them, are gone, silent or hostile.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use hypercache_trace::{Error, Options, PointFigures, Push};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message;

const TEXT: &str =
    "# TYPE a_total counter\na_total{x=\"1\"} 1\na_total{x=\"2\"} 2\n# TYPE b gauge\nb 3\n";

fn options(endpoint: String) -> Options {
    Options {
        service: "test-service".into(),
        version: "1.2.3",
        instance: "demo-0".into(),
        cluster: Some("demo".into()),
        endpoint,
    }
}

/// Sends once, as at the end of a process.
fn send(endpoint: String) -> PointFigures {
    let push = Push::new(options(endpoint), Duration::from_secs(3_600)).unwrap();
    let sent = push.sent();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(push.run(|| Some(TEXT.to_owned()), std::future::ready(())));
    sent.figures()
}

/// Reads one HTTP request, and gives its head and its body.
fn take(listener: &TcpListener) -> (TcpStream, String, Vec<u8>) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let n = stream.read(&mut buffer).unwrap();
        request.extend_from_slice(&buffer[..n]);
        let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else {
            assert!(n > 0, "no head");
            continue;
        };
        let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let length: usize = length.unwrap();
        if request.len() >= end + 4 + length {
            return (stream, head, request[end + 4..].to_vec());
        }
    }
}

/// Sends to somebody who answers with `answer`, of whom no mistake is noticed.
fn answered(answer: Vec<u8>) -> (PointFigures, String, ExportMetricsServiceRequest) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, head, body) = take(&listener);
        let _ = stream.write_all(&answer);
        (head, ExportMetricsServiceRequest::decode(&*body).unwrap())
    });
    let figures = send(endpoint);
    let (head, request) = server.join().unwrap();
    (figures, head, request)
}

#[test]
fn metrics_reach_the_endpoint_with_who_sends_them() {
    let (figures, head, request) =
        answered(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec());
    assert_eq!(figures, PointFigures { sent: 3, ..PointFigures::default() });
    assert!(head.starts_with("post /v1/metrics "), "{head}");
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    let of = &request.resource_metrics[0];
    let said = format!("{:?}", of.resource);
    for text in ["service.name", "test-service", "demo-0", "1.2.3", "hypercache.cluster"] {
        assert!(said.contains(text), "{text} in {said}");
    }
    let names: Vec<_> = of.scope_metrics[0].metrics.iter().map(|metric| &*metric.name).collect();
    assert_eq!(names, ["a_total", "b"]);
}

#[test]
fn points_that_the_endpoint_says_it_refused_are_counted_and_never_more_than_were_sent() {
    for (rejected, refused) in [(1, 1), (99, 3), (-1, 0)] {
        let partial = ExportMetricsPartialSuccess {
            rejected_data_points: rejected,
            error_message: "no".into(),
        };
        let said = ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", said.len());
        let (figures, ..) = answered([head.into_bytes(), said].concat());
        assert_eq!(figures, PointFigures { sent: 3 - refused, refused, failed: 0 });
    }
}

#[test]
fn points_are_lost_where_the_endpoint_answers_with_an_error_or_sends_them_elsewhere() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = elsewhere.local_addr().unwrap();
    for answer in [
        "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 429 Later\r\ncontent-length: 0\r\n\r\n".to_owned(),
        format!("HTTP/1.1 307 Elsewhere\r\nlocation: http://{there}/\r\ncontent-length: 0\r\n\r\n"),
        "not HTTP at all\r\n\r\n".to_owned(),
    ] {
        let (figures, ..) = answered(answer.clone().into_bytes());
        assert_eq!(figures, PointFigures { failed: 3, ..PointFigures::default() }, "{answer}");
    }
    elsewhere.set_nonblocking(true).unwrap();
    assert!(elsewhere.accept().is_err(), "it went there");
}

#[test]
fn an_answer_without_end_is_not_read_to_its_end() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n".to_vec();
    let (figures, ..) = answered([head, vec![0xFF; 1 << 20]].concat());
    assert_eq!(figures, PointFigures { sent: 3, ..PointFigures::default() });
}

#[test]
fn an_endpoint_that_is_gone_or_silent_costs_points_and_little_time() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // Bound and never accepted: connecting works, an answer never comes.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [gone, silent.local_addr().unwrap()] {
        let began = Instant::now();
        let figures = send(format!("http://{address}"));
        assert_eq!(figures, PointFigures { failed: 3, ..PointFigures::default() });
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn an_endpoint_that_is_none_is_an_error_and_not_a_panic() {
    let push = Push::new(options("http://[".into()), Duration::from_secs(1));
    assert!(matches!(push, Err(Error::Url(_))));
}
