//! A slot from bytes.

use super::super::Keyspace;
use super::super::eviction::usage::Usage;
use super::super::hash::KeyHasher;
use super::super::slot::{State, StoreTable};
use super::super::stores::Store;
use super::entry::{self, Decoded};
use crate::cluster::{Slot, slot_of};
use crate::log::recovery::Loaded;
use crate::store::StoreNumber;
use std::sync::atomic::Ordering::Relaxed;

/// What is wrong with a slot's bytes. What was loaded before stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// There is no such store, or no such slot.
    #[error("no such store")]
    NoStore,
    /// An entry makes no sense.
    #[error("the entry at byte {at} makes no sense; {} keys before it were loaded", loaded.keys)]
    Entry {
        /// Where it begins.
        at: usize,
        /// What was loaded before.
        loaded: Loaded,
    },
}

impl Keyspace {
    /// Adds the entries that [`super::SlotTaking`] gave to a slot of a store, served or not. Nobody hears
    /// of it, nothing is logged, no budget is looked at. Keys whose lifetime is over at `now_ms` are
    /// left out; keys that are there already get the loaded value.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn load_slot(
        &self,
        store: StoreNumber,
        slot: Slot,
        payload: &[u8],
        now_ms: u64,
    ) -> Result<Loaded, Damage> {
        let registry = self.registry.load();
        let store = registry.get(store).ok_or(Damage::NoStore)?;
        let cell = self.cell(slot).ok_or(Damage::NoStore)?;
        self.load_into(store, slot, &mut cell.state.lock(), payload, now_ms, now_ms)
    }

    /// As [`Self::load_slot`], in a slot that is locked; keys whose lifetime is over at `over_ms` are left
    /// out.
    pub(in crate::keyspace) fn load_into(
        &self,
        store: &Store,
        slot: Slot,
        state: &mut State,
        payload: &[u8],
        now_ms: u64,
        over_ms: u64,
    ) -> Result<Loaded, Damage> {
        let mut loaded = Loaded::default();
        let mut rest = payload;
        let counters = &store.counters;
        let table = state.get_or_make(store.number, slot, counters);
        let turn = counters.pace.key_turn(counters.keys.load(Relaxed), 0, now_ms);
        let mut loading = Loading::new(table, turn);
        let mut damage = None;
        while !rest.is_empty() {
            let at = payload.len() - rest.len();
            let entry = entry::take(&mut rest, &self.hasher);
            let Some(entry) = entry.filter(|entry| slot_of(entry.key) == slot) else {
                damage = Some(at);
                break;
            };
            if entry.expires_at_ms != 0 && entry.expires_at_ms <= over_ms {
                loaded.expired += 1;
                continue;
            }
            loading.add(&self.hasher, entry, now_ms);
            loaded.keys += 1;
        }
        drop(loading);
        let next_expiry_ms = table.next_expiry_ms;
        if let Some(due) = self.due_ms(slot) {
            due.fetch_min(next_expiry_ms, Relaxed);
        }
        state.tidy(store.number);
        damage.map_or(Ok(loaded), |at| Err(Damage::Entry { at, loaded }))
    }
}

/// The keys of the entries of a payload, as far as they make sense.
pub(in crate::keyspace) fn keys_of<'p>(
    payload: &'p [u8],
    hasher: &KeyHasher,
) -> impl Iterator<Item = &'p [u8]> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        (!rest.is_empty()).then_some(())?;
        entry::take(&mut rest, hasher).map(|entry| entry.key)
    })
}

/// A table that is filled: its accounts are brought up to date at the end.
struct Loading<'t> {
    table: &'t mut StoreTable,
    turn: u64,
    bytes_before: usize,
    /// Keys that are new.
    keys: u64,
    /// Those with a lifetime.
    with_ttl: usize,
}

impl<'t> Loading<'t> {
    fn new(table: &'t mut StoreTable, turn: u64) -> Self {
        let bytes_before = table.heap_bytes();
        Self { table, turn, bytes_before, keys: 0, with_ttl: 0 }
    }

    #[inline]
    fn add(&mut self, hasher: &KeyHasher, entry: Decoded<'_>, now_ms: u64) {
        let Decoded { key, value, expires_at_ms, in_session } = entry;
        let hash = hasher.hash(key);
        if let Some(place) = self.table.table.find(hash, key) {
            self.settle();
            self.table.replace(hasher, place, value, Some(expires_at_ms), now_ms);
            self.bytes_before = self.table.heap_bytes();
        } else {
            self.table.comes(hasher, key);
            let counters = &self.table.counters;
            let mut usage = Usage::new(self.turn);
            let (eviction, pace) = (&counters.eviction, &counters.pace);
            let keys = counters.keys.load(Relaxed) + self.keys + 1;
            eviction.came_in(self.table.slot, hash, &mut usage, pace, keys);
            self.table.table.insert(hasher, hash, key, value, expires_at_ms, usage);
            self.keys += 1;
            if expires_at_ms != 0 {
                self.with_ttl += 1;
                self.table.note_expiry(expires_at_ms);
            }
        }
        if in_session && self.table.counters.sessions.are_on() {
            self.settle();
            self.join_session(hasher, hash, key, expires_at_ms, now_ms);
            self.bytes_before = self.table.heap_bytes();
        }
    }

    #[cold]
    fn join_session(
        &mut self,
        hasher: &KeyHasher,
        hash: u64,
        key: &[u8],
        ends_at_ms: u64,
        now_ms: u64,
    ) {
        if let Some(place) = self.table.table.find(hash, key) {
            self.table.bind_session(hasher, place, true, now_ms);
            let counters = &self.table.counters;
            counters.sessions.touch(hasher, key, counters.pace.turn(), ends_at_ms);
        }
    }

    /// Brings the accounts up to date.
    fn settle(&mut self) {
        let table = &mut *self.table;
        if self.keys > 0 {
            table.counters.keys.fetch_add(self.keys, Relaxed);
            table.counters.keys_with_ttl.fetch_add(self.with_ttl as u64, Relaxed);
            table.counters.occupancy.set(table.slot, true);
        }
        table.counters.charge(self.bytes_before, table.heap_bytes());
        table.with_ttl += self.with_ttl;
        (self.keys, self.with_ttl) = (0, 0);
        self.bytes_before = self.table.heap_bytes();
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.settle();
    }
}
