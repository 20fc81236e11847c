//! `HyperCacheCluster`, the custom resource that describes one cache cluster, and the YAML that is
//! made from it.
//!
//! `cargo run -p hypercache-crds` prints the definition. The checked-in copies (`crds/yaml` and
//! the chart's `files`) are compared with it by the tests.

mod acks;
pub mod definition;
pub mod duration;
mod persistence;
pub mod quantity;
mod rules;
mod spec;
mod status;

pub use acks::{Acks, MAX_REPLICATION_FACTOR};
pub use definition::definition;
pub use persistence::{Fsync, PersistenceMode, PersistenceSpec};
pub use spec::{
    CuckooFilter, EvictionPolicy, FalsePositiveRate, HyperCacheCluster, HyperCacheClusterSpec,
    LogLevel, MAX_KEY_PREFIXES, MAX_MEMBERS, MAX_STORES, MemberConfig, PullPolicy, PullSecret,
    Retention, ServiceSpec, ServiceType, StorageSpec, StoreSpec, TraceSampleRatio, VolumeRetention,
};
pub use status::{HyperCacheClusterStatus, Operation, Problem, RingStatus, StoreStatus};

/// The API group.
pub const GROUP: &str = "hypercache.io";
/// The only version there is.
pub const VERSION: &str = "v1alpha1";
/// The name of store 0, which always exists.
pub const DEFAULT_STORE: &str = "default";
