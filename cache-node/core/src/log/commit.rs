//! When what is written is forced to the disk, what that makes durable, and what is done when the disk
//! fails. Who has threads and clocks calls: for each cycle [`Commit::begin`], [`Commit::again`] as long
//! as that failed, and [`Commit::end`].
//!
//! | what fails | what is done |
//! |---|---|
//! | a write | the file is cut back and it is tried again, until it works |
//! | an fsync | never tried again: a new segment, then snapshots of all logged stores |
//!
//! Meanwhile the journal is failed: who waits is told, and writers of logged stores are refused.

use super::Sequence;
use super::journal::{Failed, Journal, Ticket};
use super::writer::{Files, Options, Trouble, Writer};
use crate::store::{Durability, Fsync, StoreNumber, StorePolicy};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};

/// By how much an interval is over earlier than it says, in milliseconds: what may wait unwritten
/// before it.
const EARLY_MS: u64 = 10;

/// What those who write the log and those who take snapshots know of each other.
#[derive(Debug, Default)]
pub struct Standing {
    /// All records up to this one are on the disk, or will be in snapshots before anything is called
    /// durable again.
    pub synced: AtomicU64,
    /// Somebody wants what is written to be on the disk.
    pub sync_wanted: AtomicBool,
    /// What was written may be gone: snapshots of all logged stores are needed before writes are
    /// accepted. Grows with every time that this is so.
    pub lost: AtomicU64,
    /// Up to which [`Self::lost`] that was done.
    pub regained: AtomicU64,
    /// The disk may not know which stores there are, and so nothing is durable: see
    /// [`super::catalog::Catalog::follow`].
    pub is_unlisted: AtomicBool,
}

impl Standing {
    /// What was lost that no snapshots have regained; `None`: nothing.
    pub fn to_regain(&self) -> Option<u64> {
        let lost = self.lost.load(Acquire);
        (lost > self.regained.load(Acquire)).then_some(lost)
    }

    /// Snapshots of all logged stores are on the disk that were begun when this was lost.
    pub fn regain(&self, lost: u64) {
        self.regained.fetch_max(lost, AcqRel);
    }
}

/// The time of a call.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// In Unix milliseconds.
    pub unix_ms: u64,
    /// Of a clock that is never set, in milliseconds since whenever.
    pub steady_ms: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Commit {
    log: Writer,
    /// Each store's durability, as of `policies`.
    durability: BTreeMap<StoreNumber, Durability>,
    policies: Arc<Vec<StorePolicy>>,
    /// Something is written that was not forced to the disk.
    unsynced: bool,
    /// When it has to be, of the steady clock.
    due_ms: Option<u64>,
    /// The cycle that is being written, and the bytes of each store in it.
    now: Option<Cycle>,
    /// The cycle that was written last, and the last sequence in it.
    last: Option<(Ticket, Sequence)>,
    /// The last sequence that was given before the start.
    began_after: Sequence,
    /// What was lost: see [`Standing::lost`]. 0: nothing that snapshots have not regained.
    lost: u64,
}

#[derive(Debug)]
struct Cycle {
    ticket: Ticket,
    last_sequence: Sequence,
    bytes: BTreeMap<StoreNumber, u64>,
    has_failed: bool,
}

/// A cycle that is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// The bytes of each store in it.
    pub bytes: BTreeMap<StoreNumber, u64>,
    /// All lower sequences are in segments before the one that it is in, if that is new.
    pub first_sequence: Sequence,
}

impl Commit {
    /// Begins a log, or goes on with it.
    pub fn new(options: Options) -> Self {
        Self {
            began_after: options.last_sequence,
            log: Writer::new(options),
            durability: BTreeMap::new(),
            policies: Arc::default(),
            unsynced: false,
            due_ms: None,
            now: None,
            last: None,
            lost: 0,
        }
    }

    /// What writes the segments.
    pub fn log(&self) -> &Writer {
        &self.log
    }

    /// When something that is written has to be forced to the disk, of the steady clock.
    pub fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// Something is written that was not forced to the disk.
    pub fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    /// A segment was begun, and all that is written is on the disk.
    pub fn is_on_disk(&self) -> bool {
        !self.unsynced && self.log.number().is_some()
    }

    /// Something is lost that snapshots have not regained.
    pub fn has_lost(&self) -> bool {
        self.lost > 0
    }

    /// A cycle is begun and not written.
    pub fn is_writing(&self) -> bool {
        self.now.is_some()
    }

    fn look_at_policies(&mut self, policies: &Arc<Vec<StorePolicy>>) {
        if !Arc::ptr_eq(policies, &self.policies) {
            let each = policies.iter().map(|policy| (policy.number, policy.durability.clone()));
            self.durability = each.collect();
            self.policies = policies.clone();
        }
    }

    /// Takes all that waits in the journal, and writes it; with how many bytes of which store.
    ///
    /// # Errors
    /// What failed: [`Self::again`] is to be called, after a pause, until it does not.
    pub fn begin<F: Files>(
        &mut self,
        files: &mut F,
        journal: &Journal,
        standing: &Standing,
        policies: &Arc<Vec<StorePolicy>>,
        now: Now,
    ) -> Result<Written, Trouble> {
        self.look_at_policies(policies);
        let taken = journal.take();
        let (ticket, last_sequence) = (taken.cycle, taken.last_sequence);
        let mut bytes = BTreeMap::<StoreNumber, u64>::new();
        for frame in &taken.frames {
            *bytes.entry(frame.store()).or_default() += frame.len() as u64;
        }
        self.now = Some(Cycle { ticket, last_sequence, bytes, has_failed: false });
        let written = self.log.write(files, taken.frames, last_sequence, now.unix_ms);
        self.after(written, files, journal, standing)
    }

