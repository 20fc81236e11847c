//! A slot that follows its primary on another member: what comes is done under the slot's lock, and goes
//! to this member's own log.

use super::replaying::{Remains, Replaying};
use super::slot::State;
use super::snapshot::keys_of;
use super::stores::Registry;
use super::values::commands::{self, Whole};
use super::{Cell, Keyspace};
use crate::cluster::{MemberId, SLOTS, Slot};
use crate::log::record::put_command;
use crate::log::{Batch, Ticket};
use crate::mutation::{self, Mutation};
use crate::replica::{Mark, Refused, Role, SlotFeed};
use crate::store::{EvictionPolicy, StoreNumber};
use smallvec::SmallVec;
use std::sync::atomic::Ordering::Relaxed;

/// A slot that is locked for what comes from its primary.
pub(crate) struct Applying<'s> {
    pub(super) space: &'s Keyspace,
    pub(super) registry: &'s Registry,
    cell: &'s Cell,
    pub(super) state: &'s mut State,
    slot: Slot,
    now_ms: u64,
    remains: Remains,
    /// What is to go to the log together.
    batch: Batch,
    /// What has to be on the disk before it is confirmed.
    pub ticket: Option<Ticket>,
}

impl Keyspace {
    /// Locks a slot for what comes from its primary; `None` if there is no such slot.
    pub(crate) fn with_applying<R>(
        &self,
        slot: Slot,
        now_ms: u64,
        run: impl FnOnce(&mut Applying<'_>) -> R,
    ) -> Option<R> {
        let cell = self.cell(slot)?;
        let mut guard = cell.state.lock();
        // Under the lock, as everywhere: who changes the stores then waits for it.
        let registry = self.registry.load();
        let mut applying = Applying {
            space: self,
            registry: &registry,
            cell,
            state: &mut guard,
            slot,
            now_ms,
            remains: Remains::default(),
            batch: Batch::default(),
            ticket: None,
        };
        let result = run(&mut applying);
        let remains = std::mem::take(&mut applying.remains);
        drop(guard);
        self.bury(remains);
        Some(result)
    }

    /// This member's copy of a slot that it follows another in does not count any more: something is wrong
    /// with it. What its primary sends next is refused, and so the primary gives it everything anew. False
    /// if it follows nobody there.
    pub fn give_up_copy(&self, slot: Slot) -> bool {
        let Some(cell) = self.cell(slot) else { return false };
        let _state = cell.state.lock();
        let given_up = self.feed.change_known(slot, |feed| {
            let follows = matches!(feed.role(), Role::Replica { .. });
            if follows {
                feed.give_up();
            }
            follows
        });
        given_up == Some(true)
    }

    /// This member follows another in a slot, and is to have the stores of at least a replication factor, which its place
    /// among the owners says. Where it was the primary until now it has all: the others go, and it goes on with those,
    /// without getting them again.
    pub fn narrow(&self, slot: Slot, least_factor: u8) {
        // Stores do not change meanwhile.
        let _changing = self.changing.lock();
        let registry = self.registry.load();
        self.with_applying(slot, self.seen_ms.load(Relaxed), |applying| {
            let coverage = |least| registry.coverage(least);
            let narrow = |feed: &mut SlotFeed| feed.narrow(least_factor, coverage);
            if self.feed.change_known(slot, narrow) == Some(true) {
                applying.clear_unheld();
            }
        });
    }

    /// What slots that this member follows others in hold of stores that it is not to have there goes.
    pub(super) fn clear_unheld(&self) {
        if !self.feed.is_on() {
            return;
        }
        let now_ms = self.seen_ms.load(Relaxed);
        for slot in (0..SLOTS).filter(|slot| self.feed.is_known(*slot)) {
            self.with_applying(slot, now_ms, |applying| applying.clear_unheld());
        }
    }

    /// Stores of which keys are in a slot that this member follows another in, although its copy is not one of these: what is
    /// done there it is not told of, and as their primary it would bring it back.
    pub fn unheld(&self, slot: Slot) -> SmallVec<[StoreNumber; 4]> {
        let unheld = self.with_applying(slot, 0, |applying| applying.unheld());
        unheld.unwrap_or_default()
    }

    /// Whether keys of a slot, which is locked, may leave because their lifetime is over or for room: its
    /// primary alone says so, while it serves it.
    #[inline]
    pub(super) fn may_remove(&self, slot: Slot) -> bool {
        if mutation::is(Mutation::ExpiryAtReplica) {
            return true;
        }
        !self.feed.is_on() || self.is_serving(slot) || !self.feed.is_known(slot)
    }
}

impl Applying<'_> {
    /// Looks at, or changes, what this member is for the slot.
    pub fn feed<R>(&self, run: impl FnOnce(&mut SlotFeed) -> R) -> Option<R> {
        self.space.feed.change(self.slot, run)
    }

    /// A mark came. `deposed` hears if this member was the slot's primary until now.
    pub fn take_mark(
        &mut self,
        from: MemberId,
        session: u64,
        mark: &Mark,
        deposed: impl FnOnce(),
    ) -> Result<(), Refused> {
        let held = self.space.feed.held_bytes();
        let marked = self.feed(|feed| feed.take_mark(from, session, mark, held));
        let marked = marked.unwrap_or(Err(Refused::Unattached))?;
        if marked.deposed {
            self.cell.fed.set(super::slot::NOT_FED);
            self.cell.serving.store(false, Relaxed);
            self.space.served.set(self.slot, false);
            self.state.end_waits();
            self.cell.waited.store(false, Relaxed);
            deposed();
        }
        if marked.begins_anew {
            self.clear(|_| true);
        } else {
            self.clear_unheld();
        }
        if marked.lacks { Err(Refused::Unattached) } else { Ok(()) }
    }

