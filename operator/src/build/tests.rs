use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;
use crate::difference::covers;

fn cluster(spec: Value) -> HyperCacheCluster {
    serde_json::from_value(json!({
        "apiVersion": "hypercache.io/v1alpha1",
        "kind": "HyperCacheCluster",
        "metadata": { "name": "demo", "namespace": "caches", "uid": "u1", "generation": 4 },
        "spec": spec,
    }))
    .unwrap()
}

fn inputs() -> Inputs {
    Inputs {
        replicas: 3,
        bootstrap_members: 3,
        claim: Claim { size: "1Gi".into(), storage_class: None },
    }
}

fn wanted(cluster: &HyperCacheCluster, kind: Kind, name: &str) -> Value {
    let objects = objects(cluster, &inputs()).unwrap();
    objects.into_iter().find(|o| o.kind == kind && o.name == name).unwrap().body
}

fn full() -> HyperCacheCluster {
    cluster(json!({
        "members": 3,
        "image": "registry/hypercache:2",
        "imagePullPolicy": "Never",
        "imagePullSecrets": [{ "name": "registry" }],
        "stores": [{ "name": "a", "number": 1, "maxMemory": "64Mi" }],
        "storage": { "size": "2Gi", "storageClassName": "fast" },
        "resources": { "limits": { "memory": "256Mi" }, "requests": { "cpu": "0.5" } },
        "config": {
            "maxConnections": 100, "idleTimeout": "1h30m", "requestTimeout": "2s",
            "logLevel": "debug", "threads": 2, "maxProtocol": 2,
            "otlpEndpoint": "http://collector:4318", "traceSampleRatio": 0.25,
            "otlpMetricsEndpoint": "http://collector:4318", "exemplars": true,
        },
        "nodeSelector": { "pool": "caches" },
        "tolerations": [{ "key": "caches", "operator": "Exists" }],
        "topologySpreadConstraints": [],
        "podAnnotations": { "a": "b" },
        "podLabels": { "team": "x", "app.kubernetes.io/name": "other" },
        "terminationGracePeriodSeconds": 60,
        "service": { "type": "LoadBalancer", "annotations": { "lb": "internal" }, "clusterPort": true },
    }))
}

/// Kubernetes' own types read the object and lose nothing of it.
fn survives<K: DeserializeOwned + Serialize>(body: &Value) {
    let typed: K = serde_json::from_value(body.clone()).unwrap();
    let back = serde_json::to_value(typed).unwrap();
    assert!(covers(&back, body), "lost in\n{body:#}\nto\n{back:#}");
}

#[test]
fn every_object_is_what_kubernetes_types_say() {
    for cluster in [cluster(json!({})), full()] {
        let objects = objects(&cluster, &inputs()).unwrap();
        let names: Vec<(Kind, &str)> = objects.iter().map(|o| (o.kind, o.name.as_str())).collect();
        assert_eq!(
            names,
            [
                (Kind::ServiceAccount, "demo"),
                (Kind::ConfigMap, "demo-config"),
                (Kind::Service, "demo-headless"),
                (Kind::Service, "demo"),
                (Kind::PodDisruptionBudget, "demo"),
                (Kind::StatefulSet, "demo"),
            ]
        );
        for object in &objects {
            match object.kind {
                Kind::ServiceAccount => survives::<ServiceAccount>(&object.body),
                Kind::ConfigMap => survives::<ConfigMap>(&object.body),
                Kind::Service => survives::<Service>(&object.body),
                Kind::PodDisruptionBudget => survives::<PodDisruptionBudget>(&object.body),
                Kind::StatefulSet => survives::<StatefulSet>(&object.body),
            }
            let metadata = &object.body["metadata"];
            assert_eq!(metadata["namespace"], "caches");
            assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "hypercache-operator");
            assert_eq!(metadata["labels"]["app.kubernetes.io/instance"], "demo");
            assert_eq!(metadata["ownerReferences"][0]["uid"], "u1");
            assert_eq!(metadata["ownerReferences"][0]["controller"], true);
            assert!(metadata["annotations"][APPLIED_ANNOTATION].is_string());
        }
    }
}

#[test]
fn members_are_found_before_they_are_ready_and_clients_meet_ready_ones_only() {
    let cluster = cluster(json!({}));
    let headless = wanted(&cluster, Kind::Service, "demo-headless");
    assert_eq!(headless["spec"]["clusterIP"], "None");
    assert_eq!(headless["spec"]["publishNotReadyAddresses"], true);
    let client = wanted(&cluster, Kind::Service, "demo");
    assert!(client["spec"].get("publishNotReadyAddresses").is_none());
    assert_eq!(client["spec"]["ports"][0]["port"], 8080);
    assert_eq!(client["spec"]["ports"][1]["port"], 9080);
    for service in [headless, client] {
        assert_eq!(service["spec"]["selector"]["app.kubernetes.io/instance"], "demo");
    }
}

