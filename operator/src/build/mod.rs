//! From the resource to the objects that should be: pure functions that write the JSON which
//! server-side apply takes. A test reads each of them back through Kubernetes' own types.

mod config;
mod services;
mod stateful_set;
mod support;

use hypercache_crds::HyperCacheCluster;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use crate::difference::digest;
use crate::names::{APPLIED_ANNOTATION, Names};

pub use config::{Config, config};
pub use stateful_set::restart_digest;

/// The kinds of objects that a cluster is made of, in the order they are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The identity of the pods, which may do nothing.
    ServiceAccount,
    /// The members' configuration file.
    ConfigMap,
    /// The headless and the client Service.
    Service,
    /// Keeps drains from taking two members at a time.
    PodDisruptionBudget,
    /// The members.
    StatefulSet,
}

impl Kind {
    /// The kind's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::ConfigMap => "ConfigMap",
            Self::Service => "Service",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::StatefulSet => "StatefulSet",
        }
    }

    /// The API version.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::ServiceAccount | Self::ConfigMap | Self::Service => "v1",
            Self::PodDisruptionBudget => "policy/v1",
            Self::StatefulSet => "apps/v1",
        }
    }
}

/// An object that should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// All of it that the operator decides.
    pub body: Value,
}

/// What the objects depend on besides the resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// How many pods there should be now.
    pub replicas: i32,
    /// How many members form the cluster when it does not exist yet.
    pub bootstrap_members: i32,
    /// The size and class in the claim template, which cannot change once it is there.
    pub claim: Claim,
}

/// The claim template of the members' volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The quantity that is asked for.
    pub size: String,
    /// The storage class; `None` for the default one.
    pub storage_class: Option<String>,
}

/// Everything that a cluster is made of.
///
/// # Errors
/// When the configuration does not go into YAML.
pub fn objects(
    cluster: &HyperCacheCluster,
    inputs: &Inputs,
) -> Result<Vec<Wanted>, serde_saphyr::ser::Error> {
    let names = Names::new(cluster.name_any(), cluster.namespace().unwrap_or_default());
    let config = config(cluster, &names, inputs.bootstrap_members)?;
    let mut objects = vec![
        support::service_account(&names),
        config.object.clone(),
        services::headless(cluster, &names),
        services::client(cluster, &names),
        support::disruption_budget(&names),
        stateful_set::stateful_set(cluster, &names, inputs, &config),
    ];
    for object in &mut objects {
        finish(cluster, &names, object);
    }
    Ok(objects)
}

/// Adds what every object has: type, name, owner, labels and the digest of it all.
fn finish(cluster: &HyperCacheCluster, names: &Names, object: &mut Wanted) {
    let body = &mut object.body;
    body["apiVersion"] = json!(object.kind.api_version());
    body["kind"] = json!(object.kind.as_str());
    body["metadata"]["name"] = json!(object.name);
    body["metadata"]["namespace"] = json!(names.namespace);
    body["metadata"]["labels"] = names.labels();
    if let Some(owner) = cluster.controller_owner_ref(&()) {
        body["metadata"]["ownerReferences"] = json!([owner]);
    }
    let digest = digest(body);
    body["metadata"]["annotations"][APPLIED_ANNOTATION] = json!(digest);
}

#[cfg(test)]
mod tests;
