//! What the operator tells: the cluster that is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::CuckooFilter;

/// What the operator last saw of the cluster.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HyperCacheClusterStatus {
    /// The generation of the resource that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Members (pods) that exist.
    #[serde(default)]
    pub members: i32,

    /// Members that answer.
    #[serde(default)]
    pub ready_members: i32,

    /// The label selector of the members' pods, for `kubectl scale` and autoscalers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,

    /// The member that leads the cluster's table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,

    /// The cluster's own identity, made when it formed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,

    /// The version of the table of slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,

    /// The biggest size that was asked of a member's volume. `spec.storage.size` cannot go below
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub volume_size: Option<String>,

    /// How the slots are spread over the members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring: Option<RingStatus>,

    /// Every slot has as many owners as the stores ask for, and all of them are in sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fully_replicated: Option<bool>,

    /// What the cluster is in the middle of; none at rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,

    /// The stores that the cluster has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 1024),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub stores: Vec<StoreStatus>,

    /// What keeps the cluster from being as the resource says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub problems: Vec<Problem>,

    /// Ready, Progressing, Degraded, QuorumAvailable, RingBalanced, FullyReplicated, UpToDate,
    /// StoresApplied, MembersApplied, SpecValid, ResourcesApplied, VolumesSized.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

/// What the cluster is in the middle of, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// `Create`, `ScaleOut`, `ScaleIn`, `Roll`, `Rebalance` or `Replicate`.
    pub kind: String,
    /// The step that it is at, in one word.
    pub step: String,
    /// How much of the step is done, in percent; none where nobody can say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<i32>,
    /// The step in a sentence.
    pub message: String,
    /// What was to do when the step began: pods, members or slots.
    #[serde(default)]
    pub total: i32,
}

/// How the slots are spread.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RingStatus {
    /// Every member owns its share.
    pub balanced: bool,
    /// Why it is so, in one word.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Why it is so, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Slots that have an owner, of 16384.
    #[serde(default)]
    pub slots_assigned: i32,
}

/// A store as the cluster has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreStatus {
    /// The store's name.
    pub name: String,
    /// Its number.
    pub number: i32,
    /// About how many keys it holds on all members. Small changes alone do not refresh it.
    #[serde(default)]
    pub keys: i64,
    /// About how many bytes it uses on all members. Small changes alone do not refresh it.
    #[serde(default)]
    pub used_memory_bytes: i64,
    /// The bound on each member in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory_bytes: Option<i64>,
    /// What happens at the bound.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub eviction_policy: String,
    /// How many members hold each key.
    #[serde(default)]
    pub replication_factor: i32,
    /// How many of them have a write before it is answered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub acks: String,
    /// Its cuckoo filter; none when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuckoo_filter: Option<CuckooFilter>,
    /// What of it is on disk: `disabled`, `snapshot`, `aof` or `aof+snapshot`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub persistence: String,
    /// When its log is forced to the disk; empty when there is no log.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fsync: String,
    /// The cluster runs this store as the resource says. A store that the resource does not list
    /// is not applied.
    #[serde(default)]
    pub applied: bool,
}

/// One thing that keeps the cluster from being as the resource says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// What kind of problem it is, in one word.
    pub kind: String,
    /// The store, member, field or object that it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// What is wrong and what would be right.
    pub message: String,
}
