//! Growing and shrinking by the scale subresource: never at the price of data.

use anyhow::{Context, Result, ensure};
use hypercache_e2e::{in_space, until, until_some};
use serde_json::json;

const KEYS: usize = 2_000;

#[test]
fn a_cluster_grows_and_shrinks_and_a_member_with_data_is_not_taken_away() -> Result<()> {
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

        // out, with data: the new member answers by forwarding, and the status says so
        client.keys("hc-python", "plain", "fill", cluster.name(), KEYS, "kept")?;
        scale(4)?;
        cluster.wait_members(4)?;
        cluster.wait_ready()?;
        client.keys("hc-python", "plain", "check", &cluster.host(3), KEYS, "kept")?;
        cluster.wait_condition("RingBalanced", "False")?;
        let ring = cluster.condition("RingBalanced")?.context("no RingBalanced")?;
        ensure!(ring.reason == "SlotsHoldData", "{ring:?}");
        ensure!(slots(3)? == 0, "slots with data moved");

        // in: the one without slots goes, the one with data stays and a condition says why
        scale(2)?;
        let staying = cluster.pod(2);
        cluster.wait_members(3)?;
        until_some("a condition says why the member stays", 120, || {
            let condition = cluster.condition("MembersApplied")?.context("no MembersApplied")?;
            let says = condition.message.contains(&staying) && condition.message.contains("slots");
            Ok((condition.status == "False" && says).then_some(()))
        })?;
        let status = &cluster.resource()?["status"];
        ensure!(status["members"] == 3, "a member with data was taken away: {status}");
        client.keys("hc-python", "plain", "check", cluster.name(), KEYS, "kept")?;

        // its data deleted, it goes
        client.redis(cluster.name(), &["FLUSHALL"])?;
        cluster.wait_members(2)?;
        cluster.wait_ready()?;
        cluster.wait_condition("MembersApplied", "True")?;
        let size = client.redis(cluster.name(), &["DBSIZE"])?;
        ensure!(size == "0", "{size}");
        client.keys("hc-go", "plain", "fill", cluster.name(), KEYS, "after")?;
        client.keys("hc-go", "plain", "check", &cluster.host(1), KEYS, "after")?;
        Ok(())
    })
}
