//! The thread that takes snapshots, and removes what is not needed any more.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::*;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hypercache_core::keyspace::Untaken;
use hypercache_core::log::draft::{self, Draft, Finished};
use hypercache_core::log::snapshot::{self, Header};
use hypercache_core::log::{Sequence, retention};
use hypercache_core::store::{StoreNumber, StorePolicy};

use super::shared::{Account, Shared, Taken, may_have_changed};
use super::stats::{LastError, RewriteStats, SnapshotStats};
use super::wanted::Purpose;
use crate::clock::now_ms;

/// How often it is looked whether a snapshot is due.
const LOOK: Duration = Duration::from_millis(250);
/// Between two tries of a snapshot that failed, in milliseconds.
const AGAIN_MS: u64 = 1_000;
/// Who serves clients comes first, but a snapshot has this part of the time at least: it goes on for so much of the time for
/// which it gave way. (On a machine that is busy that is some milliseconds each time.)
const LEAST_PART: u32 = 10;
/// How long the log may take until all is on the disk that is in a snapshot.
const LOG_PATIENCE: Duration = Duration::from_secs(60);

/// Starts the thread.
///
/// # Errors
/// There is none.
pub fn start(shared: &Arc<Shared>) -> io::Result<JoinHandle<()>> {
    let keeper = Keeper { shared: shared.clone() };
    let thread = thread::Builder::new().name("snapshots".into()).spawn(move || keeper.run())?;
    let _ = shared.keeper.set(thread.thread().clone());
    Ok(thread)
}

struct Keeper {
    shared: Arc<Shared>,
}

impl Keeper {
    fn run(self) {
        let shared = self.shared.clone();
        while !shared.is_ending.load(Acquire) {
            shared.follow_again();
            shared.space.look(&shared.layout.root);
            if shared.loading().is_none() {
                self.note_what_is_due();
                self.take_wanted();
                self.regain();
                if shared.clean_wanted.swap(false, AcqRel)
                    && let Err(error) = clean(&shared)
                {
                    tracing::warn!(
                        action = "clean-up-failed",
                        %error,
                        "what is not needed any more could not be removed"
                    );
                }
            }
            if shared.wanted.lock().stores.is_empty() || shared.loading().is_some() {
                thread::park_timeout(LOOK);
            }
        }
    }

    /// Stores whose interval is over, or whose log has grown.
    fn note_what_is_due(&self) {
        let (shared, now) = (&self.shared, now_ms());
        for policy in shared.kept() {
            let durability = &policy.durability;
            let accounts = shared.accounts.lock();
            let account = accounts.get(&policy.number);
            let tried_ms = account.map_or(0, |account| account.tried_ms);
            let last = account.and_then(|account| account.last_snapshot.as_ref());
            let grown = account.map_or(0, Account::log_bytes_since_snapshot);
            let begun_ms = tried_ms.max(shared.progress.started_ms.load(Relaxed));
            let is_over = durability.mode.has_snapshots()
                && now.saturating_sub(begun_ms) >= durability.snapshot_interval_ms
                && may_have_changed(durability.mode, grown);
            let percent = u64::from(durability.rewrite_percentage);
            let base = last.map_or(0, |last| last.bytes);
            let is_long = durability.mode.is_logged()
                && percent > 0
                && grown >= durability.rewrite_min_bytes
                && grown >= base.saturating_mul(percent) / 100
                && now.saturating_sub(tried_ms) >= AGAIN_MS;
            drop(accounts);
            if is_over || is_long {
                let purpose = Purpose { save: is_over, rewrite: is_long };
                shared.wanted.lock().ask(policy.number, purpose, None);
            }
        }
    }

