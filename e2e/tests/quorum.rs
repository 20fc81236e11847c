//! Clients write to a quorum store through the Service, and everything is done to the cluster that
//! a platform team does to one: no acknowledged write is lost, and one retry at once cures every error.
//!
//! The cluster is in good order before each thing, and has to come back to it without a hand. It
//! prints the longest time in which no write was acknowledged.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use hypercache_e2e::{Client, Cluster, NoOperator, Space, in_space, until};
use serde_json::{Value, json};

/// The quorum store's number.
const STORE: u16 = 1;
/// Writes that are waited for before and after something is done.
const WRITES: usize = 1_000;

struct Scene<'a> {
    space: &'a Space,
    client: Client,
    cluster: Cluster,
    /// The Service's address: a name would be asked anew for each connection.
    address: String,
}

impl Scene<'_> {
    /// Does something while clients write.
    fn during(&self, what: &str, run: &str, act: impl FnOnce() -> Result<()>) -> Result<()> {
        let writers = self.client.writers(&self.address, STORE, run)?;
        writers.more(WRITES)?;
        let done = act().and_then(|()| writers.more(WRITES));
        let noted = writers.stop()?;
        println!("quorum: {what}: {noted}");
        let some = |list: &[String]| list.iter().take(5).cloned().collect::<Vec<_>>().join("\n  ");
        for (kind, list) in [("cured", &noted.errors), ("no connection", &noted.unconnected)] {
            if !list.is_empty() {
                println!("  {kind}: {}", some(list));
            }
        }
        done.with_context(|| what.to_owned())?;
        ensure!(noted.wrong.is_empty(), "{what}: wrong answers: {}", some(&noted.wrong));
        let uncured = &noted.uncured;
        ensure!(uncured.is_empty(), "{what}: a retry did not cure: {}", some(uncured));
        let mut lost = Vec::new();
        until(&format!("{what}: all can be read"), 30, || {
            lost = self.client.lost(&self.address, STORE, &noted)?;
            Ok(true)
        })?;
        ensure!(lost.is_empty(), "{what}: {} keys are wrong: {}", lost.len(), some(&lost));
        Ok(())
    }

    fn patch(&self, spec: &Value) -> Result<()> {
        let patch = json!({ "spec": spec }).to_string();
        let resource = ["patch", "hypercachecluster", self.cluster.name(), "--type=merge"];
        self.cluster.kubectl(&[&resource[..], &["-p", &patch]].concat())?;
        Ok(())
    }

    fn scale(&self, members: usize) -> Result<()> {
        let resource = format!("hypercachecluster/{}", self.cluster.name());
        self.cluster.kubectl(&["scale", &resource, &format!("--replicas={members}")])?;
        Ok(())
    }

    /// The resource asks for so many copies of another store.
    fn ask_for_copies(&self, factor: u8) -> Result<()> {
        let pages = json!({"name": "pages", "number": 2, "replicationFactor": factor});
        self.patch(&json!({ "stores": [orders(), pages] }))
    }

    /// Waits until another store has so many copies, all of them in sync.
    fn has_copies(&self, factor: u8) -> Result<()> {
        until(&format!("{factor} copies of the other store"), 120, || {
            let seen = self.cluster.admin(0)?;
            let stores = seen["stores"].as_array().context("no stores")?;
            let pages = stores.iter().find(|store| store["name"] == "pages");
            Ok(pages.is_some_and(|store| store["replication_factor_in_force"] == factor))
        })?;
        self.settled(3)?;
        self.cluster.wait_condition("StoresApplied", "True")
    }

    /// Waits until so many members are ready and alive, with all owners in sync and slots where
    /// they should be, by their own word: there may be no operator.
    fn settled(&self, members: usize) -> Result<()> {
        let mut last = Value::Null;
        until(&format!("{members} members in good order"), 120, || {
            self.cluster.has_pods(members)?;
            let seen = self.cluster.admin(0)?;
            last = json!([seen["members"], seen["ring"], seen["fully_replicated"]]);
            let all = seen["members"].as_array().context("no members")?;
            let alive = all.iter().filter(|member| member["state"] == "alive").count();
            Ok(alive == members
                && all.len() == members
                && seen["fully_replicated"] == true
                && seen["ring"]["balanced"] == true)
        })
        .with_context(|| format!("the members said {last}"))
    }

    fn uid(&self, pod: &str) -> Result<String> {
        self.cluster.kubectl(&["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"])
    }

    fn delete(&self, pod: &str, grace_seconds: u32) -> Result<()> {
        let former = self.uid(pod)?;
        self.cluster.delete_pods(Some(pod), grace_seconds)?;
        until(&format!("a new {pod}"), 60, || Ok(self.uid(pod)? != former))
    }

    fn node_of(&self, pod: &str) -> Result<String> {
        self.cluster.kubectl(&["get", "pod", pod, "-o", "jsonpath={.spec.nodeName}"])
    }

    /// A member whose node is not the clients', and the node.
    fn victim(&self) -> Result<(String, String)> {
        let clients = self.node_of("client")?;
        for member in 0..3 {
            let pod = self.cluster.pod(member);
            let node = self.node_of(&pod)?;
            if node != clients && !node.ends_with("control-plane") {
                return Ok((pod, node));
            }
        }
        bail!("every member is on the clients' node {clients}")
    }

    /// As a power failure: nothing on the node is told. Then it comes back.
    fn stop_node(&self, node: &str, meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
        docker(&["kill", node])?;
        let done = meanwhile();
        docker(&["start", node])?;
        self.space.kube().run(&[
            "wait",
            "--for=condition=Ready",
            &format!("node/{node}"),
            "--timeout=90s",
        ])?;
        done
    }
}

