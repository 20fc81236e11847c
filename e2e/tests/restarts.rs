//! Pods die; the cluster comes back without a hand.

use anyhow::{Context, Result, ensure};
use hypercache_e2e::{Client, Cluster, OPERATOR_NAMESPACE, in_space, until};
use serde_json::json;

const MEMBERS: usize = 3;
/// Longer than a member takes to stop.
const GRACE_SECONDS: u32 = 60;

fn uid(cluster: &Cluster, pod: &str) -> Result<String> {
    cluster.kubectl(&["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"])
}

/// Every member answers for keys of every other one, also for those it has just come back with.
fn works(cluster: &Cluster, client: &Client, mark: &str) -> Result<()> {
    until("keys can be written and read through every member", 60, || {
        client.keys("hc-python", "plain", "fill", cluster.name(), 300, mark)?;
        for member in 0..MEMBERS {
            client.keys("hc-python", "plain", "check", &cluster.host(member), 300, mark)?;
        }
        Ok(true)
    })
}

/// A new pod of that name is there, and the cluster is Ready with all members.
fn back(cluster: &Cluster, pod: &str, former: &str) -> Result<()> {
    until(&format!("a new {pod}"), 90, || Ok(uid(cluster, pod)? != former))?;
    cluster.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{pod}"), "--timeout=120s"])?;
    cluster.wait_members(MEMBERS)?;
    cluster.wait_ready()
}

#[test]
fn o3_members_and_the_operator_come_back_one_by_one_and_all_at_once() -> Result<()> {
    in_space("restarts", |space| {
        let client = space.client()?;
        let stores = json!([{"name": "page_cache", "number": 2, "maxMemory": "64Mi"}]);
        let cluster = space.cluster("again", &json!({"members": MEMBERS, "stores": stores}))?;
        client.reaches(cluster.name())?;
        works(&cluster, &client, "before")?;
        let identity =
            cluster.admin(0)?["cluster_id"].as_str().context("no cluster_id")?.to_owned();

        for member in 0..MEMBERS {
            let pod = cluster.pod(member);
            let former = uid(&cluster, &pod)?;
            cluster.delete_pods(Some(&pod), GRACE_SECONDS)?;
            back(&cluster, &pod, &former)?;
            works(&cluster, &client, &format!("member-{member}"))?;
        }

        // the operator: an edit after its death reaches the members
        let operator = ["-n", OPERATOR_NAMESPACE];
        let label = ["-l", "app.kubernetes.io/name=hypercache-operator"];
        let pods = space.kube().run(&[
            operator[0],
            operator[1],
            "get",
            "pods",
            label[0],
            label[1],
            "-o",
            "name",
        ])?;
        ensure!(!pods.is_empty(), "no operator pod by its label");
        space.kube().run(&[
            operator[0],
            operator[1],
            "delete",
            "pods",
            label[0],
            label[1],
            "--timeout=60s",
        ])?;
        let patch = json!([{"op": "replace", "path": "/spec/stores/0/maxMemory", "value": "80Mi"}]);
        cluster.kubectl(&[
            "patch",
            "hypercachecluster",
            cluster.name(),
            "--type=json",
            "-p",
            &patch.to_string(),
        ])?;
        space.kube().run(&[
            operator[0],
            operator[1],
            "rollout",
            "status",
            "deployment/hypercache-operator",
            "--timeout=120s",
        ])?;
        until("the edit reached the members", 90, || {
            let seen = cluster.admin(0)?;
            let stores = seen["stores"].as_array().context("no stores")?;
            Ok(stores.iter().any(|one| {
                one["name"] == "page_cache" && one["max_memory_bytes"] == 80 * 1024 * 1024
            }))
        })?;
        cluster.wait_ready()?;

        // all members at once: new addresses for every one, the same cluster
        let former: Vec<_> = (0..MEMBERS)
            .map(|member| uid(&cluster, &cluster.pod(member)))
            .collect::<Result<_>>()?;
        cluster.delete_pods(None, GRACE_SECONDS)?;
        for (member, former) in former.iter().enumerate() {
            back(&cluster, &cluster.pod(member), former)?;
        }
        works(&cluster, &client, "all")?;
        ensure!(cluster.admin(0)?["cluster_id"] == identity.as_str(), "another cluster came back");
        Ok(())
    })
}
