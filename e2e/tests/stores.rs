//! Policies of stores change while the cluster runs.

use anyhow::{Context, Result, ensure};
use hypercache_e2e::{Cluster, in_space, until};
use serde_json::{Value, json};

fn edit(cluster: &Cluster, patch: &Value) -> Result<()> {
    cluster.kubectl(&[
        "patch",
        "hypercachecluster",
        cluster.name(),
        "--type=json",
        "-p",
        &patch.to_string(),
    ])?;
    Ok(())
}

fn store<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    list["stores"].as_array()?.iter().find(|one| one["name"] == name)
}

#[test]
fn an_edited_memory_bound_reaches_every_member_and_the_status_without_a_restart() -> Result<()> {
    in_space("stores", |space| {
        let client = space.client()?;
        let stores = json!([
            {"name": "user_sessions", "number": 1, "maxMemory": "64Mi"},
            {"name": "page_cache", "number": 2, "maxMemory": "64Mi"},
        ]);
        let cluster = space.cluster("edited", &json!({"members": 2, "stores": stores}))?;
        client.reaches(cluster.name())?;
        let pods = cluster.pods()?;
        ensure!(client.redis(cluster.name(), &["-n", "1", "SET", "key", "kept"])? == "OK");

        // a bound and a policy
        edit(
            &cluster,
            &json!([
                {"op": "replace", "path": "/spec/stores/0/maxMemory", "value": "96Mi"},
                {"op": "replace", "path": "/spec/stores/0/evictionPolicy", "value": "noeviction"},
                {"op": "add", "path": "/spec/stores/0/cuckooFilter", "value": {"falsePositiveRate": 0.002}},
            ]),
        )?;
        let bytes = 96 * 1024 * 1024;
        until("the status has the new bound", 60, || {
            let resource = cluster.resource()?;
            let seen = store(&resource["status"], "user_sessions").context("no such store")?;
            Ok(seen["maxMemoryBytes"] == bytes
                && seen["evictionPolicy"] == "noeviction"
                && seen["cuckooFilter"]["falsePositiveRate"] == 0.002
                && seen["applied"] == true)
        })?;
        for member in 0..2 {
            until("every member runs the new bound", 30, || {
                let seen = cluster.admin(member)?;
                let seen = store(&seen, "user_sessions").context("no such store")?;
                Ok(seen["max_memory_bytes"] == bytes
                    && seen["eviction_policy"] == "noeviction"
                    && seen["cuckoo_filter"]["false_positive_rate"] == 0.002)
            })?;
        }
        cluster.wait_condition("StoresApplied", "True")?;
        cluster.wait_ready()?;
        ensure!(client.redis(cluster.name(), &["-n", "1", "GET", "key"])? == "kept");

        // a new store
        edit(
            &cluster,
            &json!([{"op": "add", "path": "/spec/stores/-", "value": {"name": "later", "number": 9}}]),
        )?;
        until("the new store can be selected", 60, || {
            Ok(client.redis(cluster.name(), &["SELECT", "9"])? == "OK")
        })?;

        // a store that holds keys is not dropped, and the status says so until it is empty
        edit(&cluster, &json!([{"op": "remove", "path": "/spec/stores/0"}]))?;
        cluster.wait_condition("StoresApplied", "False")?;
        let condition = cluster.condition("StoresApplied")?.context("no StoresApplied")?;
        ensure!(condition.message.contains("user_sessions"), "{condition:?}");
        ensure!(client.redis(cluster.name(), &["-n", "1", "GET", "key"])? == "kept");
        client.redis(cluster.name(), &["-n", "1", "FLUSHDB"])?;
        until("the emptied store is gone", 90, || {
            Ok(client.redis(cluster.name(), &["SELECT", "1"]).is_err())
        })?;
        cluster.wait_condition("StoresApplied", "True")?;

        ensure!(cluster.pods()? == pods, "a pod was restarted");
        Ok(())
    })
}
