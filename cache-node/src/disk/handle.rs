//! What the other parts of a member ask of the disk.

use std::sync::Arc;

use hypercache_core::store::StoreNumber;

use super::{Error, Loading, SnapshotStats, Stats};

/// Of which stores a snapshot is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All whose data is kept.
    All,
    /// This one.
    Store(StoreNumber),
}

/// Asks the disk. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Handle(pub(super) Option<Arc<()>>);

impl Handle {
    /// Takes a snapshot of stores and waits until it is on the disk; what it is by store. Where one is
    /// being taken already, another is taken after it.
    ///
    /// # Errors
    /// There is no such store, nothing of it is kept, or the disk failed.
    pub async fn snapshot(
        &self,
        _which: Which,
    ) -> Result<Vec<(StoreNumber, SnapshotStats)>, Error> {
        Err(Error::NotKept("no store is kept on disk".into()))
    }

    /// As [`Self::snapshot`], and does not wait. `false`: snapshots are being taken already, and these
    /// come after them.
    ///
    /// # Errors
    /// There is no such store, or nothing of it is kept.
    pub fn begin_snapshot(&self, _which: Which) -> Result<bool, Error> {
        Err(Error::NotKept("no store is kept on disk".into()))
    }

    /// Begins to rewrite the log: snapshots of all logged stores, after which the segments before them
    /// go. Does not wait. `false`: that is done already, and once more after it.
    ///
    /// # Errors
    /// No store is logged.
    pub fn rewrite(&self) -> Result<bool, Error> {
        Err(Error::NotKept("no store is logged".into()))
    }

    /// What is known.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// When the last snapshot was complete, in Unix milliseconds; before the first, the time of the
    /// start.
    pub fn last_save_ms(&self) -> u64 {
        0
    }

    /// Why stores that promise durability refuse writes now; `None`: they do not.
    pub fn is_degraded(&self) -> Option<String> {
        None
    }

    /// How far the data is read at start; `None`: all is there.
    pub fn loading(&self) -> Option<Loading> {
        None
    }
}