fn orders() -> Value {
    json!({"name": "orders", "number": STORE, "replicationFactor": 3, "acks": "quorum"})
}

fn docker(words: &[&str]) -> Result<()> {
    let output = Command::new("docker").args(words).output().context("docker cannot be run")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "docker {}: {complaint}", words.join(" "));
    Ok(())
}

#[test]
fn no_acknowledged_write_of_a_quorum_store_is_lost_whatever_is_done_to_the_cluster() -> Result<()> {
    in_space("quorum", |space| {
        let client = space.client()?;
        let stores = json!([orders()]);
        // As a platform team asks for it: who has only what others leave may be kept from the processor for longer than
        // its lease holds, and then answers nothing for that time.
        let resources = json!({"requests": {"cpu": "300m", "memory": "128Mi"}});
        let spec = json!({"members": 3, "stores": stores, "resources": resources});
        let cluster = space.cluster("kept", &spec)?;
        client.reaches(cluster.name())?;
        let address = cluster.kubectl(&[
            "get",
            "service",
            cluster.name(),
            "-o",
            "jsonpath={.spec.clusterIP}",
        ])?;
        let scene = Scene { space, client, cluster, address };
        scene.settled(3)?;
        scene.cluster.wait_condition("FullyReplicated", "True")?;
        let refused = scene.scale(2).err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(refused.contains("more copies of a key than there are members"), "{refused}");

        scene.during("scale 3 to 5 to 3", "scale", || {
            scene.scale(5)?;
            scene.cluster.wait_members(5)?;
            scene.settled(5)?;
            scene.cluster.wait_condition("RingBalanced", "True")?;
            scene.scale(3)?;
            scene.cluster.wait_members(3)?;
            scene.settled(3)
        })?;
        scene.cluster.wait_condition("Progressing", "False")?;

        scene.during("roll of the pod template", "roll", || {
            let before = scene.cluster.pods()?;
            scene.patch(&json!({"podAnnotations": {"example.com/rolled": "once"}}))?;
            scene.cluster.wait_ready()?;
            let after = scene.cluster.pods()?;
            ensure!(before.iter().all(|pod| !after.contains(pod)), "a pod stayed: {after:?}");
            scene.settled(3)
        })?;

        scene.during("delete a primary's pod", "delete", || {
            scene.delete(&scene.cluster.pod(1), 30)?;
            scene.settled(3)
        })?;
        scene.during("kill a primary's pod", "kill", || {
            scene.delete(&scene.cluster.pod(2), 1)?;
            scene.settled(3)
        })?;
        scene.during(
            "another store's copies, 2 to 3 to 2, pods killed meanwhile",
            "copies",
            || {
                scene.ask_for_copies(2)?;
                scene.has_copies(2)?;
                for (factor, member) in [(3, 0), (2, 1)] {
                    scene.ask_for_copies(factor)?;
                    scene.delete(&scene.cluster.pod(member), 1)?;
                    scene.has_copies(factor)?;
                }
                Ok(())
            },
        )?;
        let (_, node) = scene.victim()?;
        let stop_worker = |run: &str| {
            scene.during(&format!("stop a worker and start it again, {run}"), run, || {
                scene.stop_node(&node, || {
                    std::thread::sleep(std::time::Duration::from_secs(8));
                    Ok(())
                })?;
                scene.settled(3)
            })
        };
        stop_worker("operator-there")?;

        let without = NoOperator::begin(space.kube())?;
        scene.during("delete a primary's pod, no operator", "delete-alone", || {
            scene.delete(&scene.cluster.pod(0), 30)?;
            scene.settled(3)
        })?;
        scene.during("kill a primary's pod, no operator", "kill-alone", || {
            scene.delete(&scene.cluster.pod(1), 1)?;
            scene.settled(3)
        })?;
        stop_worker("no-operator")?;
        without.end()?;
        scene.cluster.wait_ready()
    })
}
