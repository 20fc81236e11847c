//! The two Services.

use hypercache_crds::HyperCacheCluster;
use serde_json::{Value, json};

use super::{Kind, Wanted};
use crate::names::{CLUSTER_PORT, GOSSIP_PORT, HTTP_PORT, Names, RESP_PORT};

fn port(name: &str, protocol: &str, number: u16) -> Value {
    json!({ "name": name, "protocol": protocol, "port": number, "targetPort": name })
}

/// Where clients connect.
fn for_clients(cluster: &HyperCacheCluster) -> Vec<Value> {
    let mut ports = vec![port("resp", "TCP", RESP_PORT), port("http", "TCP", HTTP_PORT)];
    if cluster.spec.service.cluster_port {
        ports.push(port("resp-cluster", "TCP", CLUSTER_PORT));
    }
    ports
}

/// Gives every member a name, also before it is ready: members find each other to get ready.
pub(super) fn headless(cluster: &HyperCacheCluster, names: &Names) -> Wanted {
    let mut ports = for_clients(cluster);
    ports.extend([port("peer", "TCP", GOSSIP_PORT), port("gossip", "UDP", GOSSIP_PORT)]);
    Wanted {
        kind: Kind::Service,
        name: names.headless(),
        body: json!({
            "spec": {
                "type": "ClusterIP",
                "clusterIP": "None",
                "publishNotReadyAddresses": true,
                "selector": names.selector(),
                "ports": ports,
            }
        }),
    }
}

/// What clients connect to: any member that is ready.
pub(super) fn client(cluster: &HyperCacheCluster, names: &Names) -> Wanted {
    let service = &cluster.spec.service;
    Wanted {
        kind: Kind::Service,
        name: names.instance.clone(),
        body: json!({
            "metadata": { "annotations": service.annotations },
            "spec": {
                "type": service.type_.as_str(),
                "selector": names.selector(),
                "ports": for_clients(cluster),
            }
        }),
    }
}
