//! The chart with everything on, and a Prometheus that the Prometheus Operator runs: what the monitors select is up, the
//! rules are loaded, the operator's dashboard has data.

use anyhow::{Context, Result, ensure};
use hypercache_e2e::{
    Cluster, OPERATOR_NAMESPACE, Prometheus, Space, chart, in_space, install_with, until,
};
use serde_json::{Value, json};

const MEMBERS: usize = 2;

/// Panels that show what is wrong, and nothing here where nothing is.
const QUIET: [&str; 1] = ["Watches that broke off"];

#[test]
fn the_chart_with_everything_on_installs_and_a_prometheus_in_the_cluster_sees_all() -> Result<()> {
    in_space("monitoring", |space| {
        let kube = space.kube();
        Prometheus::operator(space)?;
        space.apply("monitoring/receiver.yaml")?;
        let ready = ["wait", "--for=condition=Ready", "pod/receiver", "--timeout=60s"];
        kube.run(&[&["-n", space.namespace()], &ready[..]].concat())?;
        let receiver = format!("http://receiver.{}:4318", space.namespace());
        install_everything(space, &receiver)?;

        let spec = json!({
            "members": MEMBERS,
            "config": {
                "otlpEndpoint": receiver,
                "otlpMetricsEndpoint": receiver,
                "traceSampleRatio": 1,
            },
        });
        let cluster = space.cluster("seen", &spec)?;
        let client = space.client()?;
        client.reaches(cluster.name())?;
        // A cluster that does not come up, for what is shown of such ones.
        let broken = json!({"members": 1, "image": "hypercache/none:0"});
        Cluster::apply(kube.clone(), space.namespace(), "broken", &broken)?;

        let prometheus = Prometheus::start(space)?;
        targets_are_up(space, &prometheus)?;
        rules_are_loaded(space, &prometheus)?;

        let of = format!("{{namespace=\"{}\",cluster=\"seen\"}}", space.namespace());
        prometheus.wait_series(&format!("hypercache_store_keys{of}"), MEMBERS)?;
        prometheus.wait_series("hypercache_operator_ready == 1", 1)?;
        for what in ["spans", "points"] {
            let sent = format!("hypercache_telemetry_{what}_sent_total{of} > 0");
            prometheus.wait_series(&sent, MEMBERS)?;
        }
        for what in ["spans", "points"] {
            let sent = format!("hypercache_operator_{what}_sent_total > 0");
            prometheus.wait_series(&sent, 1)?;
        }
        dashboards_have_data(space, &prometheus)?;
        daemons_run(space)
    })
}

fn install_everything(space: &Space, receiver: &str) -> Result<()> {
    let tracing = format!("tracing.otlpEndpoint={receiver}");
    let metrics = format!("metrics.otlpEndpoint={receiver},metrics.otlpInterval=2s");
    let values = [
        "monitoring.enabled=true",
        "monitoring.podMonitor.enabled=true",
        "monitoring.podMonitor.interval=2s",
        "monitoring.podMonitor.scrapeTimeout=2s",
        "monitoring.prometheusRule.enabled=true",
        "monitoring.dashboards.enabled=true",
        "logging.filebeat.enabled=true",
        "logging.filebeat.image.repository=hypercache/filebeat-stand-in",
        "logging.filebeat.image.tag=0.1.0",
        "logging.filebeat.elasticsearch.url=http://elasticsearch:9200",
        &tracing,
        &metrics,
    ];
    install_with(space.kube(), &chart(), &values)
}

/// Each member and the operator is a target, with the labels that dashboards and alerts go by, and is up; no target of
/// the monitors is not.
fn targets_are_up(space: &Space, prometheus: &Prometheus) -> Result<()> {
    let namespace = space.namespace();
    let mut last = Value::Null;
    until("all targets are up", 90, || {
        last = prometheus.api("targets?state=active")?;
        let targets = last["activeTargets"].as_array().context("no targets")?;
        let ours = |target: &&Value| {
            [namespace, OPERATOR_NAMESPACE]
                .map(Value::from)
                .contains(&target["labels"]["namespace"])
        };
        let mut up: Vec<_> = targets
            .iter()
            .filter(ours)
            .filter(|target| target["labels"]["cluster"] != "broken")
            .map(|target| {
                let label = |name: &str| target["labels"][name].as_str().unwrap_or_default();
                ensure!(target["health"] == "up", "{target}");
                Ok([label("job"), label("cluster"), label("member")].join(" "))
            })
            .collect::<Result<_>>()?;
        up.sort();
        let members = (0..MEMBERS).map(|number| format!("hypercache seen seen-{number}"));
        let wanted: Vec<_> = members.chain(["hypercache-operator  ".to_owned()]).collect();
        ensure!(up == wanted, "{up:?}");
        Ok(true)
    })
    .with_context(|| format!("targets: {last}"))
}

