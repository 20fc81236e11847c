//! What changes leave for other members, beside what they leave in the log: the same records, encoded once.

use super::stores::{Registry, Store};
use super::{Keyspace, Locked};
use crate::cluster::{SLOTS, Slot};
use crate::log::{Batch, Ticket, awaits};
use crate::mutation::{self, Mutation};
use crate::replica::{Fed, Feed, Role, Route, SlotFeed};
use crate::store::{Acks, Durability, MAX_REPLICATION_FACTOR, StoreNumber, StorePolicy};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::sync::atomic::Ordering::Relaxed;

/// A buffer that grew larger than this is not kept.
const KEPT_BYTES: usize = 64 << 10;

thread_local! {
    /// Where a record is encoded that goes to several places.
    static ENCODED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Store {
    fn fed(&self) -> Fed {
        let Self { number, replication_factor, acks, .. } = *self;
        Fed { number, replication_factor, acks }
    }

    /// Whether a write needs a majority of owners that are in sync.
    #[inline]
    fn needs_quorum(&self) -> bool {
        self.acks == Acks::Quorum && self.replication_factor > 1
    }
}

/// The stores of at least a replication factor, as a number that other sets do not have, but for chance.
fn coverage_of(policies: &[StorePolicy], least_factor: u8) -> u64 {
    let covered = policies.iter().filter(|policy| policy.replication_factor >= least_factor);
    covered.fold(0, |sum: u64, policy| {
        let number = policy.number.to_le_bytes();
        let bytes = number.iter().chain(policy.name.as_bytes());
        // FNV-1a; a sum, as stores are in no order.
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        sum.wrapping_add(hash)
    })
}

impl Registry {
    /// The stores of at least a replication factor, as a number.
    pub(super) fn coverage(&self, least_factor: u8) -> u64 {
        coverage_of(&self.policies, least_factor)
    }

    /// The highest replication factor from which on stores have this number; `None`: they are no such stores.
    pub(super) fn least_of(&self, coverage: u64) -> Option<u8> {
        (1..=MAX_REPLICATION_FACTOR).rev().find(|least| self.coverage(*least) == coverage)
    }

    /// Tells all owners of a slot of a number that all are at then, see [`SlotFeed::align`].
    pub(super) fn align(&self, feed: &mut SlotFeed, slot: Slot, now_ms: u64) {
        let stores = self.stores.iter().map(|store| store.fed());
        // Its records go to all owners that get any.
        if let Some(store) = stores.max_by_key(|store| store.replication_factor) {
            feed.align(slot, store, now_ms);
        }
    }

    /// Whether all stores of at least a replication factor among `new` were so before, or were not there.
    fn covers(&self, new: &[StorePolicy], least_factor: u8) -> bool {
        let mut covered = new.iter().filter(|policy| policy.replication_factor >= least_factor);
        covered.all(|policy| {
            let old = self.get(policy.number);
            old.is_none_or(|old| old.replication_factor >= least_factor)
        })
    }
}

impl Keyspace {
    /// What this member is for each slot, and its links to others.
    #[inline]
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Whether records of some store in a slot go to other members.
    #[inline]
    pub(super) fn is_fed(&self, slot: Slot) -> bool {
        self.cell(slot).is_some_and(|cell| cell.fed.least() != super::slot::NOT_FED)
    }

    /// Whether records of a store in a slot go to other members.
    #[inline]
    pub(super) fn feeds(&self, store: &Store, slot: Slot) -> bool {
        self.cell(slot).is_some_and(|cell| cell.fed.least() <= store.replication_factor)
    }

    /// Becomes for a slot what the table says: what its role is, and who else owns it, in the owners'
    /// order and without this member. `handed_over`: this member was its primary until now, and the slot
    /// was taken over with everything; without that, what waits is told that its end is not known.
    /// Whether the slot is served is set apart from that, and before a member stops being primary.
    ///
    /// False: a newer epoch of the slot is known here than the role is of, and nothing was changed. A
    /// primary of a slot that nobody else owns, on a member that never was anything else, is nothing that
    /// is noted.
    pub fn place(&self, slot: Slot, role: Role, route: &[Route], handed_over: bool) -> bool {
        let Some(cell) = self.cell(slot) else { return false };
        if route.is_empty() && !matches!(role, Role::Replica { .. }) && !self.feed.is_known(slot) {
            return true;
        }
        // Stores do not change meanwhile.
        let _changing = self.changing.lock();
        let registry = self.registry.load();
        let state = cell.state.lock();
        let is_placed = self.feed.change(slot, |feed| {
            let coverage = |least| registry.coverage(least);
            let is_placed =
                feed.become_role(slot, role, route, handed_over, self.random(), coverage);
            if feed.is_uneven() {
                let now_ms = self.seen_ms.load(Relaxed);
                registry.align(feed, slot, now_ms);
            }
            cell.fed.set(feed.least_factor());
            is_placed
        });
        drop(state);
        self.feed.changed();
        is_placed == Some(true)
    }

    /// Other stores are about to be in force: owners to whom more than new ones goes by that have to be
    /// attached anew, the others hear of it.
    pub(super) fn coverage_changes(&self, old: &Registry, new: &[StorePolicy]) {
        if !self.feed.is_on() {
            return;
        }
        for slot in 0..SLOTS {
            let Some(cell) = self.cell(slot) else { continue };
            let _state = cell.state.lock();
            self.feed.change_known(slot, |feed| {
                let covers = |least| old.covers(new, least);
                feed.cover(slot, |least| coverage_of(new, least), covers);
            });
        }
        self.feed.changed();
    }

    /// A record goes to the log, if its store is logged, and to the other members that its store goes to.
    /// Its slot is locked. The ticket, if it is in the log.
    #[inline]
    pub(super) fn record(
        &self,
        store: &Store,
        slot: Slot,
        now_ms: u64,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Option<Ticket> {
        let is_logged = store.is_logged && self.journal.is_on();
        if !self.feeds(store, slot) {
            let (number, durability) = (store.number, &store.durability);
            return is_logged
                .then(|| self.journal.append_one(number, durability, slot, now_ms, write));
        }
        ENCODED.with_borrow_mut(|encoded| {
            encoded.clear();
            write(encoded);
            let ticket = self.record_encoded(store, slot, now_ms, encoded, is_logged);
            encoded.shrink_to(KEPT_BYTES);
            ticket
        })
    }

    #[inline(never)]
    fn record_encoded(
        &self,
        store: &Store,
        slot: Slot,
        now_ms: u64,
        encoded: &[u8],
        is_logged: bool,
    ) -> Option<Ticket> {
        self.feed.append(slot, store.fed(), now_ms, encoded);
        is_logged.then(|| {
            let write = |out: &mut Vec<u8>| out.extend_from_slice(encoded);
            self.journal.append_one(store.number, &store.durability, slot, now_ms, write)
        })
    }

    /// As [`Self::record`], for records that are to be there together; all their slots are locked.
    pub(super) fn record_batch(
        &self,
        registry: &Registry,
        batch: &Batch,
        now_ms: u64,
    ) -> Option<Ticket> {
        let durability = |number| {
            registry.get(number).map_or_else(Durability::default, |store| store.durability.clone())
        };
        let is_logged =
            |number: StoreNumber| registry.get(number).is_some_and(|store| store.is_logged);
        let mut slots: SmallVec<[Slot; 4]> = SmallVec::new();
        let mut all_logged = self.journal.is_on();
        for (number, slot, _) in batch.records() {
            all_logged &= is_logged(number);
            if self.is_fed(slot) && !slots.contains(&slot) {
                slots.push(slot);
            }
        }
        for slot in slots {
            let records = batch.records().filter(|(_, of, _)| *of == slot);
            let fed = records
                .filter_map(|(number, _, commands)| Some((registry.get(number)?.fed(), commands)));
            self.feed.append_batch(slot, fed, now_ms);
        }
        if all_logged {
            return self.journal.append(batch, now_ms, durability);
        }
        if !self.journal.is_on() {
            return None;
        }
        let mut logged = Batch::default();
        for (number, slot, commands) in batch.records().filter(|(number, ..)| is_logged(*number)) {
            logged.add(number, slot, |out| out.extend_from_slice(commands));
        }
        self.journal.append(&logged, now_ms, durability)
    }

    /// A command of a store whose answers wait for others, or for the disk, was done in a slot that is locked: it waits
    /// for what it did and for what it may have seen.
    #[inline]
    pub(super) fn note_unconfirmed(&self, store: &Store, slot: Slot) {
        if store.awaits_disk {
            self.note_unforced(slot, store.acks != Acks::One);
        }
        if mutation::is(Mutation::DirtyRead) {
            return self.feed.note_new(slot);
        }
        if store.acks != Acks::One {
            self.feed.note(slot);
        }
    }

    /// What a command did in a slot, which is locked, is answered once it is on the disk: it waits for that, and so does
    /// who reads of the slot later.
    #[inline]
    pub(super) fn note_forced(&self, slot: Slot, ticket: Ticket) {
        self.journal.force(slot, ticket);
        awaits::note(ticket);
    }

    /// What a command in a slot may have seen is not on the disk yet: it waits for that. While the disk fails, readers
    /// of what is not to outlive this member (`is_kept`: it is) see what there is, as those that write are refused.
    #[inline]
    fn note_unforced(&self, slot: Slot, is_kept: bool) {
        if let Some(ticket) = self.journal.unforced_in(slot)
            && !mutation::is(Mutation::UnforcedRead)
            && (is_kept || !self.journal.is_failed())
        {
            awaits::note(ticket);
        }
    }

    /// Whether a write to a store is refused because too few owners of its slot are in sync.
    #[inline]
    pub(super) fn lacks_replicas(&self, store: &Store, slot: Slot) -> bool {
        store.needs_quorum() && !self.has_quorum(store, slot)
    }

    /// Whether a write to all of a store is refused because too few owners of a slot that is served here, and
    /// in which it has keys, are in sync.
    pub fn lacks_replicas_anywhere(&self, number: StoreNumber) -> bool {
        let registry = self.registry.load();
        let Some(store) = registry.get(number).filter(|store| store.needs_quorum()) else {
            return false;
        };
        let occupied =
            (0..SLOTS).filter(|slot| store.counters.occupancy.next(*slot) == Some(*slot));
        let mut served = occupied.filter(|slot| self.is_serving(*slot));
        served.any(|slot| self.lacks_replicas(store, slot))
    }

    #[cold]
    fn has_quorum(&self, store: &Store, slot: Slot) -> bool {
        let factor = store.replication_factor;
        self.feed.look(slot, |feed| feed.has_quorum(factor)).unwrap_or(false)
    }
}

impl Locked<'_> {
    /// As [`Keyspace::note_unconfirmed`], of all slots that are locked.
    #[inline]
    pub(super) fn note_unconfirmed(&self) {
        let awaits_others = self.registry.awaits_others;
        if self.registry.awaits_disk {
            let slots = self.guards.iter().map(|(slot, _)| *slot);
            slots.for_each(|slot| self.space.note_unforced(slot, awaits_others));
        }
        if awaits_others {
            self.guards.iter().for_each(|(slot, _)| self.space.feed.note(*slot));
        }
    }

    /// Whether a command that writes is refused because too few owners of one of its keys' slots are in
    /// sync.
    pub fn lacks_replicas<'k, K: IntoIterator<Item = &'k [u8]>>(
        &self,
        number: StoreNumber,
        keys: impl FnOnce() -> K,
    ) -> bool {
        self.registry.awaits_others
            && keys().into_iter().any(|key| {
                let store = self.registry.route(number, key);
                store.is_some_and(|store| {
                    self.space.lacks_replicas(store, self.space.hashed(key).slot)
                })
            })
    }
}

#[cfg(test)]
#[path = "feeding_tests.rs"]
mod tests;
