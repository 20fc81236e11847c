//! One slot: its lock, and a table for each store that has keys in it.

use super::entry::Entry;
use super::eviction::session::Fate;
use super::eviction::usage::Usage;
use super::hash::{KeyHasher, position};
use super::stores::Counters;
use super::table::{Place, Table};
use super::values::Value;
use super::watch::{self, Watches};
use crate::cluster::Slot;
use crate::store::StoreNumber;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// No key of the slot has a lifetime.
pub const NEVER: u64 = u64::MAX;

/// A slot as it stands in the keyspace.
#[derive(Default)]
pub struct Cell {
    /// Written under the lock only.
    pub serving: AtomicBool,
    /// Whether anybody waits for a key here. Written under the lock only.
    pub waited: AtomicBool,
    /// What the lock guards.
    pub state: Mutex<State>,
}

/// The tables of a slot.
#[derive(Default)]
pub struct State {
    pub tables: SmallVec<[StoreTable; 1]>,
}

/// One store's entries in a slot, with the accounts that belong to them.
pub struct StoreTable {
    pub number: StoreNumber,
    pub slot: Slot,
    pub table: Table,
    pub counters: Arc<Counters>,
    /// The blocks of the entries; the table's own are not in it.
    entry_bytes: usize,
    pub with_ttl: usize,
    /// No key here expires before this time.
    pub next_expiry_ms: u64,
    /// Where the expiry cycle goes on, by position.
    pub expiry_position: u64,
    /// The least lifetime seen in the expiry cycle's pass that is under way.
    pub pass_least_ms: u64,
    /// The keys here whose changes somebody waits to see.
    pub watches: Option<Box<Watches>>,
}

impl State {
    /// A store's table, if it was ever needed here.
    #[inline]
    pub fn get(&self, number: StoreNumber) -> Option<&StoreTable> {
        self.tables.iter().find(|table| table.number == number)
    }

    /// A store's table, if it was ever needed here.
    #[inline]
    pub fn get_mut(&mut self, number: StoreNumber) -> Option<&mut StoreTable> {
        self.tables.iter_mut().find(|table| table.number == number)
    }

    /// A store's table, made if it is not there.
    #[inline]
    pub fn get_or_make(
        &mut self,
        number: StoreNumber,
        slot: Slot,
        counters: &Arc<Counters>,
    ) -> &mut StoreTable {
        let index = match self.tables.iter().position(|table| table.number == number) {
            Some(index) => index,
            None => {
                self.tables.push(StoreTable {
                    number,
                    slot,
                    table: Table::new(counters.filter_bits.load(Relaxed)),
                    counters: Arc::clone(counters),
                    entry_bytes: 0,
                    with_ttl: 0,
                    next_expiry_ms: NEVER,
                    expiry_position: 0,
                    pass_least_ms: NEVER,
                    watches: None,
                });
                self.tables.len() - 1
            }
        };
        &mut self.tables[index]
    }

    /// Takes a store's table out, for its owner to drop after the lock is given back.
    #[must_use]
    pub fn take(&mut self, number: StoreNumber) -> Option<StoreTable> {
        let index = self.tables.iter().position(|table| table.number == number)?;
        let table = self.tables.swap_remove(index);
        table.counters.occupancy.set(table.slot, false);
        Some(table)
    }
}

impl StoreTable {
    /// What stands on the heap for it.
    pub fn heap_bytes(&self) -> usize {
        self.entry_bytes + self.table.heap_bytes()
    }

    /// Adds an entry whose key is not there yet.
    pub fn insert(&mut self, hasher: &KeyHasher, hash: u64, mut entry: Entry, now_ms: u64) {
        watch::changed(&mut self.watches, entry.key.as_slice());
        let turn = self.counters.pace.next_turn();
        entry.usage = Usage::new(turn, now_ms);
        entry.usage.set_in_window(self.counters.eviction.came_in(self.slot, hash, turn));
        let before = self.heap_bytes();
        self.entry_bytes += entry.heap_bytes();
        if entry.expires_at_ms != 0 {
            self.count_ttl(true);
            self.note_expiry(entry.expires_at_ms);
        }
        if self.table.len() == 0 {
            self.counters.occupancy.set(self.slot, true);
        }
        self.table.insert(hasher, hash, entry);
        self.counters.keys.fetch_add(1, Relaxed);
        self.counters.charge(before, self.heap_bytes());
    }