    /// Tries again to write what could not be written.
    ///
    /// # Errors
    /// What failed, as before.
    pub fn again<F: Files>(
        &mut self,
        files: &mut F,
        journal: &Journal,
        standing: &Standing,
        now: Now,
    ) -> Result<Written, Trouble> {
        let written = self.log.retry(files, now.unix_ms);
        self.after(written, files, journal, standing)
    }

    fn after<F: Files>(
        &mut self,
        written: Result<(), Trouble>,
        files: &mut F,
        journal: &Journal,
        standing: &Standing,
    ) -> Result<Written, Trouble> {
        let first_sequence = self.last.map_or(self.began_after, |(_, last)| last) + 1;
        let Some(cycle) = &mut self.now else { return Ok(Written::default()) };
        if let Err(trouble) = written {
            cycle.has_failed = true;
            match trouble {
                Trouble::Write(_) => fail(journal, &trouble),
                Trouble::Sync(_) | Trouble::TooMuch => self.loses(journal, standing, &trouble),
            }
            return Err(trouble);
        }
        let (bytes, has_failed) = (cycle.bytes.clone(), cycle.has_failed);
        if !bytes.is_empty() {
            journal.recycle(self.log.take_spent());
            self.unsynced = true;
            if has_failed {
                // What follows tells its own trouble.
                let _ = self.sync(files, journal, standing);
            }
        }
        Ok(Written { bytes, first_sequence })
    }

    /// Ends a cycle that is written: forces it to the disk if that is due, or wanted, and tells who
    /// waits for that.
    ///
    /// # Errors
    /// What was lost: snapshots are needed.
    pub fn end<F: Files>(
        &mut self,
        files: &mut F,
        journal: &Journal,
        standing: &Standing,
        now: Now,
    ) -> Result<(), Trouble> {
        let Some(cycle) = self.now.take() else { return Ok(()) };
        let mut at_once = false;
        for store in cycle.bytes.keys() {
            at_once |= self.note(*store, now.steady_ms);
        }
        journal.written(cycle.ticket);
        self.last = Some((cycle.ticket, cycle.last_sequence));
        let mut trouble = Ok(());
        if journal.take_lost() {
            trouble = Err(Trouble::TooMuch);
            self.loses(journal, standing, &Trouble::TooMuch);
        }
        let wanted = standing.sync_wanted.swap(false, AcqRel);
        let is_due = self.due_ms.is_some_and(|due| due <= now.steady_ms);
        // What failed is well again only once it is on the disk.
        let asked = at_once || wanted || is_due || journal.is_failed() || journal.awaiting() > 0;
        if self.unsynced && asked {
            trouble = trouble.and(self.sync(files, journal, standing));
        }
        if !self.unsynced {
            self.is_durable(journal, standing);
        }
        trouble
    }

    /// Notes when a frame of a store has to be on the disk; whether that is at once.
    fn note(&mut self, store: StoreNumber, now_ms: u64) -> bool {
        let mut at_once = false;
        let mut note = |durability: &Durability, due: &mut Option<u64>| match durability.fsync {
            Fsync::Always => at_once = true,
            Fsync::Periodic => {
                let then = now_ms + durability.fsync_interval_ms.saturating_sub(EARLY_MS);
                *due = Some(due.map_or(then, |due| due.min(then)));
            }
            Fsync::Never => {}
        };
        match self.durability.get(&store) {
            Some(durability) => note(durability, &mut self.due_ms),
            // A batch over several stores: as the strictest has it.
            None => {
                let logged = self.durability.values().filter(|each| each.mode.is_logged());
                logged.for_each(|each| note(each, &mut self.due_ms));
            }
        }
        at_once
    }

    /// Forces what is written to the disk.
    fn sync<F: Files>(
        &mut self,
        files: &mut F,
        journal: &Journal,
        standing: &Standing,
    ) -> Result<(), Trouble> {
        self.unsynced = false;
        self.due_ms = None;
        let synced = self.log.sync(files).map(drop);
        if let Err(trouble) = &synced {
            self.loses(journal, standing, trouble);
        }
        synced
    }

    /// All that was written is on the disk, or what was lost is noted: tells who waits for that.
    fn is_durable(&mut self, journal: &Journal, standing: &Standing) {
        let Some((cycle, sequence)) = self.last else { return };
        standing.synced.store(sequence, Release);
        if self.lost == 0 && !standing.is_unlisted.load(Acquire) {
            if journal.is_failed() {
                journal.heal();
            }
            journal.durable(cycle);
        }
    }

    /// What is on the disk lacks something: only snapshots make it whole again.
    fn loses(&mut self, journal: &Journal, standing: &Standing, trouble: &Trouble) {
        // First of all, so that who is refused knows that it is needed.
        self.lost = standing.lost.fetch_add(1, AcqRel) + 1;
        fail(journal, trouble);
    }

    /// What was lost may be in snapshots by now: then a cycle is to follow, which makes all well.
    pub fn regain(&mut self, standing: &Standing) -> bool {
        let is_regained = self.lost > 0 && standing.regained.load(Acquire) >= self.lost;
        if is_regained {
            self.lost = 0;
            self.log.snapshots_are_taken();
            standing.sync_wanted.store(true, Release);
        }
        is_regained
    }

    /// The last that is done: all that is written is forced to the disk.
    ///
    /// # Errors
    /// It is lost.
    pub fn finish<F: Files>(
        &mut self,
        files: &mut F,
        journal: &Journal,
        standing: &Standing,
    ) -> Result<(), Trouble> {
        if self.unsynced {
            self.sync(files, journal, standing)?;
            self.is_durable(journal, standing);
        }
        Ok(())
    }
}

fn fail(journal: &Journal, trouble: &Trouble) {
    journal.fail(Failed(trouble.to_string().into()));
}
