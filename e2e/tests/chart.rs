//! What the chart makes with which values. Asks no cluster.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use hypercache_e2e::render;

/// The Prometheus operator's.
const API: &str = "monitoring.coreos.com/v1";
const POD: &str = "monitoring.podMonitor.enabled=true";
const SERVICE: &str = "monitoring.serviceMonitor.enabled=true";
const RULE: &str = "monitoring.prometheusRule.enabled=true";

/// How many objects of each of these kinds there are.
fn kinds<'a>(objects: &str, of: &[&'a str]) -> BTreeMap<&'a str, usize> {
    let count = |kind: &str| {
        let line = format!("kind: {kind}");
        objects.lines().filter(|known| *known == line).count()
    };
    of.iter().map(|kind| (*kind, count(kind))).filter(|(_, count)| *count > 0).collect()
}

#[test]
fn monitors_and_rules_are_made_where_a_value_says_so_and_their_api_is_there() -> Result<()> {
    let of = ["PodMonitor", "ServiceMonitor", "PrometheusRule", "Service"];
    let wanted = [
        (vec![], vec![]),
        (vec![POD], vec![("PodMonitor", 2)]),
        (vec![SERVICE], vec![("ServiceMonitor", 2), ("Service", 1)]),
        (vec![RULE], vec![("PrometheusRule", 1)]),
        (vec![POD, RULE], vec![("PodMonitor", 2), ("PrometheusRule", 1)]),
    ];
    for (values, with_api) in &wanted {
        let wanted: BTreeMap<_, _> = with_api.iter().copied().collect();
        let objects = render(&[API], values)?.checked("helm template")?;
        ensure!(kinds(&objects, &of) == wanted, "{values:?}: {:?}", kinds(&objects, &of));
        let objects = render(&[], values)?.checked("helm template without the API")?;
        ensure!(kinds(&objects, &of).is_empty(), "{values:?}: {:?}", kinds(&objects, &of));
        ensure!(objects.contains("kind: Deployment"), "no operator");
    }
    Ok(())
}

#[test]
fn the_same_is_not_scraped_twice() -> Result<()> {
    let both = render(&[API], &[POD, SERVICE])?;
    ensure!(!both.ok && both.stderr.contains("enable one of them"), "{both:?}");
    // Nor by annotations, by whoever looks for these.
    let objects = render(&[API], &[SERVICE])?.checked("helm template")?;
    ensure!(!objects.contains("prometheus.io/scrape"), "{objects}");
    let objects = render(&[API], &["monitoring.enabled=true"])?.checked("helm template")?;
    ensure!(objects.contains("prometheus.io/scrape"), "{objects}");
    Ok(())
}

#[test]
fn monitors_give_the_labels_that_dashboards_go_by_and_look_where_the_operator_does() -> Result<()> {
    for values in [POD, SERVICE] {
        let objects = render(&[API], &[values])?.checked("helm template")?;
        for line in ["targetLabel: cluster", "targetLabel: member", "any: true"] {
            ensure!(objects.matches(line).count() == 1, "{line} with {values}: {objects}");
        }
        let job = "jobLabel: app.kubernetes.io/name";
        ensure!(objects.matches(job).count() == 2, "{job} with {values}: {objects}");
        let some = render(&[API], &[values, "watchNamespaces={shop}"])?.checked("helm template")?;
        ensure!(!some.contains("any: true"), "{some}");
        ensure!(some.contains("matchNames:\n      - shop\n"), "{some}");
    }
    Ok(())
}

#[test]
fn the_operator_sends_metrics_where_a_value_says() -> Result<()> {
    let name = "name: HYPERCACHE_OPERATOR_OTLP_METRICS_ENDPOINT";
    let objects = render(&[], &[])?.checked("helm template")?;
    ensure!(!objects.contains(name), "{objects}");
    let objects = render(&[], &["metrics.otlpEndpoint=http://c:4318"])?.checked("helm template")?;
    for line in [name, "value: \"http://c:4318\"", "value: \"30s\""] {
        ensure!(objects.contains(line), "{line}: {objects}");
    }
    ensure!(
        !render(&[], &["metrics.otlpEndpoint=c:4318"])?.ok,
        "an endpoint without http:// passes"
    );
    Ok(())
}