    /// Takes an entry out.
    pub fn remove(&mut self, hasher: &KeyHasher, place: Place) -> Option<Entry> {
        let before = self.heap_bytes();
        let entry = self.table.remove(hasher, place)?;
        watch::changed(&mut self.watches, entry.key.as_slice());
        self.entry_bytes -= entry.heap_bytes();
        self.leave_session(hasher, &entry);
        if entry.expires_at_ms != 0 {
            self.count_ttl(false);
        }
        if self.table.len() == 0 {
            self.counters.occupancy.set(self.slot, false);
            self.next_expiry_ms = NEVER;
            self.expiry_position = 0;
            self.pass_least_ms = NEVER;
        }
        self.counters.keys.fetch_sub(1, Relaxed);
        self.counters.charge(before, self.heap_bytes());
        Some(entry)
    }

    /// Brings its filters to what the store's policy says, a part at a time; true once all are.
    pub fn tend_filter(&mut self, hasher: &KeyHasher) -> bool {
        let before = self.heap_bytes();
        let done = self.table.tend_filter(hasher, self.counters.filter_bits.load(Relaxed));
        self.counters.charge(before, self.heap_bytes());
        done
    }

    /// A live key's value, with nothing counted and nothing removed.
    pub fn value(&self, hash: u64, key: &[u8], now_ms: u64) -> Option<&Value> {
        let entry = self.table.get(self.table.find(hash, key)?)?;
        (!entry.is_expired(now_ms)).then_some(&entry.value)
    }

    /// Whether a key's lifetime is over: its own, or its session's.
    #[inline]
    pub fn is_over(&self, hasher: &KeyHasher, entry: &Entry, now_ms: u64) -> bool {
        if !entry.usage.in_session() {
            return entry.is_expired(now_ms);
        }
        match self.counters.sessions.fate(hasher, entry, now_ms) {
            Fate::Own => entry.is_expired(now_ms),
            fate => fate == Fate::Over,
        }
    }

    /// When an entry ends as of now, in Unix milliseconds; 0 for never.
    pub fn ends_at_ms(&self, hasher: &KeyHasher, entry: &Entry, now_ms: u64) -> u64 {
        match self.counters.sessions.fate(hasher, entry, now_ms) {
            Fate::Until(at) => at,
            Fate::Over => now_ms,
            Fate::Own => entry.expires_at_ms,
        }
    }

    /// Binds a key's lifetime to its session, or lets it go by its own.
    pub fn bind_session(&mut self, hasher: &KeyHasher, place: Place, bind: bool, now_ms: u64) {
        let Some(entry) = self.table.get_mut(place) else { return };
        let bound = entry.usage.in_session();
        if bind == bound {
            return;
        }
        let sessions = &self.counters.sessions;
        entry.usage.set_in_session(bind);
        let (before, after) = if bind {
            // A turn of its own: a session that begins now is later than all that was touched.
            let turn = self.counters.pace.next_turn();
            entry.usage.set_touched(turn);
            sessions.join(hasher, entry.key.as_slice(), turn, now_ms)
        } else {
            sessions.leave(hasher, entry.key.as_slice(), entry.usage.touched())
        };
        self.counters.charge(before, after);
    }

    fn leave_session(&self, hasher: &KeyHasher, entry: &Entry) {
        if entry.usage.in_session() && self.counters.sessions.are_on() {
            let (key, touched) = (entry.key.as_slice(), entry.usage.touched());
            let (before, after) = self.counters.sessions.leave(hasher, key, touched);
            self.counters.charge(before, after);
        }
    }