    fn take_wanted(&self) {
        loop {
            let next = self.shared.wanted.lock().begin();
            let Some((taking, asked)) = next else { return };
            let began = Instant::now();
            // A store's first one may have what the log has not.
            let at_end = if taking.purpose.save { AtEnd::Finish } else { AtEnd::Abandon };
            let taken = take(&self.shared, taking.store, at_end);
            if taking.purpose.rewrite {
                let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                let ended = RewriteStats { ok: taken.is_ok(), took_ms };
                *self.shared.last_rewrite.lock() = Some(ended);
            }
            self.shared.wanted.lock().end();
            for sender in asked.who {
                let _ = sender.send(taken.clone());
            }
            if self.shared.is_ending.load(Acquire) {
                return;
            }
        }
    }

    /// Takes what makes the disk whole again after an fsync that failed.
    fn regain(&self) {
        let Some(lost) = self.shared.standing.to_regain() else { return };
        let kept = self.shared.kept();
        let mut all = true;
        for policy in kept.iter().filter(|policy| {
            // Also one that was logged until just now.
            let was_logged = is_in_log(&self.shared, policy.number);
            policy.durability.mode.is_logged() || was_logged
        }) {
            all &= take(&self.shared, policy.number, AtEnd::Finish).is_ok();
        }
        if all {
            self.shared.standing.regain(lost);
            self.shared.wake_writer();
        } else {
            thread::park_timeout(Duration::from_millis(AGAIN_MS));
        }
    }
}

/// Whether something of a store may be in the log alone.
fn is_in_log(shared: &Shared, store: StoreNumber) -> bool {
    shared.catalog.lock().content().is_in_log(store)
}

/// What becomes of a snapshot while the member stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtEnd {
    /// It may have what is nowhere else on the disk.
    Finish,
    /// The log has what is in it.
    Abandon,
}

/// Takes a snapshot of a store, and notes what came of it.
pub fn take(shared: &Shared, store: StoreNumber, at_end: AtEnd) -> Taken {
    let Some(policy) = shared.kept().into_iter().find(|policy| policy.number == store) else {
        return Err("there is no such store, or nothing of it is kept".into());
    };
    let began = Instant::now();
    let (log_bytes, tried_ms) = {
        let mut accounts = shared.accounts.lock();
        let account = accounts.entry(store).or_default();
        account.tried_ms = now_ms();
        (account.log_bytes, account.tried_ms)
    };
    let lost = shared.standing.lost.load(Acquire);
    let taken = write(shared, &policy, lost, at_end);
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut accounts = shared.accounts.lock();
    let account = accounts.entry(store).or_default();
    match taken {
        Ok(mut taken) => {
            taken.took_ms = took_ms;
            account.log_bytes_at_snapshot = log_bytes;
            account.snapshots.retain(|sequence| *sequence != taken.sequence);
            account.snapshots.push(taken.sequence);
            account.last_snapshot = Some(taken.clone());
            drop(accounts);
            shared.last_save_ms.store(taken.at_ms, Relaxed);
            shared.last_snapshot_ok.store(true, Relaxed);
            tracing::info!(
                action = "snapshot-done",
                store = policy.name,
                keys = taken.keys,
                bytes = taken.bytes,
                took_ms,
                sequence = taken.sequence,
                "a snapshot is on the disk"
            );
            if let Err(error) = clean(shared) {
                tracing::warn!(
                    action = "clean-up-failed",
                    %error,
                    "what is not needed any more could not be removed"
                );
            }
            Ok(taken)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            drop(accounts);
            tracing::info!(
                action = "snapshot-abandoned",
                store = policy.name,
                %error,
                "a snapshot was not finished, as the member stops"
            );
            Err(error.to_string())
        }
        Err(error) => {
            account.errors += 1;
            let reason = error.to_string();
            account.last_error = Some(LastError { at_ms: tried_ms, reason: reason.clone() });
            drop(accounts);
            shared.snapshot_errors.fetch_add(1, Relaxed);
            shared.last_snapshot_ok.store(false, Relaxed);
            tracing::error!(
                action = "snapshot-failed",
                store = policy.name,
                %error,
                "a snapshot failed"
            );
            Err(reason)
        }
    }
}

