//! The members' configuration file. Stores are not in it: the cluster takes them online.

use hypercache_crds::{HyperCacheCluster, duration};
use serde_json::{Map, Value, json};

use super::{Kind, Wanted};
use crate::names::{BOOTSTRAP_ANNOTATION, CLUSTER_PORT, GOSSIP_PORT, Names};

/// The file's name in the ConfigMap.
pub(super) const FILE: &str = "config.yaml";
/// Where members keep what must survive a restart.
pub(super) const DATA_DIR: &str = "/data";

/// The configuration, as the object and as its text.
#[derive(Debug, Clone)]
pub struct Config {
    /// The ConfigMap.
    pub object: Wanted,
    /// The file.
    pub text: String,
}

/// Writes the file that `hypercache server --config` reads.
///
/// # Errors
/// When the values do not go into YAML.
pub fn config(
    cluster: &HyperCacheCluster,
    names: &Names,
    bootstrap_members: i32,
) -> Result<Config, serde_saphyr::ser::Error> {
    let settings = &cluster.spec.config;
    let mut node = Map::from_iter([("data_dir".to_owned(), json!(DATA_DIR))]);
    insert(&mut node, "threads", settings.threads);

    let mut network = Map::from_iter([("bind".to_owned(), json!("0.0.0.0"))]);
    let cluster_port = cluster.spec.service.cluster_port.then_some(CLUSTER_PORT);
    insert(&mut network, "cluster_port", cluster_port);
    insert(&mut network, "max_connections", settings.max_connections);
    insert(&mut network, "idle_timeout", settings.idle_timeout.as_deref().and_then(timeout));
    insert(&mut network, "request_timeout", settings.request_timeout.as_deref().and_then(timeout));

    let mut file = json!({
        "node": node,
        "network": network,
        "cluster": {
            "name": names.instance,
            "join": [format!("{}:{GOSSIP_PORT}", names.discovery_host())],
            "bootstrap_members": bootstrap_members,
        },
    });
    if let Some(newest) = settings.max_protocol {
        file["cluster"]["max_protocol"] = newest.into();
    }
    if let Some(level) = settings.log_level {
        file["log"] = json!({ "level": level.as_str() });
    }
    let mut telemetry = Map::new();
    insert(&mut telemetry, "otlp_endpoint", settings.otlp_endpoint.as_deref());
    insert(&mut telemetry, "otlp_metrics_endpoint", settings.otlp_metrics_endpoint.as_deref());
    insert(&mut telemetry, "trace_sample_ratio", settings.trace_sample_ratio.map(f64::from));
    insert(&mut telemetry, "exemplars", settings.exemplars);
    if !telemetry.is_empty() {
        file["telemetry"] = telemetry.into();
    }
    let text = serde_saphyr::to_string(&file)?;
    let object = Wanted {
        kind: Kind::ConfigMap,
        name: names.config(),
        body: json!({
            "metadata": { "annotations": { BOOTSTRAP_ANNOTATION: bootstrap_members.to_string() } },
            "data": { FILE: text },
        }),
    };
    Ok(Config { object, text })
}

fn insert(section: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        section.insert(key.to_owned(), value.into());
    }
}

/// A timeout in the one form that needs no care about the order of units. What cannot be read was
/// refused before anything is built.
fn timeout(text: &str) -> Option<String> {
    duration::millis(text).ok().map(|ms| format!("{ms}ms"))
}
