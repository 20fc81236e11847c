//! A store's cuckoo filter in a cluster of three: over HTTP, by RESP, and while it is switched.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::cluster::Cluster;
use common::{Member, Raw, wait_for};
use serde_json::{Value, json};

const YAML: &str = "stores: {seen: {number: 1, cuckoo_filter: 0.05}, plain: {number: 2}}\n";

fn body(reply: &str) -> Value {
    let (_, body) = reply.split_once("\r\n\r\n").unwrap_or_default();
    serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {reply}"))
}

fn get(member: &Member, path: &str) -> Value {
    body(&member.http(&format!("GET {path}")))
}

fn set_many(raw: &mut Raw, keys: std::ops::Range<usize>) {
    for n in keys.clone() {
        raw.command(&[b"SET", format!("key:{n}").as_bytes(), b"v"]);
    }
    keys.for_each(|_| raw.expect(b"+OK\r\n"));
}

#[test]
fn l8_the_filter_of_a_cluster_hides_no_key_and_can_be_switched_with_data_in_place() {
    let cluster = Cluster::start([0, 1, 2], YAML);
    let mut raw = cluster.raw(0);
    raw.ask(&[b"SELECT", b"1"]);
    set_many(&mut raw, 0..3000);

    // Whoever is asked, the owner answers; a key that is there is never surely absent.
    let mut members = std::collections::BTreeSet::new();
    let mut absent = 0;
    for n in 0..60 {
        let member = &cluster.members[n % 3];
        let there = get(member, &format!("/api/filter/check/key:{n}?store=seen"));
        assert_eq!(there["verdict"], "may_be_present", "{there}");
        members.insert(there["member"].as_str().unwrap().to_owned());
        let not = get(member, &format!("/api/filter/check/none:{n}?store=seen"));
        absent += usize::from(not["may_be_present"] == json!(false));
    }
    assert_eq!(members.len(), 3, "keys of all members");
    assert!(absent >= 45, "{absent} of 60 known to be absent");
    let off = get(&cluster.members[0], "/api/filter/check/key:1?store=plain");
    assert_eq!((&off["verdict"], &off["may_be_present"]), (&json!("no_filter"), &Value::Null));
    let unknown = get(&cluster.members[0], "/api/filter/check/key:1?store=nothing");
    assert_eq!(unknown["error"]["code"], "unknown_store");

    // Figures over all members.
    for n in 0..600 {
        // In the slot of a key that is there: an empty slot has no filter to ask.
        raw.command(&[b"GET", format!("{{key:{n}}}:none").as_bytes()]);
    }
    (0..600).for_each(|_| raw.expect(b"$-1\r\n"));
    let stats = get(&cluster.members[2], "/api/filter/stats?store=seen");
    assert_eq!(stats["keys"], 3000, "{stats}");
    assert_eq!(stats["members"].as_array().unwrap().len(), 3);
    assert_eq!(stats["cuckoo_filter"], json!({ "enabled": true, "false_positive_rate": 0.05 }));
    let figure = |name: &str| stats[name].as_u64().unwrap();
    assert!(figure("negatives") >= 500 && figure("bytes") > 0, "{stats}");
    assert!(figure("negatives") + figure("false_positives") >= 600, "{stats}");
    let metrics = cluster.members[0].http("GET /metrics");
    assert!(metrics.contains("hypercache_store_filter_bytes{store=\"seen\"}"), "{metrics}");
    let info = String::from_utf8(raw.ask(&[b"INFO", b"filters"])).unwrap();
    assert!(info.contains("filter1:rate=0.05,keys="), "{info}");

    // Off, on for a store that has data, and another rate; no key is ever hidden.
    for (name, setting, keys) in [
        ("seen", "false", 0),
        ("seen", "{\"enabled\": true, \"false_positive_rate\": 0.001}", 3000),
        ("seen", "0.1", 3000),
    ] {
        let patch = format!("{{\"cuckoo_filter\": {setting}}}");
        let path = format!("PATCH /api/stores/{name}");
        let changed = body(&cluster.members[1].http_json(&path, &patch));
        assert_eq!(changed["cuckoo_filter"]["enabled"], json!(setting != "false"), "{changed}");
        wait_for("filters as the policy says", || {
            let stats = get(&cluster.members[0], "/api/filter/stats?store=seen");
            (stats["keys"] == keys && stats["cuckoo_filter"] == changed["cuckoo_filter"])
                .then_some(())
        });
        for n in 0..3000 {
            raw.command(&[b"EXISTS", format!("key:{n}").as_bytes()]);
        }
        (0..3000).for_each(|_| raw.expect(b":1\r\n"));
    }
    let bad =
        body(&cluster.members[1].http_json("PATCH /api/stores/seen", "{\"cuckoo_filter\": 0.5}"));
    assert_eq!(bad["error"]["field"], "cuckoo_filter");
    let bad =
        body(&cluster.members[1].http_json("PATCH /api/stores/seen", "{\"cuckoo_filter\": 1e999}"));
    assert_eq!(bad["error"]["code"], "invalid_json");
    let patch =
        body(&cluster.members[1].http_json("PATCH /api/stores/seen", "{\"cuckoo_filter\": null}"));
    assert_eq!(patch["cuckoo_filter"], json!({ "enabled": false }));

    // With the store, by its words over RESP.
    let stores = String::from_utf8_lossy(&raw.ask(&[b"STORES"])).into_owned();
    assert!(stores.contains("cuckoo_filter") && stores.contains("false_positive_rate"), "{stores}");
}
