//! The members' StatefulSet.

use hypercache_crds::HyperCacheCluster;
use serde_json::{Map, Value, json};

use super::config::{Config, DATA_DIR, FILE};
use super::{Inputs, Kind, Wanted};
use crate::difference::digest;
use crate::names::{
    BOOTSTRAP_ANNOTATION, CLUSTER_PORT, CONFIG_ANNOTATION, DATA_VOLUME, GOSSIP_PORT, HTTP_PORT,
    Names, RESP_PORT,
};

/// The user and group that members run as.
const USER: i64 = 65532;
const CONFIG_VOLUME: &str = "config";
const CONFIG_DIR: &str = "/etc/hypercache";
/// How long a stopping member still serves, until Services have forgotten it.
const LINGER_SECONDS: i64 = 3;

/// Changes exactly when members must restart to see their configuration.
pub fn restart_digest(config_text: &str) -> String {
    digest(&json!(config_text))
}

pub(super) fn stateful_set(
    cluster: &HyperCacheCluster,
    names: &Names,
    inputs: &Inputs,
    config: &Config,
) -> Wanted {
    let mut claim = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": { "requests": { "storage": inputs.claim.size } },
    });
    if let Some(class) = &inputs.claim.storage_class {
        claim["storageClassName"] = json!(class);
    }
    Wanted {
        kind: Kind::StatefulSet,
        name: names.instance.clone(),
        body: json!({
            "metadata": {
                "annotations": { BOOTSTRAP_ANNOTATION: inputs.bootstrap_members.to_string() },
            },
            "spec": {
                "replicas": inputs.replicas,
                "serviceName": names.headless(),
                // Members wait for each other to form a cluster: one by one they never would.
                "podManagementPolicy": "Parallel",
                // Which pod goes next, and when, the operator decides: `plan/roll.rs`. What the API
                // server added to another strategy has to go.
                "updateStrategy": { "type": "OnDelete", "rollingUpdate": null },
                "revisionHistoryLimit": 5,
                "persistentVolumeClaimRetentionPolicy": {
                    "whenDeleted": cluster.spec.storage.retention.when_deleted.as_str(),
                    "whenScaled": cluster.spec.storage.retention.when_scaled.as_str(),
                },
                "selector": { "matchLabels": names.selector() },
                "template": template(cluster, names, config),
                "volumeClaimTemplates": [{
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "metadata": { "name": DATA_VOLUME, "labels": names.labels() },
                    "spec": claim,
                }],
            },
        }),
    }
}

fn template(cluster: &HyperCacheCluster, names: &Names, config: &Config) -> Value {
    let spec = &cluster.spec;
    let mut labels: Map<String, Value> =
        spec.pod_labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    // The operator's own win: Services and the budget select by them.
    if let Value::Object(own) = names.labels() {
        labels.extend(own);
    }
    let mut annotations: Map<String, Value> =
        spec.pod_annotations.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    annotations.insert(CONFIG_ANNOTATION.to_owned(), json!(restart_digest(&config.text)));

    let mut pod = json!({
        "serviceAccountName": names.instance,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": spec.termination_grace_period_seconds,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [container(cluster, names)],
        "volumes": [
            { "name": CONFIG_VOLUME, "configMap": { "name": names.config() } },
        ],
        "affinity": affinity(cluster, names),
        "topologySpreadConstraints": spread(cluster, names),
    });
    if !spec.image_pull_secrets.is_empty() {
        pod["imagePullSecrets"] = json!(spec.image_pull_secrets);
    }
    if !spec.node_selector.is_empty() {
        pod["nodeSelector"] = json!(spec.node_selector);
    }
    if !spec.tolerations.is_empty() {
        pod["tolerations"] = json!(spec.tolerations);
    }
    json!({ "metadata": { "labels": labels, "annotations": annotations }, "spec": pod })
}

fn container(cluster: &HyperCacheCluster, names: &Names) -> Value {
    let spec = &cluster.spec;
    let port = |name: &str, number: u16, protocol: &str| json!({ "name": name, "containerPort": number, "protocol": protocol });
    let mut ports = vec![
        port("resp", RESP_PORT, "TCP"),
        port("http", HTTP_PORT, "TCP"),
        port("peer", GOSSIP_PORT, "TCP"),
        port("gossip", GOSSIP_PORT, "UDP"),
    ];
    if spec.service.cluster_port {
        ports.push(port("resp-cluster", CLUSTER_PORT, "TCP"));
    }
    let mut container = json!({
        "name": "hypercache",
        "image": spec.image,
        "imagePullPolicy": spec.image_pull_policy.as_str(),
        "args": ["server", "--config", format!("{CONFIG_DIR}/{FILE}")],
        "env": [
            { "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
            { "name": "HYPERCACHE_NODE_ID", "value": "$(POD_NAME)" },
            {
                "name": "HYPERCACHE_ADVERTISE",
                "value": format!("$(POD_NAME).{}", names.discovery_host()),
            },
        ],
        "ports": ports,
        "volumeMounts": [
            { "name": DATA_VOLUME, "mountPath": DATA_DIR },
            { "name": CONFIG_VOLUME, "mountPath": CONFIG_DIR, "readOnly": true },
        ],
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "capabilities": { "drop": ["ALL"] },
        },
        // A minute to start, as reading a volume may take its time.
        "startupProbe": probe("/livez", 1, 2, 60),
        "livenessProbe": probe("/livez", 10, 5, 3),
        "readinessProbe": probe("/readyz", 3, 2, 2),
        "lifecycle": { "preStop": { "sleep": { "seconds": LINGER_SECONDS } } },
    });
    if let Some(resources) = &spec.resources {
        container["resources"] = json!(resources);
    }
    container
}

fn probe(path: &str, period_seconds: i32, timeout_seconds: i32, failures: i32) -> Value {
    json!({
        "httpGet": { "path": path, "port": "http" },
        "periodSeconds": period_seconds,
        "timeoutSeconds": timeout_seconds,
        "failureThreshold": failures,
    })
}

fn affinity(cluster: &HyperCacheCluster, names: &Names) -> Value {
    match &cluster.spec.affinity {
        Some(affinity) => json!(affinity),
        None => json!({
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [{
                    "weight": 100,
                    "podAffinityTerm": {
                        "topologyKey": "kubernetes.io/hostname",
                        "labelSelector": { "matchLabels": names.selector() },
                    },
                }],
            },
        }),
    }
}

fn spread(cluster: &HyperCacheCluster, names: &Names) -> Value {
    if let Some(constraints) = &cluster.spec.topology_spread_constraints {
        return json!(constraints);
    }
    let over = |topology_key: &str| {
        json!({
            "maxSkew": 1,
            "topologyKey": topology_key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": names.selector() },
        })
    };
    json!([over("topology.kubernetes.io/zone"), over("kubernetes.io/hostname")])
}
