//! What a person writes: the desired cluster.

// Columns of one type have one and the same `type_` attribute each.
#![allow(clippy::duplicated_attributes)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::acks::Acks;
use crate::persistence::PersistenceSpec;
use crate::rules;
use crate::status::HyperCacheClusterStatus;

/// The most members that a cluster may have.
pub const MAX_MEMBERS: i32 = 100;
/// The most stores that a resource may list.
pub const MAX_STORES: usize = 64;
/// The most key prefixes that one store may have.
pub const MAX_KEY_PREFIXES: usize = 8;

/// The cluster that should be: members, where and how they run, and the stores they serve.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "hypercache.io",
    version = "v1alpha1",
    kind = "HyperCacheCluster",
    plural = "hypercacheclusters",
    singular = "hypercachecluster",
    shortname = "hc",
    category = "all",
    category = "hypercache",
    namespaced,
    status = "HyperCacheClusterStatus",
    derive = "PartialEq",
    doc = "A cache cluster that speaks Redis's protocol.",
    scale(
        spec_replicas_path = ".spec.members",
        status_replicas_path = ".status.members",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Members",
        type_ = "integer",
        json_path = ".spec.members",
        description = "Members that should be"
    ),
    printcolumn(
        name = "Ready",
        type_ = "integer",
        json_path = ".status.readyMembers",
        description = "Members that answer"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why the cluster is ready or is not"
    ),
    printcolumn(
        name = "Ring",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"RingBalanced\")].status",
        description = "Whether every member owns its share of the slots"
    ),
    printcolumn(name = "Leader", type_ = "string", json_path = ".status.leader", priority = 1),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::spec()))]
pub struct HyperCacheClusterSpec {
    /// How many members (pods) the cluster has.
    #[serde(default = "default_members")]
    #[schemars(range(min = 1, max = 100))]
    pub members: i32,

    /// The image that members run.
    #[serde(default = "default_image")]
    #[schemars(length(min = 1, max = 512))]
    pub image: String,

    /// When nodes pull the image.
    #[serde(default)]
    pub image_pull_policy: PullPolicy,

    /// Secrets of the namespace to pull the image with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub image_pull_secrets: Vec<PullSecret>,

    /// How many members hold each key of stores that do not say so themselves. Left out, 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 5))]
    pub replication_factor: Option<i32>,

    /// How many of them have a write before it is answered, for stores that do not say so
    /// themselves. Left out, `one`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acks: Option<Acks>,

    /// The stores: named databases with policies of their own. The store `default` (number 0)
    /// always exists and is listed only to set its policies. Changes need no restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend(
            "x-kubernetes-list-type" = "map",
            "x-kubernetes-list-map-keys" = ["name"],
            "x-kubernetes-validations" = rules::stores()
        )
    )]
    pub stores: Vec<StoreSpec>,

    /// The volume of each member.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-validations" = rules::storage()))]
    pub storage: StorageSpec,

    /// CPU and memory of each member. The stores' memory bounds together must fit the memory
    /// limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// Settings of the member process. Changes restart the members one by one.
    #[serde(default)]
    pub config: MemberConfig,

    /// Labels that a node must have to run a member.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: BTreeMap<String, String>,

    /// Taints that members tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,

    /// Affinity of the pods, in place of the default: rather not two members on one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,

    /// Spread of the pods, in place of the default: as evenly as can be over nodes and zones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,

    /// Annotations of the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub pod_annotations: BTreeMap<String, String>,

    /// Labels of the pods, besides the operator's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub pod_labels: BTreeMap<String, String>,

    /// How long a member may take to stop, in seconds: it serves 3 s more until Services have
    /// forgotten it, then hands its slots over and writes what is not on its disk yet.
    #[serde(default = "default_grace_period")]
    #[schemars(range(min = 15, max = 3600))]
    pub termination_grace_period_seconds: i64,

    /// The Service that clients connect to.
    #[serde(default)]
    pub service: ServiceSpec,
}

/// A Secret in the cluster's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PullSecret {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// When a node pulls the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// Before every start.
    Always,
    /// When the node does not have it.
    #[default]
    IfNotPresent,
    /// Never: it must be there.
    Never,
}

