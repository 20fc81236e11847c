//! What a backup is made from: the files of the disk as of one sequence, which stay while they are held.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering::*;

use hypercache_core::log::catalog::Row;
use hypercache_core::log::{DataSet, Sequence};
use hypercache_core::store::{StoreNumber, StorePolicy};

use super::handle::{Handle, Which};
use super::keeper;
use super::layout::wrong;
use super::shared::Shared;
use super::{Error, OnDisk};
use crate::clock::now_ms;

/// How often it is begun anew when stores change meanwhile.
const TRIES: usize = 5;

/// A snapshot that is held: its file is open, so that it stays also when it is replaced.
#[derive(Debug)]
pub struct HeldSnapshot {
    /// Whose.
    pub store: StoreNumber,
    /// The sequence in its name.
    pub sequence: Sequence,
    /// Its file.
    pub file: File,
    /// The file's name.
    pub name: String,
}

/// A segment that is held.
#[derive(Debug, Clone)]
pub struct HeldSegment {
    /// Its number.
    pub number: u64,
    /// All lower sequences are in segments before it.
    pub first_sequence: Sequence,
    /// Its bytes that are whole frames; the member may append more.
    pub bytes: u64,
    /// Its file.
    pub path: std::path::PathBuf,
}

/// Files that stay as they are until this is dropped.
pub struct Held {
    shared: Arc<Shared>,
    /// Whose data it is.
    pub data_set: DataSet,
    /// The stores that are kept, with their policies.
    pub stores: Vec<(Row, StorePolicy)>,
    /// All usable snapshots of these, by store, the oldest first.
    pub snapshots: Vec<HeldSnapshot>,
    /// All segments, in order.
    pub segments: Vec<HeldSegment>,
    /// All records up to this one are in the snapshots or the segments, on the disk.
    pub last_sequence: Sequence,
    /// All that was answered before this time is among them, in Unix milliseconds.
    pub as_of_ms: u64,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("last_sequence", &self.last_sequence).finish_non_exhaustive()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        release(&self.shared);
    }
}

/// Ends a hold that is not a [`Held`] yet.
struct Hold(Option<Arc<Shared>>);

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            release(shared);
        }
    }
}

fn release(shared: &Shared) {
    let mut holds = shared.holds.lock();
    *holds = holds.saturating_sub(1);
    if *holds == 0 {
        shared.clean_wanted.store(true, Release);
        shared.wake_keeper();
    }
}

impl Handle {
    /// Holds the files that a backup needs, after snapshots were taken of the stores that have none, or
    /// whose writes are in no log; with `renews`, of all.
    ///
    /// # Errors
    /// There is no data directory, it is still being read, nothing of it is kept, or the disk failed.
    pub async fn hold(&self, renews: bool) -> Result<Held, Error> {
        let Some(shared) = self.0.clone() else {
            return Err(Error::NotKept("node.data_dir is not set: nothing is kept on disk".into()));
        };
        if shared.loading().is_some() {
            return Err(Error::NotKept("the data is still being read from the disk".into()));
        }
        let lost = shared.standing.lost.load(Acquire);
        let is_whole = || shared.standing.lost.load(Acquire) == lost && shared.degraded().is_none();
        if !is_whole() || lost > shared.standing.regained.load(Acquire) {
            let reason = shared.degraded();
            let reason = reason.unwrap_or_else(|| "snapshots of it are being taken again".into());
            return Err(Error::Snapshot(format!("the disk has failed: {reason}")));
        }
        *shared.holds.lock() += 1;
        let hold = Hold(Some(shared.clone()));
        let mut taken = BTreeMap::new();
        let mut kept = shared.kept();
        for _ in 0..TRIES {
            if kept.is_empty() {
                return Err(Error::NotKept("no store is kept on disk".into()));
            }
            for policy in &kept {
                let has_one = has_snapshot(&shared, policy.number)?;
                let needs = renews || !has_one || !policy.durability.mode.is_logged();
                if needs && taken.get(&policy.number) != Some(&policy.name) {
                    self.snapshot(Which::Store(policy.number)).await?;
                    taken.insert(policy.number, policy.name.clone());
                }
            }
            let of = shared.clone();
            let last = tokio::task::spawn_blocking(move || {
                let as_of_ms = now_ms();
                let last = of.journal().last_sequence();
                keeper::wait_for_log(&of, last, lost).map(|()| (last, as_of_ms))
            });
            let last = last.await.map_err(|_| Error::Stopped)?;
            let (last_sequence, as_of_ms) =
                last.map_err(|error| Error::Snapshot(error.to_string()))?;
            if !is_whole() {
                return Err(Error::Snapshot("the log failed meanwhile".into()));
            }
            let now = shared.kept();
            if now != kept {
                // A number may be another store's by now.
                kept = now;
                continue;
            }
            let of = shared.clone();
            let held = tokio::task::spawn_blocking(move || {
                // Their end is this one's from here on.
                let mut hold = hold;
                let held = collect(&of, kept, last_sequence, as_of_ms);
                if held.is_ok() {
                    hold.0 = None;
                }
                held
            });
            return held.await.map_err(|_| Error::Stopped)?;
        }
        Err(Error::Snapshot("the stores change all the time".into()))
    }
}

/// From where on snapshots are of use with the log behind them.
fn usable_since(row: &Row) -> Sequence {
    if row.is_logged { row.since.max(row.logged_since) } else { row.since }
}

/// Whether a store has a snapshot of its own.
fn has_snapshot(shared: &Shared, store: StoreNumber) -> Result<bool, Error> {
    let since = shared.catalog.lock().get(store).map(usable_since);
    let there = shared.layout.snapshots()?;
    Ok(there.iter().any(|(of, sequence)| *of == store && since.is_some_and(|s| *sequence >= s)))
}

fn collect(
    shared: &Arc<Shared>,
    kept: Vec<StorePolicy>,
    last_sequence: Sequence,
    as_of_ms: u64,
) -> Result<Held, Error> {
    let mut stores = Vec::new();
    {
        let catalog = shared.catalog.lock();
        for policy in kept {
            if let Some(row) = catalog.get(policy.number).filter(|row| row.name == policy.name) {
                stores.push((row.clone(), policy));
            }
        }
    }
    let layout = &shared.layout;
    let mut snapshots = Vec::new();
    for (store, sequence) in layout.snapshots()? {
        let of = stores.iter().find(|(_, policy)| policy.number == store);
        if of.is_none_or(|(row, _)| sequence < usable_since(row)) {
            continue;
        }
        let path = layout.snapshot(store, sequence);
        let file = File::open(&path).map_err(|error| wrong(&path, error))?;
        snapshots.push(HeldSnapshot { store, sequence, file, name: path.display().to_string() });
    }
    let segments = shared.segments.lock().clone();
    let segments = segments.into_iter().map(|segment| HeldSegment {
        number: segment.number,
        first_sequence: segment.first_sequence,
        bytes: segment.bytes,
        path: layout.segment(segment.number),
    });
    Ok(Held {
        shared: shared.clone(),
        data_set: layout.data_set,
        stores,
        snapshots,
        segments: segments.collect(),
        last_sequence,
        as_of_ms,
    })
}

impl HeldSnapshot {
    /// Its file, to be read at places.
    ///
    /// # Errors
    /// The file is lost.
    pub fn reader(&self) -> std::io::Result<OnDisk> {
        OnDisk::of(self.file.try_clone()?)
    }
}