#[test]
fn cluster_mode_clients_have_a_port_of_their_own_where_it_is_wanted() {
    let names = |cluster: &HyperCacheCluster, kind, name| {
        let body = wanted(cluster, kind, name);
        let ports = match kind {
            Kind::Service => &body["spec"]["ports"],
            _ => &body["spec"]["template"]["spec"]["containers"][0]["ports"],
        };
        let of = |port: &Value| port["name"].as_str().unwrap().to_owned();
        ports.as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    let plain = cluster(json!({}));
    for (kind, name) in
        [(Kind::Service, "demo"), (Kind::Service, "demo-headless"), (Kind::StatefulSet, "demo")]
    {
        let (has, none) = (names(&full(), kind, name), names(&plain, kind, name));
        assert!(has.iter().any(|port| port == "resp-cluster"), "{name}: {has:?}");
        assert!(!none.iter().any(|port| port == "resp-cluster"), "{name}: {none:?}");
    }
}

#[test]
fn pods_satisfy_the_restricted_pod_security_standard() {
    let set = wanted(&full(), Kind::StatefulSet, "demo");
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["runAsUser"], 65532);
    assert_eq!(pod["securityContext"]["fsGroup"], 65532);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    for container in pod["containers"].as_array().unwrap() {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
    }
    for volume in pod["volumes"].as_array().unwrap() {
        assert!(volume.get("hostPath").is_none());
    }
}

#[test]
fn the_pod_is_told_who_it_is_and_probed_for_what_it_means() {
    let set = wanted(&cluster(json!({})), Kind::StatefulSet, "demo");
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["args"], json!(["server", "--config", "/etc/hypercache/config.yaml"]));
    let env = |name: &str| {
        container["env"].as_array().unwrap().iter().find(|e| e["name"] == name).unwrap().clone()
    };
    assert_eq!(env("HYPERCACHE_NODE_ID")["value"], "$(POD_NAME)");
    assert_eq!(env("HYPERCACHE_ADVERTISE")["value"], "$(POD_NAME).demo-headless.caches.svc");
    assert_eq!(container["env"][0]["name"], "POD_NAME", "it must stand before its uses");
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/livez");
    assert_eq!(container["startupProbe"]["httpGet"]["path"], "/livez");
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert_eq!(set["spec"]["podManagementPolicy"], "Parallel");
    assert_eq!(set["spec"]["serviceName"], "demo-headless");
    assert_eq!(set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"], "Retain");
}

#[test]
fn the_configuration_file_is_the_one_that_members_read() {
    let map = wanted(&full(), Kind::ConfigMap, "demo-config");
    let text = map["data"]["config.yaml"].as_str().unwrap();
    let file: Value = serde_saphyr::from_str(text).unwrap();
    assert_eq!(
        file,
        json!({
            "node": { "data_dir": "/data", "threads": 2 },
            "network": {
                "bind": "0.0.0.0", "cluster_port": 8081, "max_connections": 100,
                "idle_timeout": "5400000ms", "request_timeout": "2000ms",
            },
            "cluster": {
                "name": "demo",
                "join": ["demo-headless.caches.svc:7946"],
                "bootstrap_members": 3,
                "max_protocol": 2,
            },
            "log": { "level": "debug" },
            "telemetry": {
                "otlp_endpoint": "http://collector:4318", "trace_sample_ratio": 0.25,
                "otlp_metrics_endpoint": "http://collector:4318", "exemplars": true,
            },
        })
    );
}

#[test]
fn only_what_members_read_at_their_start_restarts_them() {
    let template = |cluster: &HyperCacheCluster, inputs: &Inputs| {
        let objects = objects(cluster, inputs).unwrap();
        objects.last().unwrap().body["spec"]["template"].clone()
    };
    let base = template(&cluster(json!({})), &inputs());
    for same in [
        json!({ "stores": [{ "name": "a", "number": 1, "maxMemory": "64Mi" }] }),
        json!({ "members": 7 }),
        json!({ "storage": { "size": "9Gi" } }),
        json!({ "service": { "type": "NodePort" } }),
    ] {
        let scaled = Inputs { replicas: 7, ..inputs() };
        assert_eq!(template(&cluster(same.clone()), &scaled), base, "{same}");
    }
    for other in [
        json!({ "image": "other" }),
        json!({ "config": { "threads": 2 } }),
        json!({ "resources": { "limits": { "memory": "1Gi" } } }),
        json!({ "podAnnotations": { "a": "b" } }),
    ] {
        assert_ne!(template(&cluster(other.clone()), &inputs()), base, "{other}");
    }
}

#[test]
fn pods_are_spread_unless_the_resource_says_otherwise() {
    let pod = |cluster: HyperCacheCluster| {
        wanted(&cluster, Kind::StatefulSet, "demo")["spec"]["template"]["spec"].clone()
    };
    let by_default = pod(cluster(json!({})));
    let keys: Vec<_> = by_default["topologySpreadConstraints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["topologyKey"].as_str().unwrap(), c["whenUnsatisfiable"].as_str().unwrap()))
        .collect();
    assert_eq!(
        keys,
        [
            ("topology.kubernetes.io/zone", "ScheduleAnyway"),
            ("kubernetes.io/hostname", "ScheduleAnyway"),
        ]
    );
    assert!(by_default["affinity"]["podAntiAffinity"].is_object());
    let own = pod(cluster(
        json!({ "affinity": { "nodeAffinity": {} }, "topologySpreadConstraints": [] }),
    ));
    assert_eq!(own["affinity"], json!({ "nodeAffinity": {} }));
    assert_eq!(own["topologySpreadConstraints"], json!([]));
}

#[test]
fn labels_of_the_resource_cannot_take_pods_out_of_the_services() {
    let set = wanted(&full(), Kind::StatefulSet, "demo");
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels["team"], "x");
    assert_eq!(labels["app.kubernetes.io/name"], "hypercache");
}

#[test]
fn a_drain_takes_one_member_at_a_time() {
    let budget = wanted(&full(), Kind::PodDisruptionBudget, "demo");
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
}
