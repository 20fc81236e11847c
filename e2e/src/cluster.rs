//! One `HyperCacheCluster` and its members.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::kube::Kube;
use crate::wait::until;

/// The longest that a cluster may take to become what its spec says.
const READY_SECONDS: u64 = 180;

/// One condition of a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// A cluster by the name of its resource.
#[derive(Debug)]
pub struct Cluster {
    kube: Kube,
    namespace: String,
    name: String,
}

impl Cluster {
    /// Applies a `HyperCacheCluster` with this spec.
    ///
    /// # Errors
    /// What the API server refused.
    pub fn apply(kube: Kube, namespace: &str, name: &str, spec: &Value) -> Result<Self> {
        kube.apply(&json!({
            "apiVersion": "hypercache.io/v1alpha1",
            "kind": "HyperCacheCluster",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }))?;
        Ok(Self { kube, namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// The resource's name, which is the client Service's too.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of member `number`'s pod.
    pub fn pod(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    /// The DNS name of member `number`, from its own namespace.
    pub fn host(&self, number: usize) -> String {
        format!("{}-{number}.{}-headless", self.name, self.name)
    }

    /// `kubectl -n NAMESPACE ARGUMENTS…`, which must go well.
    ///
    /// # Errors
    /// What it complained of.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut all = vec!["-n", self.namespace.as_str()];
        all.extend_from_slice(arguments);
        self.kube.run(&all)
    }

    /// The whole resource.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn resource(&self) -> Result<Value> {
        self.kube.json(&["-n", &self.namespace, "get", "hypercachecluster", &self.name])
    }

    /// A condition of the status, if the operator has looked at the newest spec and set it.
    ///
    /// # Errors
    /// When the resource cannot be read.
    pub fn condition(&self, kind: &str) -> Result<Option<Condition>> {
        Ok(condition_of(&self.resource()?, kind))
    }

    /// Waits until the condition has this status for the newest spec.
    ///
    /// # Errors
    /// After some minutes, with what it was.
    pub fn wait_condition(&self, kind: &str, status: &str) -> Result<()> {
        let mut last = None;
        until(&format!("condition {kind}={status} of {}", self.name), READY_SECONDS, || {
            last = self.condition(kind)?;
            Ok(last.as_ref().is_some_and(|condition| condition.status == status))
        })
        .with_context(|| format!("it was {last:?}"))
    }

    /// Waits until the cluster is Ready for the newest spec, and every member's pod too.
    ///
    /// # Errors
    /// After some minutes, with what it was.
    pub fn wait_ready(&self) -> Result<()> {
        self.wait_condition("Ready", "True")?;
        self.wait_condition("UpToDate", "True")
    }

    /// Waits until so many members are in the status and their pods are ready.
    ///
    /// # Errors
    /// After some minutes, with what it was.
    pub fn wait_members(&self, count: usize) -> Result<()> {
        let mut seen = 0;
        until(&format!("{count} ready pods of {}", self.name), READY_SECONDS, || {
            let set = self.kube.json(&["-n", &self.namespace, "get", "statefulset", &self.name])?;
            seen = set["status"]["readyReplicas"].as_u64().unwrap_or(0);
            Ok(seen == count as u64
                && set["spec"]["replicas"] == count
                && set["status"]["replicas"] == count)
        })
        .with_context(|| format!("there were {seen}"))
    }

    /// That so many pods are ready, and none other is there.
    ///
    /// # Errors
    /// When it is not so.
    pub fn has_pods(&self, count: usize) -> Result<()> {
        let label = format!("app.kubernetes.io/instance={}", self.name);
        let list = self.kube.json(&["-n", &self.namespace, "get", "pods", "-l", &label])?;
        let pods = list["items"].as_array().context("no list of pods")?;
        let is_ready = |pod: &&Value| {
            let conditions = pod["status"]["conditions"].as_array();
            let ready = conditions.into_iter().flatten().find(|one| one["type"] == "Ready");
            ready.is_some_and(|one| one["status"] == "True")
                && pod["metadata"]["deletionTimestamp"].is_null()
        };
        let ready = pods.iter().filter(is_ready).count();
        if (pods.len(), ready) != (count, count) {
            bail!("{ready} of {} pods are ready, {count} should", pods.len());
        }
        Ok(())
    }

    /// Deletes the members' pods, one by its name or (`None`) all at once, and waits until none of
    /// them is left; others of the same names may be there by then.
    ///
    /// # Errors
    /// When they cannot be deleted, or are not gone after two minutes.
    pub fn delete_pods(&self, pod: Option<&str>, grace_seconds: u32) -> Result<()> {
        let label = format!("-l=app.kubernetes.io/instance={}", self.name);
        let which = pod.unwrap_or(&label);
        let column = "-o=custom-columns=:metadata.uid";
        let uids = ["get", "pods", which, "--ignore-not-found", "--no-headers", column];
        let former = self.kubectl(&uids)?;
        // Its own wait does not see that a pod is gone when the next one of its name comes at
        // once (kubernetes/kubectl#1803).
        let grace = format!("--grace-period={grace_seconds}");
        self.kubectl(&["delete", "pods", which, &grace, "--wait=false"])?;
        until("the pods are gone", 120, || {
            let now = self.kubectl(&uids)?;
            Ok(!now.lines().any(|uid| former.lines().any(|one| one == uid)))
        })
    }

    /// Each member's pod, as (uid, restarts).
    ///
    /// # Errors
    /// When the pods cannot be read.
    pub fn pods(&self) -> Result<Vec<(String, u64)>> {
        let label = format!("app.kubernetes.io/instance={}", self.name);
        let list = self.kube.json(&["-n", &self.namespace, "get", "pods", "-l", &label])?;
        let items = list["items"].as_array().context("no list of pods")?;
        let mut pods: Vec<_> = items
            .iter()
            .map(|pod| {
                let restarts =
                    pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0);
                (pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned(), restarts)
            })
            .collect();
        pods.sort();
        Ok(pods)
    }

    /// What member `number` knows of the cluster (`GET /api/admin/cluster`).
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn admin(&self, number: usize) -> Result<Value> {
        let body =
            self.kube.pod_http(&self.namespace, &self.pod(number), 9080, "/api/admin/cluster")?;
        Ok(serde_json::from_str(&body)?)
    }

    /// The sum of a metric's series at member `number`.
    ///
    /// # Errors
    /// When the member has no such metric or cannot be asked.
    pub fn metric(&self, number: usize, metric: &str) -> Result<f64> {
        let text = self.kube.pod_http(&self.namespace, &self.pod(number), 9080, "/metrics")?;
        match sum_of(&text, metric) {
            Some(sum) => Ok(sum),
            None => bail!("{} has no metric {metric}", self.pod(number)),
        }
    }
}

/// The condition, unless the operator has yet to see the newest spec.
fn condition_of(resource: &Value, kind: &str) -> Option<Condition> {
    let generation = &resource["metadata"]["generation"];
    if &resource["status"]["observedGeneration"] != generation {
        return None;
    }
    let conditions = resource["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == kind)?;
    if found.get("observedGeneration").is_some_and(|seen| seen != generation) {
        return None;
    }
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    Some(Condition { status: text("status"), reason: text("reason"), message: text("message") })
}

/// The sum over a metric's series in Prometheus's text format.
fn sum_of(text: &str, metric: &str) -> Option<f64> {
    let mut sum = None;
    for line in text.lines() {
        let Some(rest) = line.strip_prefix(metric) else { continue };
        let value = match rest.strip_prefix('{') {
            Some(labels) => labels.rsplit_once("} ").map(|(_, value)| value),
            None => rest.strip_prefix(' '),
        };
        let first = value.and_then(|value| value.split(' ').next());
        if let Some(number) = first.and_then(|value| value.parse::<f64>().ok()) {
            sum = Some(sum.unwrap_or(0.0) + number);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_one_metric_are_added_and_longer_names_are_others() {
        let text = "# TYPE a_total counter\na_total{x=\"1\"} 2\na_total{x=\"} 9\"} 3 1700000000\na_total_more 5\na_total 1\n";
        assert_eq!(sum_of(text, "a_total"), Some(6.0));
        assert_eq!(sum_of(text, "b_total"), None);
    }

    #[test]
    fn a_condition_of_an_older_spec_does_not_count() {
        let resource = |seen: u64| {
            json!({
                "metadata": {"generation": 2},
                "status": {"observedGeneration": seen, "conditions": [{"type": "Ready", "status": "True", "reason": "AllReady", "message": "m"}]},
            })
        };
        assert_eq!(condition_of(&resource(1), "Ready"), None);
        assert_eq!(condition_of(&resource(2), "Ready").map(|c| c.status), Some("True".into()));
        assert_eq!(condition_of(&resource(2), "Other"), None);
    }
}
