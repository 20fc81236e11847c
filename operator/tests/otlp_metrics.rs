//! Metrics of a real operator, as a receiver built on OTLP's own messages gets them. It has no API server: its watches
//! fail, and it goes on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../../cache-node/tests/common/otlp.rs"]
mod otlp;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use hypercache_operator::telemetry::Metrics;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint};
use otlp::Endpoint;
use prost::Message;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(30);
const DROPPED: &str = "hypercache_operator_points_dropped_total";
const SENT: &str = "hypercache_operator_points_sent_total";

fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        if let Some(found) = condition() {
            return found;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    panic!("not within {DEADLINE:?}: {what}");
}

/// How the first request fares.
#[derive(Clone, Copy, PartialEq)]
enum First {
    Taken,
    Refused,
    NeverAnswered,
}

#[derive(Clone)]
struct Receiver {
    first: First,
    requests: Arc<Mutex<Vec<ExportMetricsServiceRequest>>>,
}

impl Receiver {
    fn start(first: First) -> (Self, Endpoint) {
        let receiver = Self { first, requests: Arc::default() };
        let app = axum::Router::new().route("/v1/metrics", post(take)).with_state(receiver.clone());
        (receiver, Endpoint::start(app))
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// The metrics of the last request.
    fn last(&self) -> Option<Vec<Metric>> {
        let requests = self.requests.lock().unwrap();
        let scopes = &requests.last()?.resource_metrics.first()?.scope_metrics;
        Some(scopes.iter().flat_map(|scope| scope.metrics.clone()).collect())
    }

    /// The values of a counter in the last request, with their attributes.
    fn counter(&self, name: &str) -> Option<Vec<NumberDataPoint>> {
        let metric = self.last()?.into_iter().find(|metric| metric.name == name)?;
        let Some(Data::Sum(sum)) = metric.data else { panic!("{name} is no counter") };
        Some(sum.data_points)
    }
}

async fn take(State(receiver): State<Receiver>, body: Bytes) -> StatusCode {
    let is_first = {
        let mut requests = receiver.requests.lock().unwrap();
        requests.push(ExportMetricsServiceRequest::decode(body).unwrap());
        requests.len() == 1
    };
    match receiver.first {
        First::Refused if is_first => StatusCode::SERVICE_UNAVAILABLE,
        First::NeverAnswered if is_first => std::future::pending().await,
        _ => StatusCode::OK,
    }
}

/// The operator's process, which is ended with this value.
struct Operator(Child);

impl Operator {
    /// One that runs, and so hears when it is asked to end.
    fn start(port: u16) -> Self {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let access = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{port}.yaml"));
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: none, \
              clusters: [{{name: none, cluster: {{server: 'http://{gone}'}}}}], \
              contexts: [{{name: none, context: {{cluster: none, user: none}}}}], \
              users: [{{name: none, user: {{}}}}]}}"
        );
        std::fs::write(&access, text).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_hypercache-operator"))
            .env("KUBECONFIG", access)
            .env("HOSTNAME", "operator-pod")
            .env("HYPERCACHE_OPERATOR_LISTEN", "127.0.0.1:0")
            .env("HYPERCACHE_OPERATOR_OTLP_METRICS_ENDPOINT", format!("http://127.0.0.1:{port}"))
            .env("HYPERCACHE_OPERATOR_OTLP_METRICS_INTERVAL", "1s")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut operator = Self(process);
        let lines = BufReader::new(operator.0.stdout.take().unwrap()).lines();
        let (runs, until_it_runs) = mpsc::channel();
        // Reads on to the end: a pipe that is full would hold the operator up.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if line.contains("operator-runs") {
                    let _ = runs.send(());
                }
            }
        });
        until_it_runs.recv_timeout(DEADLINE).unwrap();
        operator
    }

    /// Asks it to end; its exit code, and how long that took.
    fn terminate(&mut self) -> (Option<i32>, Duration) {
        let began = Instant::now();
        Command::new("kill").arg(self.0.id().to_string()).status().unwrap();
        let ended = wait_for("the end of the process", || self.0.try_wait().unwrap());
        (ended.code(), began.elapsed())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn value(point: &NumberDataPoint) -> f64 {
    match point.value {
        Some(Value::AsDouble(value)) => value,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_sent_is_what_metrics_tell_with_who_sends_it_and_a_last_time_at_the_end() {
    let (receiver, endpoint) = Receiver::start(First::Taken);
    let mut operator = Operator::start(endpoint.port);
    wait_for("points that are known as sent", || {
        receiver.counter(SENT)?.iter().any(|point| value(point) > 0.0).then_some(())
    });
    let names: BTreeSet<_> =
        receiver.last().unwrap().into_iter().map(|metric| metric.name).collect();
    // All that has a value without anything having happened.
    let text = Metrics::default().text().unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let scraped: BTreeSet<_> = samples
        .filter_map(|line| line.split(['{', ' ']).next())
        .map(|name| {
            let ends = ["_bucket", "_sum", "_count"];
            ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
        })
        .collect();
    assert!(scraped.len() > 5, "{text}");
    assert!(scraped.is_subset(&names), "{:?} were not sent", scraped.difference(&names));
    let resource = receiver.requests.lock().unwrap()[0].resource_metrics[0].resource.clone();
    let said = format!("{resource:?}");
    for word in ["service.name", "hypercache-operator", "service.instance.id", "operator-pod"] {
        assert!(said.contains(word), "{word} is not in {said}");
    }
    let before = receiver.count();
    let (code, _) = operator.terminate();
    assert_eq!(code, Some(0));
    assert!(receiver.count() > before, "nothing was sent at the end");
}

#[test]
fn points_that_an_endpoint_refused_or_never_answered_are_counted_and_sending_goes_on() {
    for first in [First::Refused, First::NeverAnswered] {
        let (receiver, endpoint) = Receiver::start(first);
        let mut operator = Operator::start(endpoint.port);
        let lost = wait_for("points that are known as lost", || {
            let points = receiver.counter(DROPPED)?;
            let lost = points.into_iter().find(|point| value(point) > 0.0)?;
            Some(format!("{:?}", lost.attributes))
        });
        assert!(lost.contains("\"endpoint\""), "{lost}");
        assert_eq!(operator.terminate().0, Some(0));
    }
}

#[test]
fn an_endpoint_that_is_gone_or_silent_holds_up_no_end() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // Bound and never accepted: connecting works, an answer never comes.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    for address in [gone, silent.local_addr().unwrap()] {
        let mut operator = Operator::start(address.port());
        let request = (address != gone).then(|| wait_for("a request", || silent.accept().ok()));
        let (code, took) = operator.terminate();
        assert_eq!(code, Some(0), "{address}");
        assert!(took < Duration::from_secs(10), "{took:?}");
        drop(request);
    }
}