/// Writes the file; `lost` is what was lost of the log when it was begun.
fn write(
    shared: &Shared,
    policy: &StorePolicy,
    lost: u64,
    at_end: AtEnd,
) -> io::Result<SnapshotStats> {
    let (keyspace, journal) = (&shared.keyspace, shared.journal());
    let files = &shared.layout.files;
    let first_sequence = {
        let _changing = shared.changing.lock();
        journal.last_sequence()
    };
    let header = Header {
        data_set: shared.layout.data_set,
        store: policy.number,
        name: policy.name.clone(),
        created_ms: now_ms(),
        first_sequence,
    };
    let written = (|| {
        let mut draft = Draft::begin(files, &header, policy.durability.compression)?;
        let mut goes_on_until = Instant::now();
        let taken = keyspace.take_store(policy.number, &mut draft, || {
            let is_ending = shared.is_ending.load(Acquire);
            let gives_way = Instant::now();
            if !is_ending && gives_way >= goes_on_until {
                thread::yield_now();
                goes_on_until = Instant::now() + gives_way.elapsed() / LEAST_PART;
            }
            let goes_on = !is_ending || at_end == AtEnd::Finish;
            (goes_on && !shared.stop.load(Acquire)).then(now_ms)
        });
        taken.map_err(|error| match error {
            Untaken::File(error) => error,
            Untaken::Stopped => io::Error::new(io::ErrorKind::Interrupted, error),
        })?;
        let last = journal.last_sequence();
        let finished = draft.finish(last, now_ms())?;
        wait_for_log(shared, last, lost)?;
        if !shared.catalog.lock().content().finds(&header) {
            return Err(io::Error::other("the list of stores on the disk has not this store"));
        }
        finished.publish(files)?;
        let Finished { bytes, keys, first_sequence: sequence, .. } = finished;
        Ok(SnapshotStats { at_ms: now_ms(), took_ms: 0, bytes, keys, sequence })
    })();
    if written.is_err() {
        let _ = draft::abandon(files, &header);
    }
    written
}

/// Waits until all records up to this one are on the disk; `lost` is what was lost of the log before.
///
/// # Errors
/// The log failed, or it took too long.
pub fn wait_for_log(shared: &Shared, last: Sequence, lost: u64) -> io::Result<()> {
    let until = Instant::now() + LOG_PATIENCE;
    let mut pause = Duration::from_micros(50);
    loop {
        if shared.standing.lost.load(Acquire) != lost {
            return Err(io::Error::other("the log failed meanwhile"));
        }
        if shared.standing.synced.load(Acquire) >= last {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(io::Error::other("the log could not be forced to the disk meanwhile"));
        }
        shared.standing.sync_wanted.store(true, Release);
        shared.wake_writer();
        thread::park_timeout(pause);
        pause = (2 * pause).min(Duration::from_millis(5));
    }
}

/// Removes what is not needed any more.
pub fn clean(shared: &Shared) -> Result<(), super::Error> {
    let holds = shared.holds.lock();
    if *holds > 0 {
        // Whoever holds the files says so when it ends.
        return Ok(());
    }
    let files = &shared.layout.files;
    let catalog = shared.catalog.lock().content().clone();
    let mut segments = shared.segments.lock();
    let gone = retention::clean(files, &catalog, &mut segments);
    let gone = gone.map_err(|error| files.wrong(error))?;
    if gone > 0 {
        tracing::info!(
            action = "log-segments-removed",
            segments = gone,
            "segments of the log that nobody needs were removed"
        );
    }
    Ok(())
}

/// What a snapshot on the disk says of itself.
pub fn stats_of(found: &snapshot::Snapshot, bytes: u64) -> SnapshotStats {
    SnapshotStats {
        at_ms: found.ended_ms,
        took_ms: found.ended_ms.saturating_sub(found.header.created_ms),
        bytes,
        keys: found.keys,
        sequence: found.header.first_sequence,
    }
}
