//! What three real members tell at `/metrics` is what the table of metrics says, and tells of what clients did.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeSet;

use common::Member;
use common::cluster::Cluster;
use hypercache::telemetry::metrics::table::SECTIONS;

/// A store on the disk with copies and a filter, one by prefix, and backups.
fn cluster() -> (Cluster, tempfile::TempDir) {
    let backups = tempfile::tempdir().unwrap();
    let yaml = format!(
        "backup:\n  url: {}\ncache: {{max_memory: 64mb}}\nstores:\n  \
         kept: {{number: 1, replication_factor: 2, acks: all, cuckoo_filter: 0.01, \
         persistence: aof+snapshot}}\n  \
         pages: {{number: 2, key_prefixes: ['page:']}}\n",
        backups.path().display()
    );
    (Cluster::start([0, 1, 2], &yaml), backups)
}

/// Names and types of what a text tells.
fn told(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned).collect()
}

/// The sum over all members of the values of a series, given as it is written.
fn sum(cluster: &Cluster, series: &str) -> f64 {
    let of = |text: String| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.trim().parse().unwrap())
    };
    cluster.members.iter().map(|member| of(member.http("GET /metrics"))).sum()
}

#[test]
fn members_tell_what_the_table_of_metrics_says_and_what_clients_did() {
    let (cluster, _backups) = cluster();
    cluster.members[0].wait_for("copies in sync", || {
        let status = cluster.members[0].http("GET /api/admin/cluster");
        status.contains("\"fully_replicated\":true").then_some(())
    });
    let mut kept = cluster.selected(0, "1");
    for n in 0..40 {
        let key = format!("k{n}");
        let reply = kept.ask(&[b"SET", key.as_bytes(), b"v"]);
        assert_eq!(reply, b"+OK\r\n", "{}", String::from_utf8_lossy(&reply));
    }
    assert!(kept.ask(&[b"LPUSH", b"k1", b"v"]).starts_with(b"-WRONGTYPE"));
    assert_eq!(kept.ask(&[b"SAVE"]), b"+OK\r\n");
    let mut raw = cluster.raw(1);
    assert_eq!(raw.ask(&[b"SET", b"page:1", b"v"]), b"+OK\r\n");
    assert_eq!(raw.ask(&[b"GET", b"page:1"]), b"$1\r\nv\r\n");

    let texts =
        |text: String| text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap();
    let all: BTreeSet<String> = cluster
        .members
        .iter()
        .flat_map(|member| told(&texts(member.http("GET /metrics"))))
        .collect();
    let listed = SECTIONS.iter().flat_map(|section| section.metrics);
    let listed: BTreeSet<String> =
        listed.map(|metric| format!("{} {}", metric.name, metric.kind.as_str())).collect();
    assert_eq!(all, listed);

    let written = "hypercache_request_duration_seconds_count{family=\"string\",store=\"kept\"}";
    assert_eq!(sum(&cluster, written), 40.0);
    let paged = "hypercache_request_duration_seconds_count{family=\"string\",store=\"pages\"}";
    assert_eq!(sum(&cluster, paged), 2.0);
    assert_eq!(sum(&cluster, "hypercache_errors_total{kind=\"WRONGTYPE\",fault=\"client\"}"), 1.0);
    assert_eq!(sum(&cluster, "hypercache_errors_total{kind=\"OOM\",fault=\"server\"}"), 0.0);
    let mistakes =
        "hypercache_request_errors_total{family=\"list\",store=\"kept\",fault=\"client\"}";
    assert_eq!(sum(&cluster, mistakes), 1.0);
    assert!(sum(&cluster, "hypercache_confirm_duration_seconds_count") > 0.0);
    assert!(sum(&cluster, "hypercache_forward_duration_seconds_count") > 0.0);
    assert!(sum(&cluster, "hypercache_log_write_duration_seconds_count") > 0.0);
    assert_eq!(sum(&cluster, "hypercache_cluster_slots{role=\"primary\"}"), 16384.0);
    assert_eq!(sum(&cluster, "hypercache_raft_voters{state=\"alive\"}"), 9.0);
    assert!(sum(&cluster, "hypercache_disk_free_bytes") > 0.0);
}

#[test]
fn a_bucket_tells_the_trace_of_its_last_request_only_where_that_is_asked_for() {
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01\r\n");
    for (exemplars, told) in [("true", &["generic", "string"][..]), ("false", &[])] {
        let member = Member::start_with(
            "stores:\n  s: {number: 1}\n",
            &[
                // Nobody is there, and nobody has to be.
                ("HYPERCACHE_OTLP_ENDPOINT", "http://127.0.0.1:9"),
                ("HYPERCACHE_TRACE_SAMPLE_RATIO", "0"),
                ("HYPERCACHE_EXEMPLARS", exemplars),
            ],
        );
        // One that has spans, and others that have none. HTTP asks for the value and for its end.
        let of_a_trace = member.http_with("GET /api/stores/s/keys/k", &parent);
        assert!(of_a_trace.starts_with("HTTP/1.1 404"), "{of_a_trace}");
        assert!(member.http("GET /api/stores/s/keys/k").starts_with("HTTP/1.1 404"));
        assert_eq!(member.raw().ask(&[b"LPUSH", b"list", b"x"]), b":1\r\n");
        let text = member.open_metrics();
        let found: Vec<_> = text.lines().filter(|line| line.contains("trace_id")).collect();
        assert_eq!(found.len(), told.len(), "{found:#?}");
        for (line, family) in found.iter().zip(told) {
            assert!(line.starts_with("hypercache_request_duration_seconds_bucket{"), "{line}");
            assert!(line.contains(&format!(",family=\"{family}\",store=\"s\"}} ")), "{line}");
            assert!(line.contains(&format!(" # {{trace_id=\"{trace}\"}} ")), "{line}");
        }
        // The older format has no place for it.
        assert!(!member.http("GET /metrics").contains("trace_id"));
    }
}