    /// All keys leave their sessions: they are about to be dropped without a word.
    pub fn leave_sessions(&self, hasher: &KeyHasher) {
        if self.counters.sessions.are_on() {
            self.table.iter().for_each(|entry| self.leave_session(hasher, entry));
        }
    }

    /// Takes the keys out that are of one session with this one and stand near it: all of a
    /// slot, or of a segment of a large one. How many left.
    pub fn remove_session(
        &mut self,
        hasher: &KeyHasher,
        hash: u64,
        key: &[u8],
        mut left: impl FnMut(&Entry),
    ) -> usize {
        let mut hashes: SmallVec<[u64; 16]> = SmallVec::new();
        self.table.visit_segment(position(hash), |entry| {
            let other = entry.key.as_slice();
            if entry.usage.in_session() && self.counters.sessions.same(hasher, key, other) {
                hashes.push(hasher.hash(other));
            }
        });
        let mut gone = 0;
        for hash in hashes {
            let place = self.table.find_where(hash, |entry| {
                entry.usage.in_session() && hasher.hash(entry.key.as_slice()) == hash
            });
            if let Some(entry) = place.and_then(|place| self.remove(hasher, place)) {
                left(&entry);
                gone += 1;
            }
        }
        gone
    }

    /// Changes an entry's value and keeps the accounts.
    #[inline]
    pub fn change<R>(&mut self, place: Place, change: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        self.change_if(place, |entry| (change(entry), true))
    }

    /// As [`Self::change`], where `change` says whether there was anything to change.
    #[inline]
    pub fn change_if<R>(
        &mut self,
        place: Place,
        change: impl FnOnce(&mut Entry) -> (R, bool),
    ) -> Option<R> {
        let entry = self.table.get_mut(place)?;
        let before = entry.heap_bytes();
        let (result, changed) = change(entry);
        if changed {
            watch::changed(&mut self.watches, entry.key.as_slice());
        }
        let after = entry.heap_bytes();
        if before != after {
            self.entry_bytes = self.entry_bytes + after - before;
            self.counters.charge(before, after);
        }
        Some(result)
    }

    /// Sets when an entry ends; 0 for never.
    #[inline]
    pub fn set_expiry(&mut self, place: Place, expires_at_ms: u64) {
        let Some(entry) = self.table.get_mut(place) else { return };
        watch::changed(&mut self.watches, entry.key.as_slice());
        let had = entry.expires_at_ms != 0;
        entry.expires_at_ms = expires_at_ms;
        if expires_at_ms != 0 {
            self.note_expiry(expires_at_ms);
        }
        if had != (expires_at_ms != 0) {
            self.count_ttl(!had);
        }
    }

    fn count_ttl(&mut self, more: bool) {
        if more {
            self.with_ttl += 1;
            self.counters.keys_with_ttl.fetch_add(1, Relaxed);
        } else {
            self.with_ttl -= 1;
            self.counters.keys_with_ttl.fetch_sub(1, Relaxed);
        }
    }

    fn note_expiry(&mut self, expires_at_ms: u64) {
        self.next_expiry_ms = self.next_expiry_ms.min(expires_at_ms);
        self.pass_least_ms = self.pass_least_ms.min(expires_at_ms);
    }
}

impl StoreTable {
    /// Takes its entries out of the store's accounts, and gives them to whoever drops them.
    pub fn close(&mut self) -> Table {
        self.counters.add_filtered(self.table.filtered());
        self.counters.keys.fetch_sub(self.table.len() as u64, Relaxed);
        self.counters.keys_with_ttl.fetch_sub(self.with_ttl as u64, Relaxed);
        self.counters.charge(self.heap_bytes(), 0);
        (self.entry_bytes, self.with_ttl) = (0, 0);
        std::mem::take(&mut self.table)
    }
}

impl Drop for StoreTable {
    /// What a table holds is given back to its store's accounts, whoever drops it.
    fn drop(&mut self) {
        drop(self.close());
    }
}
