//! Spans of real members, as a receiver built on OTLP's own messages gets them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use common::cluster::Cluster;
use common::otlp::Endpoint;
use common::{DEADLINE, Member, Raw, wait_for};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;

/// A span that was received.
#[derive(Debug, Clone)]
struct Received {
    /// The `service.instance.id` of who made it.
    member: String,
    name: String,
    kind: SpanKind,
    trace: String,
    id: String,
    parent: String,
    state: String,
    began: u64,
    ended: u64,
    attributes: Vec<(String, String)>,
}

impl Received {
    fn attribute(&self, name: &str) -> &str {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }
}

fn text(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let text = |attribute: &KeyValue| {
        let value = match attribute.value.clone().unwrap().value.unwrap() {
            Value::StringValue(text) => text,
            Value::IntValue(number) => number.to_string(),
            other => panic!("{other:?}"),
        };
        (attribute.key.clone(), value)
    };
    attributes.iter().map(text).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

type Spans = Arc<Mutex<Vec<Received>>>;

/// Takes spans, at a free port, until it is dropped.
struct Receiver {
    port: u16,
    spans: Spans,
    _endpoint: Endpoint,
}

async fn take(State(spans): State<Spans>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    for of in request.resource_spans {
        let resource = text(&of.resource.unwrap().attributes);
        let member = resource.iter().find(|(name, _)| name == "service.instance.id").unwrap();
        assert!(resource.contains(&("service.name".into(), "hypercache".into())), "{resource:?}");
        let received = of.scope_spans.into_iter().flat_map(|scope| scope.spans).map(|span| {
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
            Received {
                member: member.1.clone(),
                kind: span.kind(),
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                state: span.trace_state,
                began: span.start_time_unix_nano,
                ended: span.end_time_unix_nano,
                attributes: text(&span.attributes),
                name: span.name,
            }
        });
        spans.lock().unwrap().extend(received);
    }
}

impl Receiver {
    fn start() -> Self {
        let spans = Spans::default();
        let app = axum::Router::new().route("/v1/traces", post(take)).with_state(spans.clone());
        let endpoint = Endpoint::start(app);
        Self { port: endpoint.port, spans, _endpoint: endpoint }
    }

    /// Waits until a trace has a span of each of these names, and gives all that it has, in the order of their
    /// beginnings.
    fn trace(&self, of: &str, names: &[&str]) -> Vec<Received> {
        wait_for("the spans of a trace", || {
            let mut found = self.found(|span| span.trace == of);
            found.sort_by_key(|span| span.began);
            let is_there = |name: &&str| found.iter().any(|span| span.name == *name);
            names.iter().all(is_there).then_some(found)
        })
    }

    fn found(&self, fits: impl Fn(&Received) -> bool) -> Vec<Received> {
        self.spans.lock().unwrap().iter().filter(|span| fits(span)).cloned().collect()
    }
}

/// A store whose writes wait for two others, and for the disk.
fn yaml(port: u16, ratio: &str) -> String {
    format!(
        "telemetry: {{otlp_endpoint: 'http://127.0.0.1:{port}', trace_sample_ratio: {ratio}, exemplars: true}}\nstores:\n  \
         s: {{number: 1, replication_factor: 3, acks: all, persistence: {{mode: aof, fsync: always}}}}\n"
    )
}

/// A key that this member does not serve, and the member that does.
fn foreign_key(cluster: &Cluster, through: usize) -> (String, usize) {
    for n in 0.. {
        let key = format!("k{n}");
        let slot = cluster.raw(through).ask(&[b"CLUSTER", b"KEYSLOT", key.as_bytes()]);
        let slot: u16 =
            String::from_utf8(slot).unwrap().trim_matches([':', '\r', '\n']).parse().unwrap();
        let nodes = cluster.raw(through).ask(&[b"CLUSTER", b"NODES"]);
        let nodes = String::from_utf8(nodes).unwrap();
        let serves = |line: &&str| {
            line.split(' ').skip(8).any(|range| {
                let (from, to) = range.split_once('-').unwrap_or((range, range));
                (from.parse().unwrap_or(u16::MAX)..=to.parse().unwrap_or(0)).contains(&slot)
            })
        };
        let Some(line) = nodes.lines().find(serves) else { continue };
        let at = |i: &usize| line.contains(&format!(":{}@", cluster.ports[*i].0));
        let owner = (0..3).find(at).unwrap_or_else(|| panic!("no member of {line}"));
        if owner != through {
            return (key, owner);
        }
    }
    unreachable!()
}

fn wait_in_sync(cluster: &Cluster) {
    for member in &cluster.members {
        member.wait_for("all replicas", || {
            let status = member.http("GET /api/admin/cluster");
            status.contains("\"fully_replicated\":true").then_some(())
        });
    }
}

/// The spans of a write that goes to another member, is replicated and logged there.
const ALL: [&str; 5] = ["request", "forward", "execute", "log", "replicate"];

/// Checks them. A member that got no turn for long may have been asked more than once.
fn check(spans: &[Received], command: &str, from: &str, to: &str, parent: &str) {
    let one = |name: &str| {
        let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
        assert_eq!(found.len(), 1, "{name} in {spans:#?}");
        found[0].clone()
    };
    let [request, execute, log, replicate] = ["request", "execute", "log", "replicate"].map(one);
    let forward = spans.iter().find(|span| span.id == execute.parent);
    let forward = forward.unwrap_or_else(|| panic!("nothing led to {execute:#?} in {spans:#?}"));
    assert_eq!(forward.name, "forward");
    for (span, parent, member, kind) in [
        (&request, parent, from, SpanKind::Server),
        (forward, &request.id, from, SpanKind::Client),
        (&execute, &forward.id, to, SpanKind::Server),
        (&log, &execute.id, to, SpanKind::Internal),
        (&replicate, &execute.id, to, SpanKind::Internal),
    ] {
        assert_eq!((&*span.parent, &*span.member, span.kind), (parent, member, kind), "{span:#?}");
        assert_eq!(span.trace, request.trace);
        assert!(span.attribute("error.type").is_empty(), "{span:#?}");
    }
    assert!(request.began <= forward.began && forward.ended <= request.ended, "{spans:#?}");
    assert_eq!(execute.attribute("db.system.name"), "redis");
    assert_eq!(execute.attribute("db.operation.name"), command);
    assert_eq!(execute.attribute("db.namespace"), "1");
    assert_eq!(forward.attribute("hypercache.member"), to);
    assert_eq!(replicate.attribute("hypercache.replication.confirmations"), "2");
}

#[test]
fn a_write_that_is_forwarded_replicated_and_logged_has_its_spans_on_both_members() {
    let receiver = Receiver::start();
    let cluster = Cluster::start([0, 1, 2], &yaml(receiver.port, "1.0"));
    wait_in_sync(&cluster);
    let through = 1;
    let (key, owner) = foreign_key(&cluster, through);
    let (from, to) = (format!("m-{through}"), format!("m-{owner}"));

    // Over HTTP, as a part of somebody's trace.
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let headers = format!("traceparent: 00-{trace}-{parent}-01\r\ntracestate: a=b");
    let answer = put(&cluster.members[through], &key, &headers);
    assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
    let spans = receiver.trace(trace, &ALL);
    check(&spans, "SET", &from, &to, parent);
    let request = spans.iter().find(|span| span.name == "request").unwrap();
    assert_eq!(request.attribute("http.request.method"), "PUT");
    assert_eq!(request.attribute("http.route"), "/api/stores/{name}/keys/{key}");
    assert_eq!(request.attribute("db.operation.name"), "SET");
    assert!(request.attribute("http.response.status_code").starts_with('2'));
    assert!(spans.iter().all(|span| span.state == "a=b"), "{spans:#?}");

    // Over RESP, in a trace of its own.
    let mut raw = cluster.selected(through, "1");
    assert_eq!(raw.ask(&[b"SET", key.as_bytes(), b"a secret value"]), b"+OK\r\n");
    let request = wait_for("the span of a request over RESP", || {
        let of = |span: &Received| {
            span.name == "request"
                && span.attribute("db.operation.name") == "SET"
                && span.trace != trace
        };
        receiver.found(of).pop()
    });
    let spans = receiver.trace(&request.trace, &ALL);
    check(&spans, "SET", &from, &to, "");
    let told = cluster.members[through].open_metrics();
    let is_told = |line: &str| {
        line.contains("family=\"string\",store=\"s\"") && line.contains(&request.trace)
    };
    assert!(told.lines().any(is_told), "{request:#?} in {told}");

    // What is read there, and what cannot be done.
    assert_eq!(raw.ask(&[b"GET", key.as_bytes()]), b"$14\r\na secret value\r\n");
    assert!(raw.ask(&[b"LPUSH", key.as_bytes(), b"x"]).starts_with(b"-WRONGTYPE"));
    let failed = wait_for("the spans of a request that failed", || {
        let of = |span: &Received| {
            span.attribute("db.operation.name") == "LPUSH"
                && span.attribute("error.type") == "WRONGTYPE"
        };
        let found = receiver.found(of);
        (found.len() >= 2).then_some(found)
    });
    assert!(failed.iter().all(|span| span.trace == failed[0].trace), "{failed:#?}");

    // All in one pipeline: here and there, and as a transaction.
    let mut raw = cluster.selected(through, "1");
    let commands: [&[&[u8]]; 6] = [
        &[b"SET", key.as_bytes(), b"1"],
        &[b"PING"],
        &[b"INCR", key.as_bytes()],
        &[b"MULTI"],
        &[b"INCR", key.as_bytes()],
        &[b"EXEC"],
    ];
    raw.send(&commands.map(Raw::encode).concat());
    raw.expect(b"+OK\r\n+PONG\r\n:2\r\n+OK\r\n+QUEUED\r\n*1\r\n:3\r\n");
    let exec = wait_for("the spans of a transaction", || {
        let exec = receiver
            .found(|span| span.name == "execute" && span.attribute("db.operation.name") == "EXEC");
        exec.first().cloned()
    });
    check(&receiver.trace(&exec.trace, &ALL), "EXEC", &from, &to, "");

    // A wait at the other member, which another one ends.
    let mut raw = cluster.selected(through, "1");
    let list = format!("{{{key}}}list");
    raw.command(&[b"BLPOP", list.as_bytes(), b"0"]);
    let mut other = cluster.selected(owner, "1");
    cluster.members[owner].wait_for("a client that waits", || {
        let info = String::from_utf8(other.ask(&[b"INFO", b"clients"])).unwrap();
        info.contains("total_blocking_keys:1\r").then_some(())
    });
    assert_eq!(other.ask(&[b"RPUSH", list.as_bytes(), b"x"]), b":1\r\n");
    raw.expect(format!("*2\r\n${}\r\n{list}\r\n$1\r\nx\r\n", list.len()).as_bytes());
    let waited = wait_for("the spans of a wait", || {
        let of = |span: &Received| {
            span.name == "execute" && span.attribute("db.operation.name") == "BLPOP"
        };
        receiver.found(of).pop()
    });
    check(&receiver.trace(&waited.trace, &ALL), "BLPOP", &from, &to, "");

    let all = format!("{:?}", receiver.found(|_| true));
    assert!(!all.contains("a secret value"), "a value is in a span");
    assert!(!all.contains(&format!("\"{key}\"")), "a key is in a span");
}

/// A key of the store over HTTP, with these headers.
fn put(member: &Member, key: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", member.http_port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let body = "{\"value\": \"v\"}";
    write!(
        stream,
        "PUT /api/stores/s/keys/{key} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
         content-type: application/json\r\n{headers}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// A member alone, whose spans go there.
fn alone(port: u16, ratio: &str) -> Member {
    Member::start_with(
        "stores:\n  s: {number: 1}\nlog: {level: debug}\n",
        &[
            ("HYPERCACHE_OTLP_ENDPOINT", &format!("http://127.0.0.1:{port}")),
            ("HYPERCACHE_TRACE_SAMPLE_RATIO", ratio),
        ],
    )
}

#[test]
fn who_asks_decides_and_a_malformed_parent_decides_nothing() {
    let receiver = Receiver::start();
    let member = alone(receiver.port, "0");
    let trace = |n: u8| format!("{n:032x}");
    let parent =
        |n: u8, flags: &str| format!("traceparent: 00-{}-00f067aa0ba902b7-{flags}", trace(n));
    for headers in [
        parent(1, "00"),
        format!("{}\r\n{}", parent(2, "01"), parent(3, "01")),
        format!("{}x", parent(4, "01")),
        format!("traceparent: {}", "0".repeat(8_000)),
        "tracestate: a=b".into(),
        // The last, with a state that is none.
        format!("{}\r\ntracestate: {}", parent(5, "01"), "=,".repeat(1_000)),
    ] {
        let answer = put(&member, "k", &headers);
        assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
    let spans = receiver.trace(&trace(5), &["request", "execute"]);
    assert_eq!(spans.iter().map(|span| &*span.name).collect::<Vec<_>>(), ["request", "execute"]);
    // What came before went out before, or with it.
    assert_eq!(receiver.found(|_| true).len(), 2);
    let line = member.wait_for("a line of the request in that trace", || {
        let log = member.log();
        log.lines().find(|line| line.contains(&trace(5))).map(str::to_owned)
    });
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let request = spans.iter().find(|span| span.name == "request").unwrap();
    assert_eq!(
        (&line["trace.id"], &line["span.id"]),
        (&trace(5).into(), &request.id.clone().into())
    );
}

/// The value of a metric.
fn metric(member: &Member, name: &str) -> u64 {
    let text = member.http("GET /metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    line.unwrap_or_else(|| panic!("{name} in {text}")) as u64
}

/// So many requests, each of which has spans.
fn ask_much(raw: &mut Raw, requests: usize) {
    let request = Raw::encode(&[b"SET", b"k", b"v"]);
    for _ in 0..requests / 1_000 {
        raw.send(&request.repeat(1_000));
        raw.expect(&b"+OK\r\n".repeat(1_000));
    }
}

#[test]
fn an_endpoint_that_never_answers_costs_spans_that_are_counted_and_no_request() {
    // Bound and never accepted: connecting works, an answer never comes.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut member = alone(silent.local_addr().unwrap().port(), "1");
    let mut raw = member.raw();
    let dropped = "hypercache_telemetry_spans_dropped_total{reason=\"queue\"}";
    member.wait_for("spans that are dropped", || {
        ask_much(&mut raw, 10_000);
        (metric(&member, dropped) > 0).then_some(())
    });
    assert_eq!(metric(&member, "hypercache_telemetry_spans_sent_total"), 0);
    ask_much(&mut raw, 1_000);
    assert_eq!(member.terminate(), Some(0));
}

#[test]
fn an_endpoint_that_is_gone_costs_spans_that_are_counted_and_no_request() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut member = alone(gone.port(), "1");
    let mut raw = member.raw();
    ask_much(&mut raw, 1_000);
    // Lines of the log know their traces all the same.
    assert!(raw.ask(&[b"LPUSH", b"k", b"x"]).starts_with(b"-WRONGTYPE"));
    member.wait_for("a line of a failed command in its trace", || {
        let log = member.log();
        let line = log.lines().find(|line| line.contains("command-failed"))?.to_owned();
        line.contains("\"trace.id\":\"").then_some(())
    });
    let lost = "hypercache_telemetry_spans_dropped_total{reason=\"endpoint\"}";
    member.wait_for("spans that are lost", || (metric(&member, lost) >= 1_000).then_some(()));
    ask_much(&mut raw, 1_000);
    assert_eq!(member.terminate(), Some(0));
}