    fn unheld(&self) -> SmallVec<[StoreNumber; 4]> {
        let has = |feed: &SlotFeed| {
            let follows = matches!(feed.role(), Role::Replica { .. });
            follows.then(|| feed.position()).filter(|position| position.epoch != 0)
        };
        let position = self.space.feed.look(self.slot, has).flatten();
        let held = position.and_then(|position| self.registry.least_of(position.coverage));
        let Some(least) = held else { return SmallVec::new() };
        let tables = self.state.tables.iter().filter(|table| table.table.len() > 0);
        let is_more =
            |number| self.registry.get(number).is_some_and(|it| it.replication_factor < least);
        tables.map(|table| table.number).filter(|number| is_more(*number)).collect()
    }

    /// What the slot holds of stores that it is not to have goes.
    pub fn clear_unheld(&mut self) {
        let unheld = self.unheld();
        if !unheld.is_empty() && !mutation::is(Mutation::KeptStores) {
            self.clear(|number| unheld.contains(&number));
        }
    }

    /// What the slot holds of some stores goes, here and in the log.
    fn clear(&mut self, goes: impl Fn(StoreNumber) -> bool) {
        let numbers: SmallVec<[StoreNumber; 8]> =
            self.state.tables.iter().map(|table| table.number).collect();
        for number in numbers.into_iter().filter(|number| goes(*number)) {
            let Some(mut table) = self.state.take(number) else { continue };
            table.leave_sessions(&self.space.hasher);
            if table.table.len() > 0 {
                self.log(number, |out| put_command(out, &[b"FLUSHDB"]));
            }
            self.remains.tables.push(table.close());
        }
        self.append();
    }

    /// Whether a store was here and was dropped: its records are of no use any more.
    pub fn was_dropped(&self, number: StoreNumber) -> bool {
        self.space.dropped.lock().contains(&number)
    }

    /// The replication factor of a store here; of one that is not here any more, the highest.
    pub fn factor_of(&self, number: StoreNumber) -> u8 {
        self.registry.get(number).map_or(u8::MAX, |store| store.replication_factor)
    }

    /// Runs something in a store of the slot; `None` if there is none.
    pub fn replaying<R>(
        &mut self,
        number: StoreNumber,
        now_ms: u64,
        run: impl FnOnce(&mut Replaying<'_>) -> R,
    ) -> Option<R> {
        let store = self.registry.get(number)?;
        let (state, remains) = (&mut *self.state, &mut self.remains);
        Some(self.space.replaying(store, self.slot, now_ms, state, remains, run))
    }

    /// What was done goes to the log, if its store is logged, with the next [`Self::append`].
    pub fn log(&mut self, number: StoreNumber, write: impl FnOnce(&mut Vec<u8>)) {
        let is_logged = self.registry.get(number).is_some_and(|store| store.is_logged);
        if is_logged && self.space.journal.is_on() {
            self.batch.add(number, self.slot, write);
        }
    }

    /// Appends to the journal what was logged, as one batch.
    pub fn append(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let awaits = |number| self.registry.get(number).is_some_and(|store| store.awaits_disk);
        let awaits = self.batch.records().any(|(number, ..)| awaits(number));
        let ticket = self.space.record_batch(self.registry, &self.batch, self.now_ms);
        if awaits {
            self.forces(ticket);
        }
        self.batch.clear();
    }

    /// What was done is confirmed once it is on the disk, and who reads it here later waits for that as well.
    fn forces(&mut self, ticket: Option<Ticket>) {
        if let Some(ticket) = ticket {
            self.space.journal.force(self.slot, ticket);
        }
        self.ticket = self.ticket.max(ticket);
    }

    /// Adds the entries of a piece. False: they make no sense, or there is no such store.
    pub fn load(&mut self, number: StoreNumber, entries: &[u8]) -> bool {
        let Some(store) = self.registry.get(number) else { return entries.is_empty() };
        // All of them: its primary alone says whose lifetime is over.
        let loaded = self.space.load_into(store, self.slot, self.state, entries, self.now_ms, 0);
        if loaded.is_err() {
            return false;
        }
        if !store.is_logged || !self.space.journal.is_on() {
            return true;
        }
        let hasher = &self.space.hasher;
        for key in keys_of(entries, hasher) {
            let Some(table) = self.state.get(number) else { continue };
            let place = table.table.find(hasher.hash(key), key);
            let Some(entry) = place.and_then(|place| table.table.get(place)) else { continue };
            let in_session = store.eviction == EvictionPolicy::Session && entry.usage.in_session();
            let (value, expires_at_ms) = (entry.value, entry.expires_at_ms);
            let whole = Whole { key, value, expires_at_ms, in_session, replaces: true };
            let write = |out: &mut Vec<u8>| commands::put(out, &whole);
            let ticket = self.space.record(store, self.slot, self.now_ms, write);
            if store.awaits_disk {
                self.forces(ticket);
            }
        }
        true
    }
}