impl PullPolicy {
    /// The word that Kubernetes uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// One store and its policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::store()))]
pub struct StoreSpec {
    /// The store's name, unique in the cluster.
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = rules::store_name()))]
    pub name: String,

    /// The number that `SELECT` takes, unique in the cluster. 0 belongs to `default`.
    #[schemars(range(min = 0, max = 1023))]
    pub number: i32,

    /// The memory that the store may use on each member, such as `512Mi`. Left out, it is
    /// unbounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), extend("x-kubernetes-validations" = rules::memory()))]
    pub max_memory: Option<String>,

    /// The lifetime of keys that are written without one, such as `30s`, `5m` or `1h30m`. Left
    /// out, such keys stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24), extend("x-kubernetes-validations" = rules::lifetime()))]
    pub default_ttl: Option<String>,

    /// Who leaves at the memory bound: with `wtinylfu` keys that are asked for seldom, with `lru`
    /// and `lfu` the least recently and least frequently used, with `session` all keys of the
    /// session that was idle for longest, with `ttl` those that end soonest, with `random` any;
    /// `noeviction` refuses writes.
    #[serde(default)]
    pub eviction_policy: EvictionPolicy,

    /// How many members hold each key. Left out, the cluster's `replicationFactor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 5))]
    pub replication_factor: Option<i32>,

    /// How many of them have a write before it is answered: its primary (`one`), a majority
    /// (`quorum`) or those that are in sync (`all`). Left out, the cluster's `acks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acks: Option<Acks>,

    /// Keys of database 0 that start with one of these belong to this store. No two stores may
    /// share a prefix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        inner(length(min = 1, max = 64)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub key_prefixes: Vec<String>,

    /// A cuckoo filter that tells keys that are surely absent. Left out, there is none. It can be
    /// switched while data is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuckoo_filter: Option<CuckooFilter>,

    /// What of the store is on the members' volumes. Left out, nothing. It can be changed while
    /// data is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<PersistenceSpec>,
}

/// A store's cuckoo filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CuckooFilter {
    /// Whether there is one.
    #[serde(default = "default_true")]
    pub enabled: bool,

    /// The share of absent keys that the filter may let through, 0.001 to 0.1. A lower one takes
    /// more memory: about 1.2 bytes a key at 0.01.
    #[serde(default)]
    pub false_positive_rate: FalsePositiveRate,
}

/// A rate of false positives, kept in parts per million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "f64", into = "f64")]
pub struct FalsePositiveRate {
    ppm: u32,
}

impl Default for FalsePositiveRate {
    /// One in a hundred.
    fn default() -> Self {
        Self { ppm: 10_000 }
    }
}

impl From<f64> for FalsePositiveRate {
    /// What is no rate ends at the bounds of the cast, and is refused by the cluster if the API
    /// server let it pass.
    fn from(rate: f64) -> Self {
        Self { ppm: (rate * 1e6).round() as u32 }
    }
}

impl From<FalsePositiveRate> for f64 {
    fn from(rate: FalsePositiveRate) -> Self {
        Self::from(rate.ppm) / 1e6
    }
}

impl JsonSchema for FalsePositiveRate {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FalsePositiveRate".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "number", "minimum": 0.001, "maximum": 0.1 })
    }
}

/// What a store does at its memory bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EvictionPolicy {
    /// Keys that are asked for seldom leave first; resists scans.
    #[default]
    WTinyLfu,
    /// The least recently used of a sample leaves first.
    Lru,
    /// The least frequently used leaves first.
    Lfu,
    /// The keys of one session leave together; the session that was idle for longest leaves first.
    Session,
    /// Any key leaves.
    Random,
    /// The key that ends soonest leaves first.
    Ttl,
    /// Nothing leaves: writes that need memory are refused.
    NoEviction,
}

impl EvictionPolicy {
    /// The word for this policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WTinyLfu => "wtinylfu",
            Self::Lru => "lru",
            Self::Lfu => "lfu",
            Self::Session => "session",
            Self::Random => "random",
            Self::Ttl => "ttl",
            Self::NoEviction => "noeviction",
        }
    }
}

/// The volume of each member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageSpec {
    /// The size of each member's volume. It may grow where the storage class allows that; it
    /// never shrinks.
    #[serde(default = "default_storage_size")]
    #[schemars(length(max = 20), extend("x-kubernetes-validations" = rules::storage_size()))]
    pub size: String,

    /// The storage class. Left out, the Kubernetes cluster's default. It cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,

    /// What becomes of the volumes of members that are no more.
    #[serde(default)]
    pub retention: VolumeRetention,
}

