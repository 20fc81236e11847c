//! Growing and shrinking by the scale subresource: slots move with what is in them.

use anyhow::{Result, ensure};
use hypercache_e2e::{in_space, until};
use serde_json::json;

const KEYS: usize = 2_000;

#[test]
fn o1_a_cluster_grows_and_shrinks_with_its_data() -> Result<()> {
    in_space("scale", |space| {
        let client = space.client()?;
        let cluster = space.cluster("grow", &json!({"members": 1}))?;
        client.reaches(cluster.name())?;
        let scale = |count: usize| {
            cluster.kubectl(&[
                "scale",
                &format!("hypercachecluster/{}", cluster.name()),
                &format!("--replicas={count}"),
            ])
        };
        let slots = |member: usize| -> Result<u64> {
            let seen = cluster.admin(0)?;
            let name = cluster.pod(member);
            let found = seen["members"]
                .as_array()
                .and_then(|all| all.iter().find(|one| one["name"] == name));
            Ok(found.and_then(|one| one["slots"].as_u64()).unwrap_or(0))
        };

        // out, while nothing is stored: the new members get their share
        scale(3)?;
        cluster.wait_members(3)?;
        cluster.wait_ready()?;
        cluster.wait_condition("RingBalanced", "True")?;
        until("the status tells of three members", 60, || {
            let status = &cluster.resource()?["status"];
            Ok(status["members"] == 3 && status["readyMembers"] == 3)
        })?;
        for member in 0..3 {
            ensure!(slots(member)? > 0, "member {member} owns no slot");
        }

        until("an event tells of it", 30, || {
            let about = format!("--field-selector=involvedObject.name={}", cluster.name());
            let told =
                cluster.kubectl(&["get", "events", &about, "-o", "jsonpath={.items[*].reason}"])?;
            let told: Vec<&str> = told.split_whitespace().collect();
            Ok(["CreateStarted", "ScaleOutStarted", "Ready"].iter().all(|one| told.contains(one)))
        })?;

        // out, with data: slots move with their keys, and every member answers for all meanwhile
        client.keys("hc-python", "plain", "fill", cluster.name(), KEYS, "kept")?;
        scale(4)?;
        cluster.wait_members(4)?;
        cluster.wait_ready()?;
        client.keys("hc-python", "plain", "check", &cluster.host(3), KEYS, "kept")?;
        until("the new member has its share", 120, || Ok(slots(3)? > 3_500))?;
        cluster.wait_condition("RingBalanced", "True")?;
        client.keys("hc-python", "plain", "check", cluster.name(), KEYS, "kept")?;

        // in: those that leave give their slots away first, with what is in them
        scale(2)?;
        cluster.wait_members(2)?;
        cluster.wait_ready()?;
        cluster.wait_condition("MembersApplied", "True")?;
        ensure!(slots(0)? + slots(1)? == 16_384, "a slot has no owner");
        for member in 0..2 {
            client.keys("hc-python", "plain", "check", &cluster.host(member), KEYS, "kept")?;
        }
        let size = client.redis(cluster.name(), &["DBSIZE"])?;
        ensure!(size == KEYS.to_string(), "{size} keys");
        client.keys("hc-go", "plain", "fill", cluster.name(), KEYS, "after")?;
        client.keys("hc-go", "plain", "check", &cluster.host(1), KEYS, "after")?;
        Ok(())
    })
}
