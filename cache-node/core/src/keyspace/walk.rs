//! Commands over all keys of a store: KEYS, SCAN, RANDOMKEY, FLUSHDB.

use super::Keyspace;
use super::entry::Entry;
use super::hash::{POSITION_BITS, mix, position};
use super::stores::Store;
use super::table::SEGMENT_ENTRIES;
use crate::cluster::{SLOTS, Slot};
use crate::store::StoreNumber;
use std::sync::atomic::Ordering::Relaxed;

/// RANDOMKEY gives up after meeting so many keys whose lifetime is over.
const RANDOM_TRIES: usize = 100;

/// The slot where a SCAN goes on.
pub fn scan_slot(cursor: u64) -> Slot {
    (cursor >> POSITION_BITS) as Slot & (SLOTS - 1)
}

/// The cursor at the start of a slot; 0 behind the last.
pub fn scan_cursor(slot: u32) -> u64 {
    if slot >= u32::from(SLOTS) { 0 } else { u64::from(slot) << POSITION_BITS }
}

impl Keyspace {
    /// Visits live keys of a store in the slots served here, each once, from a place on (0 at the
    /// start) until about `budget` keys were looked at; the place to go on from, `None` at the end.
    /// A key that is there all the time is visited, whatever happens between the steps.
    pub fn visit_keys(
        &self,
        number: StoreNumber,
        from: u64,
        budget: usize,
        now_ms: u64,
        mut visit: impl FnMut(&Entry<'_>),
    ) -> Option<u64> {
        let registry = self.registry.load();
        let store = registry.get(number)?;
        let mut left = budget;
        let (mut slot, mut at) = (scan_slot(from), from & ((1 << POSITION_BITS) - 1));
        loop {
            let found = store.counters.occupancy.next(slot)?;
            if found != slot {
                (slot, at) = (found, 0);
            }
            let state = self.cell(slot)?.state.lock();
            let table = state.get(number).filter(|_| self.is_serving(slot));
            let next = table.and_then(|table| {
                left = left.saturating_sub(table.table.len().min(SEGMENT_ENTRIES));
                // What stands before the place was visited, even if segments were joined since.
                let due =
                    |entry: &Entry<'_>| at == 0 || position(self.hasher.hash(entry.key)) >= at;
                table.table.visit_segment(at, |entry| {
                    if due(&entry) && !table.is_over(&self.hasher, &entry, now_ms) {
                        visit(&entry);
                    }
                })
            });
            self.note_unconfirmed(store, slot);
            drop(state);
            (slot, at) = match next {
                Some(position) => (slot, position),
                None if slot + 1 == SLOTS => return None,
                None => (slot + 1, 0),
            };
            left = left.saturating_sub(1);
            if left == 0 {
                return Some(scan_cursor(u32::from(slot)) | at);
            }
        }
    }

    /// One step of a SCAN: visits about `count` live keys from the cursor on, and returns the
    /// cursor to go on from, 0 at the end. It stops before a slot that is not served here.
    pub fn scan(
        &self,
        number: StoreNumber,
        cursor: u64,
        count: u64,
        now_ms: u64,
        mut visit: impl FnMut(&Entry<'_>),
    ) -> u64 {
        let registry = self.registry.load();
        let Some(store) = registry.get(number) else { return 0 };
        let mut left = count.max(1);
        let mut slot = scan_slot(cursor);
        let mut from = cursor & ((1 << POSITION_BITS) - 1);
        loop {
            // Within a run of served slots, those without keys are skipped.
            let stop = self.served.next_absent(slot);
            let found = store.counters.occupancy.next(slot);
            match (found, stop) {
                (Some(found), stop) if stop.is_none_or(|stop| found < stop) => {
                    if found != slot {
                        from = 0;
                    }
                    slot = found;
                }
                (_, Some(stop)) => return scan_cursor(u32::from(stop)),
                (_, None) => return 0,
            }
            match self.scan_slot_from(store, slot, from, &mut left, now_ms, &mut visit) {
                Some(position) => return scan_cursor(u32::from(slot)) | position,
                None if slot + 1 == SLOTS => return 0,
                None => slot += 1,
            }
            from = 0;
            if left == 0 {
                return scan_cursor(u32::from(slot));
            }
        }
    }

    /// SCAN within a slot: the position to go on from, `None` behind its last key.
    fn scan_slot_from(
        &self,
        store: &Store,
        slot: Slot,
        mut from: u64,
        left: &mut u64,
        now_ms: u64,
        visit: &mut impl FnMut(&Entry<'_>),
    ) -> Option<u64> {
        let state = self.cell(slot)?.state.lock();
        let stored = state.get(store.number)?;
        self.note_unconfirmed(store, slot);
        let table = &stored.table;
        loop {
            let mut keys: Vec<(u64, u32)> = Vec::new();
            let mut index = 0;
            let next = table.visit_segment(from, |entry| {
                let at = position(self.hasher.hash(entry.key));
                if at >= from {
                    keys.push((at, index));
                }
                index += 1;
            });
            keys.sort_unstable();
            // Keys at one position go together: the cursor cannot tell them apart.
            let mut taken = usize::try_from(*left).unwrap_or(usize::MAX).min(keys.len());
            while taken > 0 && taken < keys.len() && keys[taken].0 == keys[taken - 1].0 {
                taken += 1;
            }
            let end = keys.get(taken).map(|(at, _)| *at);
            *left = left.saturating_sub(taken as u64);
            table.visit_segment(from, |entry| {
                let at = position(self.hasher.hash(entry.key));
                if at >= from
                    && end.is_none_or(|end| at < end)
                    && !stored.is_over(&self.hasher, &entry, now_ms)
                {
                    visit(&entry);
                }
            });
            match (end, next) {
                (Some(end), _) => return Some(end),
                (None, None) => return None,
                (None, Some(next)) if *left == 0 => return Some(next),
                (None, Some(next)) => from = next,
            }
        }
    }

    /// Gives a random live key of a store to `visit`; false if there is none.
    pub fn random_key(&self, number: StoreNumber, now_ms: u64, visit: impl FnOnce(&[u8])) -> bool {
        let registry = self.registry.load();
        let Some(store) = registry.get(number) else { return false };
        for _ in 0..RANDOM_TRIES {
            let random = self.random();
            let from = (random >> 48) as u16 % SLOTS;
            let Some(slot) = store.counters.occupancy.next_around(from) else { return false };
            let Some(cell) = self.cell(slot) else { return false };
            let state = cell.state.lock();
            let mut key = None;
            if let Some(table) = state.get(number)
                && self.is_serving(slot)
            {
                table.table.sample(mix(random), 1, |entry| {
                    if !table.is_over(&self.hasher, &entry, now_ms) {
                        key = Some(entry.key.to_vec());
                    }
                });
            }
            self.note_unconfirmed(store, slot);
            drop(state);
            if let Some(key) = key {
                visit(&key);
                return true;
            }
        }
        false
    }

    /// Drops all keys of a store on this member.
    pub fn flush(&self, number: StoreNumber) {
        let (mut slot, now_ms) = (Some(0), self.seen_ms.load(Relaxed));
        while let Some(from) = slot {
            slot = self.flush_step(number, from, usize::from(SLOTS), now_ms);
        }
    }

    /// Drops the keys of a store in about `budget` slots that have some, from one on; the slot to
    /// go on from, `None` at the end.
    pub fn flush_step(
        &self,
        number: StoreNumber,
        from: Slot,
        budget: usize,
        now_ms: u64,
    ) -> Option<Slot> {
        let registry = self.registry.load();
        let store = registry.get(number)?;
        let (mut tables, mut next) = (Vec::new(), Some(from));
        while let Some(slot) = next.and_then(|from| store.counters.occupancy.next(from)) {
            if tables.len() >= budget {
                break;
            }
            let mut state = self.cell(slot)?.state.lock();
            let taken = state.flush(number, slot, self);
            if taken.as_ref().is_some_and(|table| table.table.len() > 0)
                && let Some(ticket) = self.log_flush(number, slot, now_ms)
            {
                self.note_forced(slot, ticket);
            }
            self.note_unconfirmed(store, slot);
            drop(state);
            tables.extend(taken.map(|mut table| table.close()));
            next = slot.checked_add(1).filter(|next| *next < SLOTS);
            if next.is_none() {
                break;
            }
        }
        let ended = tables.len() < budget || next.is_none();
        self.let_tables_go(tables);
        if ended {
            store.counters.eviction.reset(store);
            store.counters.charge(store.counters.sessions.clear(), 0);
            return None;
        }
        next
    }

    /// Drops all keys of all stores on this member.
    pub fn flush_all(&self) {
        for store in &self.registry.load().stores {
            self.flush(store.number);
        }
    }
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