impl Default for StorageSpec {
    fn default() -> Self {
        Self {
            size: default_storage_size(),
            storage_class_name: None,
            retention: VolumeRetention::default(),
        }
    }
}

/// What becomes of the volumes of members that are no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeRetention {
    /// After the cluster was scaled in, once the member has left it.
    #[serde(default)]
    pub when_scaled: Retention,

    /// After this resource was deleted.
    #[serde(default)]
    pub when_deleted: Retention,
}

/// Whether a volume stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Retention {
    /// It stays, with what is on it.
    #[default]
    Retain,
    /// It goes, with what is on it.
    Delete,
}

impl Retention {
    /// The word that Kubernetes uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retain => "Retain",
            Self::Delete => "Delete",
        }
    }
}

/// Settings of the member process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberConfig {
    /// The most client connections that a member holds at a time. Left out, 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: Option<i32>,

    /// How long an idle client connection stays open, such as `5m`. Left out, for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24), extend("x-kubernetes-validations" = rules::lifetime()))]
    pub idle_timeout: Option<String>,

    /// How long a member waits for another one while it answers a client, such as `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24), extend("x-kubernetes-validations" = rules::lifetime()))]
    pub request_timeout: Option<String>,

    /// The newest version in which members speak with each other: while it is what the release before spoke, that one can
    /// come back. Left out, what all of them know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 65535))]
    pub max_protocol: Option<i32>,

    /// How much members log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_level: Option<LogLevel>,

    /// Where members' traces go, as OTLP over HTTP, such as `http://collector.tracing:4318`. Left out, none are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), extend("x-kubernetes-validations" = rules::endpoint()))]
    pub otlp_endpoint: Option<String>,

    /// Where members send what they tell at `/metrics` every half minute, as OTLP over HTTP. Left out, nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), extend("x-kubernetes-validations" = rules::endpoint()))]
    pub otlp_metrics_endpoint: Option<String>,

    /// The part of requests that are traced, 0 to 1, of those that bring no `traceparent`. Left out, 0.01.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_sample_ratio: Option<TraceSampleRatio>,

    /// Whether `/metrics` tells, in OpenMetrics, the trace of the last traced request in each bucket of requests' times, as
    /// an exemplar. Left out, not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exemplars: Option<bool>,

    /// I/O threads of each member. Left out, one per CPU it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub threads: Option<i32>,
}

/// The part of requests that are traced, kept in parts per million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "f64", into = "f64")]
pub struct TraceSampleRatio {
    ppm: u32,
}

impl From<f64> for TraceSampleRatio {
    /// What is no part ends at the bounds of the cast, and is refused by the members if the API server let it pass.
    fn from(part: f64) -> Self {
        Self { ppm: (part * 1e6).round() as u32 }
    }
}

impl From<TraceSampleRatio> for f64 {
    fn from(ratio: TraceSampleRatio) -> Self {
        Self::from(ratio.ppm) / 1e6
    }
}

impl JsonSchema for TraceSampleRatio {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TraceSampleRatio".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "number", "minimum": 0, "maximum": 1 })
    }
}

/// How much a member logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What stops something from working.
    Error,
    /// What may need a look.
    Warn,
    /// What happens to the cluster.
    Info,
    /// What a developer asks for.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The word that the configuration file uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The Service that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// Who can reach it.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,

    /// Annotations, for a load balancer for example.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,

    /// Whether there is a port 8081 as well, on which cluster-mode clients are sent to the members of their keys (MOVED), as
    /// by a Redis Cluster. On port 8080 any member answers for any key. Members that do not listen on it yet are
    /// restarted, one by one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cluster_port: bool,
}

/// Who can reach the client Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Pods of the Kubernetes cluster.
    #[default]
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    /// Also who reaches a node.
    NodePort,
    /// Also who reaches the load balancer.
    LoadBalancer,
}

impl ServiceType {
    /// The word that Kubernetes uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

fn default_true() -> bool {
    true
}

fn default_members() -> i32 {
    3
}

fn default_image() -> String {
    format!("hypercache/hypercache:{}", env!("CARGO_PKG_VERSION"))
}

fn default_grace_period() -> i64 {
    30
}

fn default_storage_size() -> String {
    "1Gi".to_owned()
}
