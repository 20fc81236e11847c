//! What the writer, the snapshots, the reading at start and the handles share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use hypercache_core::keyspace::Keyspace;
use hypercache_core::log::commit::Standing;
use hypercache_core::log::recovery::Counts;
use hypercache_core::log::retention::SegmentInfo;
use hypercache_core::log::{Failed, Journal, LANES, Sequence};
use hypercache_core::store::{Mode, StoreNumber, StorePolicy};
use parking_lot::Mutex;

use super::catalog::Catalog;
use super::layout::Layout;
use super::space::SpaceSeen;
use super::stats::{
    LastError, Loading, LogStats, Recovery, RewriteStats, SnapshotProgress, SnapshotStats, Stats,
    StoreDisk,
};
use super::wanted::{Purpose, Wanted};
use crate::clock::now_ms;
use crate::telemetry::times::Times;

/// A write or fsync that takes longer is a failure until it has ended.
const SLOW: Duration = Duration::from_secs(10);

/// What became of a snapshot.
pub type Taken = Result<SnapshotStats, String>;

/// One store's accounts.
#[derive(Debug, Default)]
pub struct Account {
    /// Bytes of its frames since the start.
    pub log_bytes: u64,
    /// What that was when its newest snapshot was begun.
    pub log_bytes_at_snapshot: u64,
    /// Sequences of its snapshots on the disk, the oldest first.
    pub snapshots: Vec<Sequence>,
    pub last_snapshot: Option<SnapshotStats>,
    pub errors: u64,
    pub last_error: Option<LastError>,
    /// When its last snapshot was begun, or tried, in Unix milliseconds.
    pub tried_ms: u64,
}

impl Account {
    /// Bytes of its frames that are in no snapshot.
    pub fn log_bytes_since_snapshot(&self) -> u64 {
        self.log_bytes - self.log_bytes_at_snapshot
    }
}

/// Whether there may be something to take a snapshot of: `grown` bytes of the log are in none; where
/// there is no log, nobody knows.
pub fn may_have_changed(mode: Mode, grown: u64) -> bool {
    grown > 0 || !mode.is_logged()
}

/// Figures of the log, each written by one thread.
#[derive(Debug, Default)]
pub struct LogFigures {
    pub written_bytes: AtomicU64,
    pub writes: AtomicU64,
    pub fsyncs: AtomicU64,
    pub last_fsync_ms: AtomicU64,
    pub last_fsync_us: AtomicU64,
    pub longest_fsync_us: AtomicU64,
    pub fsync_times: Times,
    pub write_times: Times,
    pub errors: AtomicU64,
    pub last_error: Mutex<Option<LastError>>,
    /// When the write or fsync that is under way began, in milliseconds since the start and at least 1;
    /// 0: none is.
    pub busy_since_ms: AtomicU64,
}

/// How far the data is read.
#[derive(Debug, Default)]
pub struct Progress {
    pub is_on: AtomicBool,
    pub started_ms: AtomicU64,
    pub total_bytes: AtomicU64,
    pub counts: Counts,
    pub lanes: [AtomicBool; LANES],
    pub report: Mutex<Option<Recovery>>,
}

/// See the module.
pub struct Shared {
    pub keyspace: Arc<Keyspace>,
    pub layout: Layout,
    pub catalog: Mutex<Catalog>,
    pub segments: Mutex<Vec<SegmentInfo>>,
    pub accounts: Mutex<BTreeMap<StoreNumber, Account>>,
    /// Locked while policies change that are noted on the disk, and while a snapshot gets its sequence.
    pub changing: Mutex<()>,
    /// So many backups need the files as they are: while there is one, nothing is removed.
    pub holds: Mutex<u32>,
    /// What is not needed any more is to be looked for.
    pub clean_wanted: AtomicBool,
    pub wanted: Mutex<Wanted>,
    pub log: LogFigures,
    pub progress: Progress,
    pub space: SpaceSeen,
    pub started: std::time::Instant,
    pub last_save_ms: AtomicU64,
    pub last_snapshot_ok: AtomicBool,
    pub snapshot_errors: AtomicU64,
    /// What became of the last snapshot that rewrote the log.
    pub last_rewrite: Mutex<Option<RewriteStats>>,
    /// What the log's writer and the snapshots know of each other.
    pub standing: Standing,
    /// The member stops.
    pub stop: AtomicBool,
    /// No snapshots are taken any more but the last ones.
    pub is_ending: AtomicBool,
    pub writer: OnceLock<Thread>,
    pub keeper: OnceLock<Thread>,
}

