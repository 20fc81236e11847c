//! Metrics of a real member, as a receiver built on OTLP's own messages gets them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use common::otlp::Endpoint;
use common::{Member, wait_for};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use prost::Message;

type Requests = Arc<Mutex<Vec<ExportMetricsServiceRequest>>>;

async fn take(State(requests): State<Requests>, body: Bytes) {
    requests.lock().unwrap().push(ExportMetricsServiceRequest::decode(body).unwrap());
}

/// Takes metrics, at a free port, until it is dropped.
struct Receiver {
    port: u16,
    requests: Requests,
    _endpoint: Endpoint,
}

impl Receiver {
    fn start() -> Self {
        let requests = Requests::default();
        let app = axum::Router::new().route("/v1/metrics", post(take)).with_state(requests.clone());
        let endpoint = Endpoint::start(app);
        Self { port: endpoint.port, requests, _endpoint: endpoint }
    }

    /// The metrics of the last request.
    fn last(&self) -> Option<Vec<Metric>> {
        let requests = self.requests.lock().unwrap();
        let scopes = &requests.last()?.resource_metrics.first()?.scope_metrics;
        Some(scopes.iter().flat_map(|scope| scope.metrics.clone()).collect())
    }
}

fn member(port: u16) -> Member {
    Member::start_with(
        "",
        &[
            ("HYPERCACHE_OTLP_METRICS_ENDPOINT", &format!("http://127.0.0.1:{port}")),
            ("HYPERCACHE_OTLP_METRICS_INTERVAL", "1s"),
        ],
    )
}

/// The names that `/metrics` tells, with their types.
fn scraped(member: &Member) -> BTreeSet<(String, String)> {
    let text = member.http("GET /metrics");
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.trim().to_owned())).collect()
}

#[test]
fn what_is_sent_has_the_names_types_and_values_of_what_is_scraped() {
    let receiver = Receiver::start();
    let mut member = member(receiver.port);
    let mut raw = member.raw();
    for _ in 0..3 {
        assert_eq!(raw.ask(&[b"SET", b"k", b"v"]), b"+OK\r\n");
    }
    let wanted = scraped(&member);
    let metrics = wait_for("a request with all metrics and three SETs", || {
        let metrics = receiver.last()?;
        let names: BTreeSet<_> = metrics.iter().map(|metric| &metric.name).collect();
        let set = metrics.iter().find(|metric| metric.name == "hypercache_commands_total")?;
        let Some(Data::Sum(sum)) = &set.data else { panic!("{set:?}") };
        let of_set = |point: &&_| format!("{point:?}").contains("\"set\"");
        let point = sum.data_points.iter().find(of_set)?;
        let is_all = wanted.iter().all(|(name, _)| names.contains(name));
        (is_all && point.value == Some(Value::AsDouble(3.0))).then_some(metrics)
    });
    for metric in &metrics {
        let kind = match metric.data.as_ref().unwrap() {
            Data::Gauge(_) => "gauge",
            Data::Sum(sum) if sum.is_monotonic => "counter",
            Data::Histogram(_) => "histogram",
            other => panic!("{other:?}"),
        };
        let known = scraped(&member).contains(&(metric.name.clone(), kind.to_owned()));
        assert!(known, "{} is no {kind} of /metrics", metric.name);
    }
    let resource = receiver.requests.lock().unwrap()[0].resource_metrics[0].resource.clone();
    assert!(format!("{resource:?}").contains("service.instance.id"), "{resource:?}");
    member.wait_for("points that were sent", || {
        let text = member.http("GET /metrics");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("hypercache_telemetry_points_sent_total "));
        line.is_some_and(|number| number.trim() != "0").then_some(())
    });
    // The last ones are sent when it ends.
    let before = receiver.requests.lock().unwrap().len();
    assert_eq!(member.terminate(), Some(0));
    assert!(receiver.requests.lock().unwrap().len() > before);
}

#[test]
fn an_endpoint_that_is_gone_or_silent_costs_points_that_are_counted_and_no_request() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // Bound and never accepted: connecting works, an answer never comes.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [gone, silent.local_addr().unwrap()] {
        let mut member = member(address.port());
        let lost = "hypercache_telemetry_points_dropped_total{reason=\"endpoint\"} ";
        member.wait_for("points that are lost", || {
            assert_eq!(member.raw().ask(&[b"PING"]), b"+PONG\r\n");
            let text = member.http("GET /metrics");
            let line = text.lines().find_map(|line| line.strip_prefix(lost));
            line.is_some_and(|number| number.trim() != "0").then_some(())
        });
        assert_eq!(member.terminate(), Some(0));
    }
}
