//! How a store is kept on disk.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// What of a store is on the members' volumes, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::persistence()))]
pub struct PersistenceSpec {
    /// What is on disk: nothing (`disabled`), a snapshot now and then (`snapshot`), every write in
    /// a log (`aof`), or both, which makes recovery shorter (`aof+snapshot`).
    pub mode: PersistenceMode,

    /// When the log is forced to the disk: before a write is answered (`always`), at an interval
    /// (`periodic`, which is the default) or when the system does (`never`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fsync: Option<Fsync>,

    /// The interval of `periodic`, 10ms to 1h. Left out, `1s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24), extend("x-kubernetes-validations" = rules::lifetime()))]
    pub fsync_interval: Option<String>,

    /// The most writes of one frame of the log, which is what a damaged place on the disk costs.
    /// Left out, 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub batch_size: Option<i32>,

    /// Whether the log is compressed. Left out, it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<bool>,

    /// The time between two snapshots in the modes that take them, 1s to 7d. Left out, `5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24), extend("x-kubernetes-validations" = rules::lifetime()))]
    pub snapshot_interval: Option<String>,

    /// The log is rewritten once it is larger than the last snapshot by so many percent; 0 for
    /// only when asked to. Left out, 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub rewrite_percentage: Option<i32>,

    /// The log is rewritten once it is at least this large. Left out, `64Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), extend("x-kubernetes-validations" = rules::memory()))]
    pub rewrite_min_size: Option<String>,
}

/// What of a store is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PersistenceMode {
    /// Nothing: it starts empty.
    #[serde(rename = "disabled")]
    Disabled,
    /// A snapshot now and then; what was written since the last one is lost.
    #[serde(rename = "snapshot")]
    Snapshot,
    /// Every write, in a log.
    #[serde(rename = "aof")]
    Aof,
    /// Every write, in a log, and snapshots at an interval.
    #[serde(rename = "aof+snapshot")]
    AofSnapshot,
}

impl PersistenceMode {
    /// The word for this mode.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Snapshot => "snapshot",
            Self::Aof => "aof",
            Self::AofSnapshot => "aof+snapshot",
        }
    }
}

/// When the log is forced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fsync {
    /// Before a write is answered.
    Always,
    /// At an interval.
    #[default]
    Periodic,
    /// When the system does.
    Never,
}

impl Fsync {
    /// The word for this choice.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Periodic => "periodic",
            Self::Never => "never",
        }
    }
}