/// All groups of the chart's PrometheusRule, without an error.
fn rules_are_loaded(space: &Space, prometheus: &Prometheus) -> Result<()> {
    let rule = space.kube().json(&[
        "-n",
        OPERATOR_NAMESPACE,
        "get",
        "prometheusrule",
        "hypercache-operator",
    ])?;
    let names = |groups: &Value| -> Vec<String> {
        let groups = groups.as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        let name = |rule: &Value| {
            let known = ["alert", "record", "name"].iter().find_map(|key| rule[key].as_str());
            known.unwrap_or_default().to_owned()
        };
        let mut names: Vec<_> = rules.map(name).collect();
        names.sort();
        names
    };
    let wanted = names(&rule["spec"]["groups"]);
    ensure!(wanted.len() > 50, "the chart has {} rules", wanted.len());
    until("all rules are evaluated", 90, || {
        let loaded = prometheus.api("rules")?;
        ensure!(names(&loaded["groups"]) == wanted, "loaded: {:?}", names(&loaded["groups"]));
        let groups = loaded["groups"].as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        let wrong: Vec<_> = rules.filter(|rule| rule["health"] != "ok").collect();
        ensure!(wrong.is_empty(), "{wrong:?}");
        Ok(true)
    })
}

/// Each dashboard is a ConfigMap, Prometheus takes each of their queries, and each of the operator's gives data.
fn dashboards_have_data(space: &Space, prometheus: &Prometheus) -> Result<()> {
    let maps = ["-n", OPERATOR_NAMESPACE, "get", "configmaps", "-l", "grafana_dashboard=1"];
    let maps = space.kube().json(&maps)?;
    let maps = maps["items"].as_array().context("no list of ConfigMaps")?;
    ensure!(maps.len() == 5, "{} dashboards", maps.len());
    for text in maps.iter().filter_map(|map| map["data"].as_object()).flat_map(|data| data.values())
    {
        let board: Value = serde_json::from_str(text.as_str().context("no text")?)?;
        let is_operators = board["uid"].as_str().is_some_and(|uid| uid.contains("operator"));
        for panel in board["panels"].as_array().context("no panels")? {
            let title = panel["title"].as_str().unwrap_or_default();
            for target in panel["targets"].as_array().into_iter().flatten() {
                let query = chosen(target["expr"].as_str().context("no query")?);
                prometheus.query(&query).with_context(|| title.to_owned())?;
                if is_operators && !QUIET.contains(&title) {
                    until(&format!("{title} has data: {query}"), 60, || {
                        Ok(!prometheus.query(&query)?.is_empty())
                    })?;
                }
            }
        }
    }
    Ok(())
}

/// A panel's query with all values of its variables.
fn chosen(query: &str) -> String {
    let mut query = query.replace("$__rate_interval", "1m").replace("$__range", "1h");
    for name in ["namespace", "cluster", "member", "store"] {
        query = query.replace(&format!("${name}"), ".*");
    }
    query
}

/// What stands in for Filebeat runs on every node, which it does only with all that the chart gives to Filebeat.
fn daemons_run(space: &Space) -> Result<()> {
    let kube = space.kube();
    let nodes = kube.json(&["get", "nodes"])?["items"].as_array().map_or(0, Vec::len);
    let get = ["-n", OPERATOR_NAMESPACE, "get", "daemonset", "hypercache-operator-filebeat"];
    until("Filebeat is on every node", 60, || {
        let status = &kube.json(&get)?["status"];
        Ok(status["desiredNumberScheduled"] == nodes && status["numberReady"] == nodes)
    })
}
