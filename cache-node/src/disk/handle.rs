//! What the other parts of a member ask of the disk.

use std::sync::Arc;
use std::time::Duration;

use hypercache_core::store::StoreNumber;
use tokio::sync::oneshot;

use super::shared::{Shared, Taken};
use super::wanted::Purpose;
use super::{Error, Loading, SnapshotStats, Stats};

/// How long a snapshot that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Of which stores a snapshot is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All whose data is kept.
    All,
    /// This one.
    Store(StoreNumber),
}

/// Asks the disk. Cheap to clone.
#[derive(Clone, Default)]
pub struct Handle(pub(super) Option<Arc<Shared>>);

impl Handle {
    /// Takes a snapshot of stores and waits until it is on the disk; what it is by store. Where one is
    /// being taken already, another is taken after it.
    ///
    /// # Errors
    /// There is no such store, nothing of it is kept, or the disk failed.
    pub async fn snapshot(&self, which: Which) -> Result<Vec<(StoreNumber, SnapshotStats)>, Error> {
        let mut asked = Vec::new();
        for store in self.stores(which)? {
            let (sender, taken) = oneshot::channel::<Taken>();
            self.want(store, Purpose::SAVE, Some(sender));
            asked.push((store, taken));
        }
        let mut done = Vec::new();
        for (store, taken) in asked {
            let taken = tokio::time::timeout(PATIENCE, taken).await;
            let taken = taken.map_err(|_| Error::Snapshot("it took too long".into()))?;
            let taken = taken.map_err(|_| Error::Stopped)?;
            done.push((store, taken.map_err(Error::Snapshot)?));
        }
        Ok(done)
    }

    /// The stores that are meant.
    fn stores(&self, which: Which) -> Result<Vec<StoreNumber>, Error> {
        let kept = self.0.as_ref().map(|shared| shared.kept()).unwrap_or_default();
        let meant = kept.iter().map(|policy| policy.number).filter(|number| match which {
            Which::All => true,
            Which::Store(store) => *number == store,
        });
        let meant: Vec<StoreNumber> = meant.collect();
        match which {
            Which::All if meant.is_empty() => {
                Err(Error::NotKept("no store is kept on disk".into()))
            }
            Which::Store(store) if meant.is_empty() => {
                Err(Error::NotKept(format!("store {store} is not kept on disk")))
            }
            _ => Ok(meant),
        }
    }

    fn want(&self, store: StoreNumber, purpose: Purpose, who: Option<oneshot::Sender<Taken>>) {
        if let Some(shared) = &self.0 {
            shared.wanted.lock().ask(store, purpose, who);
            shared.wake_keeper();
        }
    }

    fn is_idle(&self) -> bool {
        self.0.as_ref().is_none_or(|shared| {
            let wanted = shared.wanted.lock();
            wanted.stores.is_empty() && wanted.running.is_none()
        })
    }

    /// As [`Self::snapshot`], and does not wait. `false`: snapshots are being taken already, and these
    /// come after them.
    ///
    /// # Errors
    /// There is no such store, or nothing of it is kept.
    pub fn begin_snapshot(&self, which: Which) -> Result<bool, Error> {
        Ok(self.begin(self.stores(which)?, Purpose::SAVE))
    }

    /// Asks for snapshots; whether none was being taken or asked for before.
    fn begin(&self, stores: Vec<StoreNumber>, purpose: Purpose) -> bool {
        let idle = self.is_idle();
        stores.into_iter().for_each(|store| self.want(store, purpose, None));
        idle
    }

    /// Begins to rewrite the log: snapshots of all logged stores, after which the segments before them
    /// go. Does not wait. `false`: that is done already, and once more after it.
    ///
    /// # Errors
    /// No store is logged.
    pub fn rewrite(&self) -> Result<bool, Error> {
        let kept = self.0.as_ref().map(|shared| shared.kept()).unwrap_or_default();
        let logged = kept.iter().filter(|policy| policy.durability.mode.is_logged());
        let logged: Vec<StoreNumber> = logged.map(|policy| policy.number).collect();
        if logged.is_empty() {
            return Err(Error::NotKept("no store is logged".into()));
        }
        Ok(self.begin(logged, Purpose::REWRITE))
    }

    /// What is known.
    pub fn stats(&self) -> Stats {
        self.0.as_ref().map(|shared| shared.stats()).unwrap_or_default()
    }

    /// When the last snapshot was complete, in Unix milliseconds; before the first, the time of the
    /// start.
    pub fn last_save_ms(&self) -> u64 {
        use std::sync::atomic::Ordering::Relaxed;
        self.0.as_ref().map_or(0, |shared| shared.last_save_ms.load(Relaxed))
    }

    /// Why stores that promise durability refuse writes now; `None`: they do not.
    pub fn is_degraded(&self) -> Option<String> {
        self.0.as_ref()?.degraded()
    }

    /// How far the data is read at start; `None`: all is there.
    pub fn loading(&self) -> Option<Loading> {
        self.0.as_ref()?.loading()
    }

    /// To be called now and then: says that the disk failed when it has not answered for long.
    pub fn look_at_speed(&self) {
        if let Some(shared) = &self.0 {
            shared.look_at_speed();
        }
    }

    /// Whether data is still being read.
    pub fn is_loading(&self) -> bool {
        use std::sync::atomic::Ordering::Acquire;
        self.0.as_ref().is_some_and(|shared| shared.progress.is_on.load(Acquire))
    }
}
