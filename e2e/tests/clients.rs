//! Any client on any member: plain ones are forwarded, cluster-aware ones need no hop.

use anyhow::{Result, ensure};
use hypercache_e2e::{Cluster, in_space};
use serde_json::json;

const MEMBERS: usize = 3;
const KEYS: usize = 10_000;
const FORWARDED: &str = "hypercache_forwarded_requests_total";

fn forwarded(cluster: &Cluster) -> Result<Vec<f64>> {
    (0..MEMBERS).map(|member| cluster.metric(member, FORWARDED)).collect()
}

#[test]
fn keys_written_through_one_member_are_read_through_every_other_and_cluster_clients_need_no_hop()
-> Result<()> {
    in_space("clients", |space| {
        let client = space.client()?;
        let cluster = space
            .cluster("many", &json!({"members": MEMBERS, "service": {"clusterPort": true}}))?;
        client.reaches(cluster.name())?;

        // every member owns a share, so that there is something to forward
        let owners = cluster.admin(0)?;
        for member in owners["members"].as_array().into_iter().flatten() {
            ensure!(member["slots"].as_u64() > Some(0), "a member owns no slot: {owners}");
        }

        let before = forwarded(&cluster)?;
        client.keys("hc-python", "plain", "fill", &cluster.host(0), KEYS, "plain")?;
        for member in 1..MEMBERS {
            client.keys("hc-python", "plain", "check", &cluster.host(member), KEYS, "plain")?;
            client.keys("hc-go", "plain", "check", &cluster.host(member), KEYS, "plain")?;
        }
        ensure!(client.redis(&cluster.host(1), &["DBSIZE"])? == KEYS.to_string());
        let after = forwarded(&cluster)?;
        ensure!(
            before.iter().sum::<f64>() < after.iter().sum::<f64>(),
            "nothing was forwarded: {before:?}, {after:?}"
        );

        // those of the plain client and its own, straight from the owners
        client.keys("hc-python", "cluster", "check", &cluster.host(1), KEYS, "plain")?;
        client.keys("hc-python", "cluster", "fill", cluster.name(), KEYS, "straight")?;
        client.keys("hc-python", "cluster", "check", cluster.name(), KEYS, "straight")?;
        client.keys("hc-go", "cluster", "check", cluster.name(), KEYS, "straight")?;
        let straight = forwarded(&cluster)?;
        ensure!(
            straight == after,
            "cluster-aware clients were forwarded: {after:?} became {straight:?}"
        );

        // on the other port they are sent to the owners, whichever member they ask
        let mut sent = 0;
        for n in 0..20 {
            let (key, value) = (format!("sent:{n}"), n.to_string());
            let host = cluster.host(n % MEMBERS);
            let alone = client.redis_at(&host, "8081", &["SET", &key, &value]);
            sent += usize::from(alone.is_err_and(|error| format!("{error:#}").contains("MOVED")));
            client.redis_at(cluster.name(), "8081", &["-c", "SET", &key, &value])?;
            ensure!(client.redis(&host, &["GET", &key])? == value, "{key}");
            client.redis(&host, &["DEL", &key])?;
        }
        ensure!(sent > 0, "nobody was sent to the owner of a key");

        client.keys("hc-go", "plain", "check", &cluster.host(2), KEYS, "straight")?;
        client.keys("hc-go", "plain", "wipe", &cluster.host(0), KEYS, "straight")?;
        ensure!(client.redis(&cluster.host(2), &["DBSIZE"])? == KEYS.to_string());
        Ok(())
    })
}
