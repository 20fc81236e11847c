//! The names and labels of what belongs to a cluster.

use serde_json::{Value, json};

/// Who applies: the field manager of every write, and the `managed-by` label.
pub const MANAGER: &str = "hypercache-operator";
/// Where Redis's protocol is served.
pub const RESP_PORT: u16 = 8080;
/// Where it is served to cluster-mode clients, if it is, which are sent to the members of their keys.
pub const CLUSTER_PORT: u16 = 8081;
/// Where HTTP is served.
pub const HTTP_PORT: u16 = 9080;
/// Where members talk to each other, UDP and TCP.
pub const GOSSIP_PORT: u16 = 7946;
/// The label with the cluster's name.
pub const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";
/// Selects all that the operator made.
pub const MANAGED_SELECTOR: &str = "app.kubernetes.io/managed-by=hypercache-operator";
/// Says which desired object an object was last applied from.
pub const APPLIED_ANNOTATION: &str = "hypercache.io/applied";
/// How many members form the cluster when it does not exist yet.
pub const BOOTSTRAP_ANNOTATION: &str = "hypercache.io/bootstrap-members";
/// Changes when members must restart to see their configuration.
pub const CONFIG_ANNOTATION: &str = "hypercache.io/config";
/// The volume claim template, and the volume in the pod.
pub const DATA_VOLUME: &str = "data";

/// The names of one cluster's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The resource's name.
    pub instance: String,
    /// Its namespace.
    pub namespace: String,
}

impl Names {
    /// The names for a resource.
    pub fn new(instance: impl Into<String>, namespace: impl Into<String>) -> Self {
        Self { instance: instance.into(), namespace: namespace.into() }
    }

    /// The Service that gives each member a name of its own.
    pub fn headless(&self) -> String {
        format!("{}-headless", self.instance)
    }

    /// The ConfigMap with the members' configuration file.
    pub fn config(&self) -> String {
        format!("{}-config", self.instance)
    }

    /// The DNS name behind which all members are found.
    pub fn discovery_host(&self) -> String {
        format!("{}.{}.svc", self.headless(), self.namespace)
    }

    /// The member with an ordinal.
    pub fn member(&self, ordinal: i32) -> String {
        format!("{}-{ordinal}", self.instance)
    }

    /// The members that a cluster of a size has.
    pub fn members(&self, count: i32) -> Vec<String> {
        (0..count).map(|ordinal| self.member(ordinal)).collect()
    }

    /// The ordinal of a member or pod of this cluster.
    pub fn ordinal(&self, name: &str) -> Option<i32> {
        let digits = name.strip_prefix(&self.instance)?.strip_prefix('-')?;
        digits.parse().ok().filter(|ordinal| *ordinal >= 0 && self.member(*ordinal) == name)
    }

    /// The claim of a member's volume.
    pub fn claim(&self, ordinal: i32) -> String {
        format!("{DATA_VOLUME}-{}", self.member(ordinal))
    }

    /// The labels that select the members' pods. They never change.
    pub fn selector(&self) -> Value {
        json!({ "app.kubernetes.io/name": "hypercache", INSTANCE_LABEL: self.instance })
    }

    /// The selector as the scale subresource has it.
    pub fn selector_text(&self) -> String {
        format!("app.kubernetes.io/name=hypercache,{INSTANCE_LABEL}={}", self.instance)
    }

    /// The labels of every object of this cluster.
    pub fn labels(&self) -> Value {
        json!({
            "app.kubernetes.io/name": "hypercache",
            INSTANCE_LABEL: self.instance,
            "app.kubernetes.io/managed-by": MANAGER,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_are_read_from_names_of_this_cluster_only() {
        let names = Names::new("demo", "default");
        assert_eq!(names.ordinal("demo-0"), Some(0));
        assert_eq!(names.ordinal("demo-12"), Some(12));
        for other in ["demo", "demo-", "demo-x", "demo-01", "demo--1", "other-1", "demo-a-1"] {
            assert_eq!(names.ordinal(other), None, "{other}");
        }
    }
}
