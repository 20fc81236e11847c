//! The two Services.

use hypercache_crds::HyperCacheCluster;
use serde_json::{Value, json};

use super::{Kind, Wanted};
use crate::names::{GOSSIP_PORT, HTTP_PORT, Names, RESP_PORT};

fn port(name: &str, protocol: &str, number: u16) -> Value {
    json!({ "name": name, "protocol": protocol, "port": number, "targetPort": name })
}

/// Gives every member a name, also before it is ready: members find each other to get ready.
pub(super) fn headless(names: &Names) -> Wanted {
    Wanted {
        kind: Kind::Service,
        name: names.headless(),
        body: json!({
            "spec": {
                "type": "ClusterIP",
                "clusterIP": "None",
                "publishNotReadyAddresses": true,
                "selector": names.selector(),
                "ports": [
                    port("resp", "TCP", RESP_PORT),
                    port("http", "TCP", HTTP_PORT),
                    port("peer", "TCP", GOSSIP_PORT),
                    port("gossip", "UDP", GOSSIP_PORT),
                ],
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
                "ports": [port("resp", "TCP", RESP_PORT), port("http", "TCP", HTTP_PORT)],
            }
        }),
    }
}
