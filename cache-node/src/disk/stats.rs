//! What is known of the data on the disk: for `/api/admin/persistence-stats`, INFO and the metrics.

use super::space::Space;
use crate::telemetry::times::TimesCounts;
use hypercache_core::store::{Fsync, Mode, StoreNumber};
use serde::{Serialize, Serializer};

/// What a member keeps on its disk, at one time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    /// There is a data directory. Without one all else is empty.
    pub enabled: bool,
    /// Why stores that promise durability refuse writes now; `None`: they do not.
    pub degraded: Option<String>,
    /// How far the data is read at start; `None`: all is there.
    pub loading: Option<Loading>,
    /// The log of all stores.
    pub log: LogStats,
    /// Snapshots that failed, since the start.
    pub snapshot_errors: u64,
    /// Snapshots that are being taken now, or wait for their turn.
    pub snapshots_in_progress: u64,
    /// What these are taken for.
    pub snapshots: SnapshotProgress,
    /// What became of the last snapshot that rewrote the log; `None`: none did.
    pub last_rewrite: Option<RewriteStats>,
    /// The time at which the last snapshot was complete, in Unix milliseconds; before the first, the
    /// time of the start.
    pub last_save_ms: u64,
    /// Whether the last snapshot that was begun came to a good end.
    pub last_snapshot_ok: bool,
    /// What was found at start.
    pub recovery: Option<Recovery>,
    /// What the file system of the data directory has; `None` until it was looked at.
    #[serde(skip)]
    pub space: Option<Space>,
    /// Each store that is on the disk, or is to be, by its number.
    pub stores: Vec<StoreDisk>,
}

/// What is being taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SnapshotProgress {
    /// Snapshots that are wanted for themselves are being taken.
    pub save: bool,
    /// For how many seconds.
    pub save_seconds: Option<u64>,
    /// The log is being rewritten.
    pub rewrite: bool,
    /// The log is to be rewritten after that.
    pub rewrite_scheduled: bool,
    /// For how many seconds it has been.
    pub rewrite_seconds: Option<u64>,
}

/// A snapshot that rewrote the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RewriteStats {
    /// Whether it came to a good end.
    pub ok: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// The log of all stores.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LogStats {
    /// The bytes of all its segments.
    pub bytes: u64,
    /// How many segments there are.
    pub segments: u64,
    /// The last sequence that was given to a record.
    pub last_sequence: u64,
    /// Records since the start.
    pub records: u64,
    /// Bytes written since the start.
    pub written_bytes: u64,
    /// How often it was written since the start; each time all that waited.
    pub writes: u64,
    /// How often it was forced to the disk since the start.
    pub fsyncs: u64,
    /// When it was forced to the disk last, in Unix milliseconds.
    pub last_fsync_ms: Option<u64>,
    /// How long that took, in microseconds.
    pub last_fsync_us: u64,
    /// The longest that it took since the start, in microseconds.
    pub longest_fsync_us: u64,
    /// How often it took how long; for the metrics.
    #[serde(skip)]
    pub fsync_times: TimesCounts,
    /// How often a write of it took how long; for the metrics.
    #[serde(skip)]
    pub write_times: TimesCounts,
    /// Writers that wait until what they wrote is on the disk.
    pub waiting_writers: u64,
    /// Failed writes and fsyncs since the start.
    pub errors: u64,
    /// The last of them.
    pub last_error: Option<LastError>,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastError {
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// What.
    pub reason: String,
}

/// One store's part of the disk.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoreDisk {
    /// The store's number.
    pub number: StoreNumber,
    /// The store's name.
    pub name: String,
    /// What of it is on the disk.
    #[serde(serialize_with = "mode_word")]
    pub mode: Mode,
    /// When its log is forced to the disk.
    #[serde(serialize_with = "fsync_word")]
    pub fsync: Fsync,
    /// The bytes of its frames that were written to the log since the start, and of those that were
    /// there at the start and not in a snapshot.
    pub log_bytes: u64,
    /// The bytes of them since its last snapshot.
    pub log_bytes_since_snapshot: u64,
    /// The newest snapshot that is complete.
    pub last_snapshot: Option<SnapshotStats>,
    /// Whether one is being taken, or waits for its turn.
    pub snapshot_in_progress: bool,
    /// Snapshots of it that failed, since the start.
    pub snapshot_errors: u64,
    /// The last of these errors.
    pub last_snapshot_error: Option<LastError>,
}

/// A snapshot that is complete.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SnapshotStats {
    /// When it was complete, in Unix milliseconds.
    pub at_ms: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Its bytes.
    pub bytes: u64,
    /// The keys in it.
    pub keys: u64,
    /// All records of the store up to this sequence are in it.
    pub sequence: u64,
}

/// How far the data is read at start.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Loading {
    /// When that began, in Unix milliseconds.
    pub started_ms: u64,
    /// The bytes that are to be read.
    pub total_bytes: u64,
    /// The bytes that are.
    pub loaded_bytes: u64,
    /// The lanes of slots that are served already, of 16.
    pub lanes_ready: u64,
}

impl Loading {
    /// The part that is read, in percent.
    pub fn percent(&self) -> f64 {
        match self.total_bytes {
            0 => 0.0,
            total => self.loaded_bytes.min(total) as f64 * 100.0 / total as f64,
        }
    }

    /// The seconds that the rest takes at the speed so far.
    pub fn eta_seconds(&self, now_ms: u64) -> u64 {
        let spent_ms = now_ms.saturating_sub(self.started_ms);
        let left = self.total_bytes.saturating_sub(self.loaded_bytes);
        match self.loaded_bytes {
            0 => 0,
            loaded => (u128::from(left) * u128::from(spent_ms) / u128::from(loaded) / 1000) as u64,
        }
    }
}

/// What was found on the disk at start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Recovery {
    /// When it began, in Unix milliseconds.
    pub started_ms: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Keys that were there at the end.
    pub keys: u64,
    /// Keys read from snapshots.
    pub snapshot_keys: u64,
    /// Records of the log that were replayed.
    pub records: u64,
    /// Keys that were not brought back, because their lifetime was over.
    pub expired_keys: u64,
    /// Snapshots that could not be used: an older one, or the log alone, was taken in their place.
    pub damaged_snapshots: u64,
    /// Frames of the log, or runs of bytes where frames should be, that were lost.
    pub damaged_frames: u64,
    /// Bytes at the end of segments that were cut off and saved aside.
    pub torn_bytes: u64,
    /// What was damaged or cut off: file, byte range and what is wrong, at most 100.
    pub damages: Vec<String>,
}

impl Recovery {
    /// Whether all was read that was forced to the disk.
    pub fn is_whole(&self) -> bool {
        self.damaged_snapshots == 0 && self.damaged_frames == 0
    }
}

fn mode_word<S: Serializer>(mode: &Mode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(mode.as_str())
}

fn fsync_word<S: Serializer>(fsync: &Fsync, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(fsync.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_to_load_is_told_by_the_speed_so_far() {
        let loading =
            Loading { started_ms: 1_000, total_bytes: 400, loaded_bytes: 100, lanes_ready: 0 };
        assert_eq!(loading.percent(), 25.0);
        assert_eq!(loading.eta_seconds(3_000), 6);
        assert_eq!(Loading::default().eta_seconds(5), 0);
    }
}
