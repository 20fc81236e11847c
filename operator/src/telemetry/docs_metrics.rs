//! docs/metrics.md says what the table says, and the operator tells what stands there.

use std::collections::BTreeSet;

use hypercache_core::metric;
use hypercache_crds::HyperCacheCluster;
use kube::runtime::reflector;
use kube::runtime::watcher::Event;
use serde_json::json;

use super::Metrics;
use super::table::SECTIONS;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");

#[test]
fn the_page_of_metrics_says_what_the_table_says() {
    let page = std::fs::read_to_string(DOCUMENT).unwrap();
    let wanted = metric::with_part(&page, "operator", &metric::markdown(SECTIONS)).unwrap();
    if std::env::var_os("METRICS").is_some_and(|word| word == "write") {
        std::fs::write(DOCUMENT, &wanted).unwrap();
        return;
    }
    assert!(
        page == wanted,
        "docs/metrics.md is not up to date: METRICS=write cargo test -p hypercache-operator --lib docs_metrics"
    );
}

/// Everything once.
fn told() -> String {
    let metrics = Metrics::default();
    metrics.pass("settled", 0.01);
    metrics.pass_error("too_long");
    metrics.step("apply", "Forbidden");
    metrics.cluster_request("report", "ok");
    metrics.watch_error("Pod");
    metrics.api_call("patch", Some(200), 0.1);
    metrics.queued(2);
    metrics.set_ready(true);
    let (store, mut writer) = reflector::store::<HyperCacheCluster>();
    let cluster: HyperCacheCluster = serde_json::from_value(json!({
        "apiVersion": "hypercache.io/v1alpha1",
        "kind": "HyperCacheCluster",
        "metadata": {"name": "demo", "namespace": "shop"},
        "spec": {"members": 3},
        "status": {
            "members": 2,
            "readyMembers": 1,
            "operation": {"kind": "Roll", "step": "Restart", "message": "", "total": 3},
            "conditions": [{"type": "Ready", "status": "False", "reason": "x", "message": "",
                            "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        },
    }))
    .unwrap();
    writer.apply_watcher_event(&Event::Apply(cluster));
    metrics.add_clusters(store);
    metrics.text().unwrap()
}

#[test]
fn what_is_counted_is_in_the_text() {
    let text = told();
    for line in [
        r#"hypercache_operator_passes_total{result="settled"} 1"#,
        r#"hypercache_operator_steps_total{action="apply",result="Forbidden"} 1"#,
        r#"hypercache_operator_cluster_requests_total{action="report",result="ok"} 1"#,
        r#"hypercache_operator_watch_errors_total{kind="Pod"} 1"#,
        r#"hypercache_operator_api_calls_total{verb="patch",result="2xx"} 1"#,
        "hypercache_operator_pass_seconds_count 1",
        "hypercache_operator_queued_changes 2",
        "hypercache_operator_clusters 1",
        r#"hypercache_operator_cluster_condition{cluster_namespace="shop",cluster="demo",condition="Ready"} 0"#,
        r#"hypercache_operator_cluster_members{cluster_namespace="shop",cluster="demo",state="ready"} 1"#,
        r#"hypercache_operator_cluster_operation{cluster_namespace="shop",cluster="demo",kind="Roll",step="Restart"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn what_is_told_stands_in_the_table_and_the_other_way_round() {
    let text = told();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let told: BTreeSet<String> = types.map(str::to_owned).collect();
    let all = SECTIONS.iter().flat_map(|section| section.metrics);
    // OpenMetrics names a counter without its `_total`.
    let name = |metric: &metric::Metric| metric.name.trim_end_matches("_total").to_owned();
    let listed = all.map(|metric| format!("{} {}", name(metric), metric.kind.as_str()));
    assert_eq!(told, listed.collect());
}
