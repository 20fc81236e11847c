//! What is there: the live objects, and what of them decisions need.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use serde_json::Value;

use crate::build::{Claim, Kind};
use crate::names::{BOOTSTRAP_ANNOTATION, DATA_VOLUME, Names};

/// Everything that is there of one cluster.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The live objects by kind and name, whoever they belong to.
    pub objects: BTreeMap<(Kind, String), Value>,
    /// The StatefulSet.
    pub set: Option<SetFacts>,
    /// The members' pods, by ordinal.
    pub pods: Vec<PodFacts>,
    /// The members' volume claims, by ordinal.
    pub claims: Vec<ClaimFacts>,
}

/// What decisions need of the StatefulSet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetFacts {
    /// The replicas it is told to have.
    pub replicas: i32,
    /// The pods that exist.
    pub existing: i32,
    /// The pods that are ready.
    pub ready: i32,
    /// The newest revision.
    pub update_revision: String,
    /// Its controller has seen the newest template.
    pub observed: bool,
    /// The claim template.
    pub claim: Option<Claim>,
    /// How many members were to form the cluster.
    pub bootstrap_members: Option<i32>,
}

impl SetFacts {
    /// Reads a live StatefulSet.
    pub fn of(set: &StatefulSet) -> Self {
        let spec = set.spec.clone().unwrap_or_default();
        let status = set.status.clone().unwrap_or_default();
        let claim = spec
            .volume_claim_templates
            .unwrap_or_default()
            .into_iter()
            .find(|claim| claim.metadata.name.as_deref() == Some(DATA_VOLUME))
            .and_then(|claim| claim.spec)
            .map(|spec| Claim {
                size: spec
                    .resources
                    .and_then(|resources| resources.requests)
                    .and_then(|mut requests| requests.remove("storage"))
                    .map(|quantity| quantity.0)
                    .unwrap_or_default(),
                storage_class: spec.storage_class_name,
            });
        Self {
            replicas: spec.replicas.unwrap_or(1),
            existing: status.replicas,
            ready: status.ready_replicas.unwrap_or(0),
            update_revision: status.update_revision.unwrap_or_default(),
            observed: status.observed_generation.is_some()
                && status.observed_generation >= set.metadata.generation,
            claim,
            bootstrap_members: set
                .annotations()
                .get(BOOTSTRAP_ANNOTATION)
                .and_then(|text| text.parse().ok()),
        }
    }
}

/// What decisions need of a member's pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodFacts {
    /// The pod's name.
    pub name: String,
    /// Its ordinal.
    pub ordinal: i32,
    /// Its identity.
    pub uid: String,
    /// Where it can be reached.
    pub address: Option<IpAddr>,
    /// Its process runs.
    pub running: bool,
    /// It answers clients.
    pub ready: bool,
    /// It is on its way out.
    pub terminating: bool,
    /// The revision of the template that it was made from.
    pub revision: String,
    /// Why its process does not run: the reason and the message.
    pub stuck: Option<(String, String)>,
}

/// Reasons of a waiting container that time alone rarely mends.
const STUCK_REASONS: [&str; 8] = [
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
];

impl PodFacts {
    /// Reads a live pod, if it is a member of the cluster.
    pub fn of(names: &Names, pod: &Pod) -> Option<Self> {
        let name = pod.name_any();
        let ordinal = names.ordinal(&name)?;
        let status = pod.status.clone().unwrap_or_default();
        let condition = |kind: &str, wanted: &str| {
            status.conditions.iter().flatten().any(|c| c.type_ == kind && c.status == wanted)
        };
        let containers = status.container_statuses.as_deref().unwrap_or_default();
        let waiting = containers
            .iter()
            .filter_map(|container| container.state.as_ref()?.waiting.as_ref())
            .filter_map(|waiting| Some((waiting.reason.clone()?, waiting.message.clone())))
            .find(|(reason, _)| STUCK_REASONS.contains(&reason.as_str()))
            .map(|(reason, message)| (reason, message.unwrap_or_default()));
        let unschedulable = status
            .conditions
            .iter()
            .flatten()
            .find(|c| c.type_ == "PodScheduled" && c.status == "False")
            .map(|c| {
                let reason = c.reason.clone().unwrap_or_else(|| "Unschedulable".to_owned());
                (reason, c.message.clone().unwrap_or_default())
            });
        Some(Self {
            name,
            ordinal,
            uid: pod.uid().unwrap_or_default(),
            address: status.pod_ip.as_deref().and_then(|ip| ip.parse().ok()),
            running: containers.iter().any(|container| {
                container.state.as_ref().is_some_and(|state| state.running.is_some())
            }),
            ready: condition("Ready", "True"),
            terminating: pod.metadata.deletion_timestamp.is_some(),
            revision: pod.labels().get("controller-revision-hash").cloned().unwrap_or_default(),
            stuck: waiting.or(unschedulable),
        })
    }
}

/// What decisions need of a member's volume claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimFacts {
    /// The claim's name.
    pub name: String,
    /// The ordinal of the member that it belongs to.
    pub ordinal: i32,
    /// The size that is asked for.
    pub requested: String,
    /// The size that it has.
    pub capacity: Option<String>,
}

impl ClaimFacts {
    /// Reads a live claim, if it is of a member of the cluster.
    pub fn of(names: &Names, claim: &PersistentVolumeClaim) -> Option<Self> {
        let name = claim.name_any();
        let ordinal = names.ordinal(name.strip_prefix(DATA_VOLUME)?.strip_prefix('-')?)?;
        let requested =
            claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage")?;
        let capacity = claim.status.as_ref().and_then(|status| status.capacity.as_ref());
        Some(Self {
            name,
            ordinal,
            requested: requested.0.clone(),
            capacity: capacity.and_then(|c| c.get("storage")).map(|quantity| quantity.0.clone()),
        })
    }
}