impl Shared {
    pub fn new(keyspace: Arc<Keyspace>, layout: Layout, catalog: Catalog) -> Self {
        let now_ms = now_ms();
        Self {
            keyspace,
            layout,
            catalog: Mutex::new(catalog),
            segments: Mutex::default(),
            accounts: Mutex::default(),
            changing: Mutex::default(),
            holds: Mutex::default(),
            clean_wanted: AtomicBool::new(false),
            wanted: Mutex::default(),
            log: LogFigures::default(),
            progress: Progress::default(),
            space: SpaceSeen::default(),
            started: std::time::Instant::now(),
            last_save_ms: AtomicU64::new(now_ms),
            last_snapshot_ok: AtomicBool::new(true),
            snapshot_errors: AtomicU64::new(0),
            last_rewrite: Mutex::default(),
            standing: Standing::default(),
            stop: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
            writer: OnceLock::new(),
            keeper: OnceLock::new(),
        }
    }

    pub fn journal(&self) -> &Journal {
        self.keyspace.journal()
    }

    pub fn wake_writer(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    pub fn wake_keeper(&self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.unpark();
        }
    }

    /// The policies of the stores that are kept.
    pub fn kept(&self) -> Vec<StorePolicy> {
        let policies = self.keyspace.policies();
        let kept = policies.iter().filter(|policy| policy.durability.mode != Mode::Disabled);
        kept.cloned().collect()
    }

    /// Brings the catalog to new policies, before they are in force. While that cannot be written it
    /// is tried again, and then nothing is called durable until it is: a store whose row is not on the disk
    /// would be lost at the next start. Gives the stores of which snapshots are needed once the policies
    /// are in force.
    pub fn follow(&self, policies: &[StorePolicy]) -> Vec<StoreNumber> {
        let mut tries = 0;
        loop {
            // Snapshots that were begun before are told from those of after by their sequences.
            let last = match self.keyspace.policies().as_slice() == policies {
                true => self.journal().last_sequence(),
                false => self.journal().skip(now_ms()),
            };
            let followed = self.catalog.lock().follow(policies, last);
            match followed {
                Ok(begins) => {
                    self.is_listed();
                    return begins;
                }
                Err(error) => {
                    tries += 1;
                    let reason = format!("the list of stores cannot be written: {error}");
                    self.failed(&reason);
                    if tries == 5 || self.stop.load(Acquire) {
                        tracing::error!(
                            action = "writers-refused",
                            "{reason}: writers of logged stores are refused"
                        );
                        self.standing.is_unlisted.store(true, Release);
                        self.journal().fail(Failed(reason.into()));
                        return Vec::new();
                    }
                    std::thread::park_timeout(Duration::from_millis(200));
                }
            }
        }
    }

    /// Tries again what [`Self::follow`] could not do.
    pub fn follow_again(&self) {
        if !self.standing.is_unlisted.load(Acquire) {
            return;
        }
        let _changing = self.changing.lock();
        let again = self.catalog.lock().again(self.journal().skip(now_ms()));
        match again {
            Some(Err(error)) => {
                self.failed(&format!("the list of stores cannot be written: {error}"));
            }
            Some(Ok(begins)) => {
                tracing::info!(action = "store-list-written", "the list of stores is on the disk");
                self.is_listed();
                self.policies_changed(begins);
            }
            None => self.is_listed(),
        }
    }

    /// The list of stores is on the disk. What was refused for that is well again with the next cycle.
    fn is_listed(&self) {
        if self.standing.is_unlisted.swap(false, AcqRel) {
            self.wake_writer();
        }
    }

    /// The policies are in force; of these stores the log alone does not say what they hold.
    pub fn policies_changed(&self, begins: Vec<StoreNumber>) {
        let mut wanted = self.wanted.lock();
        begins.into_iter().for_each(|store| {
            wanted.ask(store, Purpose::SAVE, None);
        });
        drop(wanted);
        self.wake_keeper();
        self.wake_writer();
    }

