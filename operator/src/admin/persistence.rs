//! A store's durability, as cache-node writes and reads it.

use hypercache_crds::{Fsync, PersistenceMode, PersistenceSpec, duration, quantity};
use serde::{Deserialize, Serialize};

/// What of a store is on disk. Where there is no log, what says something of one is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Persistence {
    /// The mode's word.
    pub mode: String,
    /// The word of when the log is forced to the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fsync: Option<String>,
    /// The interval of `periodic`, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fsync_interval_ms: Option<u64>,
    /// The most writes of a frame of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u32>,
    /// Whether the log is compressed.
    pub compression: bool,
    /// The time between two snapshots, in milliseconds.
    pub snapshot_interval_ms: u64,
    /// The log is rewritten once it is larger than the snapshot by so many percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite_percentage: Option<u32>,
    /// … and at least as large as this, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite_min_bytes: Option<u64>,
}

impl Default for Persistence {
    /// Nothing on disk, which is also what a cluster has that says nothing of it.
    fn default() -> Self {
        Self::of_mode(PersistenceMode::Disabled)
    }
}

impl Persistence {
    /// The defaults of cache-node in a mode.
    fn of_mode(mode: PersistenceMode) -> Self {
        let log = mode != PersistenceMode::Snapshot;
        Self {
            mode: mode.as_str().to_owned(),
            fsync: log.then(|| Fsync::default().as_str().to_owned()),
            fsync_interval_ms: log.then_some(1_000),
            batch_size: log.then_some(1_000),
            compression: false,
            snapshot_interval_ms: 300_000,
            rewrite_percentage: log.then_some(100),
            rewrite_min_bytes: log.then_some(64 << 20),
        }
    }

    /// Whether a cluster keeps a store as this says. Of one that keeps nothing, nothing else counts.
    pub fn is_same(&self, other: &Self) -> bool {
        self == other || self.mode == other.mode && self.mode == PersistenceMode::Disabled.as_str()
    }
}

impl From<Option<&PersistenceSpec>> for Persistence {
    /// What cannot be read was refused by the check before; it is left at its default here.
    fn from(spec: Option<&PersistenceSpec>) -> Self {
        let Some(spec) = spec else { return Self::default() };
        let mut to = Self::of_mode(spec.mode);
        let ms = |text: &Option<String>| duration::millis(text.as_deref()?).ok();
        if spec.mode != PersistenceMode::Snapshot {
            let number = |number: Option<i32>| number.and_then(|n| u32::try_from(n).ok());
            let bytes =
                spec.rewrite_min_size.as_deref().and_then(|text| quantity::bytes(text).ok());
            to.fsync = spec.fsync.map(|fsync| fsync.as_str().to_owned()).or(to.fsync);
            to.fsync_interval_ms = ms(&spec.fsync_interval).or(to.fsync_interval_ms);
            to.batch_size = number(spec.batch_size).or(to.batch_size);
            to.rewrite_percentage = number(spec.rewrite_percentage).or(to.rewrite_percentage);
            to.rewrite_min_bytes = bytes.or(to.rewrite_min_bytes);
        }
        to.compression = spec.compression.unwrap_or(to.compression);
        to.snapshot_interval_ms = ms(&spec.snapshot_interval).unwrap_or(to.snapshot_interval_ms);
        to
    }
}