    /// Fails the journal while a write or fsync takes too long; it heals when that has ended well. Never
    /// waits itself.
    pub fn look_at_speed(&self) {
        let since = self.log.busy_since_ms.load(Relaxed);
        let now = self.started.elapsed().as_millis() as u64;
        let is_slow = since > 0 && now.saturating_sub(since) > SLOW.as_millis() as u64;
        if is_slow && !self.journal().is_failed() {
            let reason = format!("the disk has not answered for {SLOW:?}");
            tracing::error!(
                action = "writers-refused",
                "{reason}: writers of logged stores are refused"
            );
            self.failed(&reason);
            self.journal().fail(Failed(reason.into()));
            // It may have ended just now: then nobody else would say that all is well.
            self.wake_writer();
        }
    }

    /// Notes an error of the log.
    pub fn failed(&self, reason: &str) {
        self.log.errors.fetch_add(1, Relaxed);
        *self.log.last_error.lock() =
            Some(LastError { at_ms: now_ms(), reason: reason.to_owned() });
    }

    /// How far the data is read; `None`: all is there.
    pub fn loading(&self) -> Option<Loading> {
        let progress = &self.progress;
        progress.is_on.load(Acquire).then(|| Loading {
            started_ms: progress.started_ms.load(Relaxed),
            total_bytes: progress.total_bytes.load(Relaxed),
            loaded_bytes: progress.counts.loaded_bytes.load(Relaxed),
            lanes_ready: progress.lanes.iter().filter(|lane| lane.load(Relaxed)).count() as u64,
        })
    }

    pub fn degraded(&self) -> Option<String> {
        self.journal().failure().map(|failed| failed.0.to_string())
    }

    pub fn stats(&self) -> Stats {
        let (segments, bytes) = {
            let segments = self.segments.lock();
            (segments.len() as u64, segments.iter().map(|segment| segment.bytes).sum())
        };
        let figures = &self.log;
        let log = LogStats {
            bytes,
            segments,
            last_sequence: self.journal().last_sequence(),
            records: self.journal().appended(),
            written_bytes: figures.written_bytes.load(Relaxed),
            writes: figures.writes.load(Relaxed),
            fsyncs: figures.fsyncs.load(Relaxed),
            last_fsync_ms: Some(figures.last_fsync_ms.load(Relaxed)).filter(|ms| *ms > 0),
            last_fsync_us: figures.last_fsync_us.load(Relaxed),
            longest_fsync_us: figures.longest_fsync_us.load(Relaxed),
            fsync_times: figures.fsync_times.counts(),
            write_times: figures.write_times.counts(),
            waiting_writers: self.journal().awaiting() as u64,
            errors: figures.errors.load(Relaxed),
            last_error: figures.last_error.lock().clone(),
        };
        let (wanted, running, snapshots) = {
            let wanted = self.wanted.lock();
            let stores: Vec<StoreNumber> = wanted.stores.keys().copied().collect();
            let (now, later) = (wanted.in_progress(), wanted.scheduled());
            let [save_seconds, rewrite_seconds] = wanted.seconds();
            let progress = SnapshotProgress {
                save: now.save,
                save_seconds,
                rewrite: now.rewrite,
                rewrite_scheduled: later.rewrite,
                rewrite_seconds,
            };
            (stores, wanted.running.map(|taking| taking.store), progress)
        };
        let accounts = self.accounts.lock();
        let nothing = Account::default();
        let stores = self.kept().into_iter().map(|policy| {
            let account = accounts.get(&policy.number).unwrap_or(&nothing);
            StoreDisk {
                number: policy.number,
                name: policy.name,
                mode: policy.durability.mode,
                fsync: policy.durability.fsync,
                log_bytes: account.log_bytes,
                log_bytes_since_snapshot: account.log_bytes_since_snapshot(),
                last_snapshot: account.last_snapshot.clone(),
                snapshot_in_progress: running == Some(policy.number)
                    || wanted.contains(&policy.number),
                snapshot_errors: account.errors,
                last_snapshot_error: account.last_error.clone(),
            }
        });
        Stats {
            enabled: true,
            degraded: self.degraded(),
            loading: self.loading(),
            log,
            snapshot_errors: self.snapshot_errors.load(Relaxed),
            snapshots_in_progress: wanted.len() as u64 + u64::from(running.is_some()),
            snapshots,
            last_rewrite: *self.last_rewrite.lock(),
            last_save_ms: self.last_save_ms.load(Relaxed),
            last_snapshot_ok: self.last_snapshot_ok.load(Relaxed),
            recovery: self.progress.report.lock().clone(),
            space: self.space.now(),
            stores: stores.collect(),
        }
    }
}
