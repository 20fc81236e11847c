//! What stays locked while a script runs: the slots of the keys that it names, and those of keys
//! that it comes to on its way.

use super::{Keyspace, Locked, NotServing, Refusal};
use crate::cluster::{Slot, slot_of};
use crate::store::StoreNumber;
use smallvec::SmallVec;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

impl Locked<'_> {
    /// Says that what runs under these locks is a script's.
    pub fn set_for_script(&mut self, is: bool) {
        self.for_script = is;
    }

    /// Whether what runs under these locks is a script's.
    pub fn is_for_script(&self) -> bool {
        self.for_script
    }

    /// Whether a slot is among those that are locked.
    #[inline]
    pub fn holds(&self, slot: Slot) -> bool {
        self.guards.binary_search_by_key(&slot, |(held, _)| *held).is_ok()
    }

    /// The first of the locked slots.
    pub fn first_slot(&self) -> Option<Slot> {
        self.guards.first().map(|(slot, _)| *slot)
    }

    /// Locks one more slot. Where another command holds it that might wait for one of ours, all are
    /// given back and locked anew in order, and others see what was done so far.
    ///
    /// # Errors
    /// The slot is not served here, or one of the others is not any more; then none of those is
    /// locked any longer.
    pub fn lock_slot(&mut self, slot: Slot) -> Result<(), NotServing> {
        let Err(place) = self.guards.binary_search_by_key(&slot, |(held, _)| *held) else {
            return Ok(());
        };
        let cell = self.space.cell(slot).ok_or(NotServing { slot })?;
        // Behind all others in order: waiting cannot make a ring.
        let state = if place == self.guards.len() {
            Some(cell.state.lock())
        } else {
            cell.state.try_lock()
        };
        if let Some(state) = state {
            if !cell.serving.load(Relaxed) || !self.stores_stay() {
                return Err(NotServing { slot });
            }
            self.guards.insert(place, (slot, state));
            return Ok(());
        }
        let mut slots: SmallVec<[Slot; 8]> = self.guards.iter().map(|(slot, _)| *slot).collect();
        slots.insert(place, slot);
        self.serve_waits();
        self.append_gathered();
        self.guards.clear();
        self.lock_all(&slots)
    }

    /// Runs something that locks slots by itself: all are given back for it, and locked anew.
    ///
    /// # Errors
    /// A slot is not served here any more; then none is locked.
    pub fn unlocked<R>(&mut self, run: impl FnOnce(&Keyspace) -> R) -> Result<R, NotServing> {
        let slots: SmallVec<[Slot; 8]> = self.guards.iter().map(|(slot, _)| *slot).collect();
        self.serve_waits();
        self.append_gathered();
        self.guards.clear();
        let result = run(self.space);
        self.lock_all(&slots)?;
        Ok(result)
    }

    /// Locks slots, given in order, while none is.
    fn lock_all(&mut self, slots: &[Slot]) -> Result<(), NotServing> {
        self.guards = self.space.lock_slots(slots)?;
        match slots.first() {
            Some(&slot) if !self.stores_stay() => {
                self.guards.clear();
                Err(NotServing { slot })
            }
            _ => Ok(()),
        }
    }

    /// Whether the stores are those that they were at the start: a table must not be made anew in
    /// one that was dropped meanwhile.
    fn stores_stay(&self) -> bool {
        self.space.epoch.load(Acquire) == self.registry.epoch
    }

    /// Whether the store of a key holds more than its budget, or this member more than it may.
    pub fn is_over_budget(&self, number: StoreNumber, key: &[u8]) -> bool {
        let is_over = |store: &super::stores::Store| store.is_over();
        self.space.refusing.load(Relaxed)
            || (self.registry.bounded && self.registry.route(number, key).is_some_and(is_over))
    }
}

impl Keyspace {
    /// Locks the slots of a script's keys for `run`. Unless the script only reads (`grows` is false),
    /// their stores are brought within their budgets first, as far as that goes; a script without
    /// keys is taken for one of the selected store.
    ///
    /// # Errors
    /// A slot that is not served here; `run` was not called then.
    pub fn with_script<R>(
        &self,
        store: StoreNumber,
        keys: &[&[u8]],
        grows: bool,
        now_ms: u64,
        run: impl FnOnce(&mut Locked<'_>) -> R,
    ) -> Result<R, NotServing> {
        if grows {
            let registry = self.registry.load();
            let first = keys.first().copied().unwrap_or_default();
            for key in std::iter::once(first).chain(keys.iter().skip(1).copied()) {
                if let Some(store) = registry.route(store, key) {
                    self.has_room(&registry, store, now_ms);
                }
            }
        }
        let mut slots: SmallVec<[Slot; 8]> = keys.iter().map(|key| slot_of(key)).collect();
        slots.sort_unstable();
        slots.dedup();
        match self.with_slots(&slots, &[], now_ms, run) {
            Ok(done) => Ok(done),
            Err(Refusal::NotServing(slot)) => Err(slot),
            // Not given for slots without keys to make room for.
            Err(_) => Err(NotServing { slot: slots.first().copied().unwrap_or(0) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn space() -> Keyspace {
        let space = Keyspace::new(Options { hash_seed: 1, eviction_seed: 2 });
        (0..16384).for_each(|slot| space.set_serving(slot, true));
        space
    }

    #[test]
    fn a_script_locks_more_slots_on_its_way_in_any_order() {
        let space = space();
        let (low, high) = (slot_of(b"b"), slot_of(b"a"));
        assert!(low < high);
        space
            .with_script(0, &[b"a"], true, NOW, |locked| {
                assert!(locked.holds(high) && !locked.holds(low));
                assert!(locked.at(b"b").is_none());
                locked.lock_slot(low).unwrap();
                locked.lock_slot(high).unwrap();
                assert_eq!(locked.first_slot(), Some(low));
                assert!(locked.at(b"b").is_some() && locked.at(b"a").is_some());
                let keys = locked.unlocked(|space| space.keys(0)).unwrap();
                assert_eq!(keys, 0);
                assert!(locked.holds(low) && locked.holds(high));
            })
            .unwrap();
    }

    #[test]
    fn a_slot_that_is_not_served_is_not_locked() {
        let space = space();
        let slot = slot_of(b"b");
        space.set_serving(slot, false);
        assert_eq!(space.with_script(0, &[b"b"], true, NOW, |_| ()), Err(NotServing { slot }));
        space
            .with_script(0, &[b"a"], true, NOW, |locked| {
                assert_eq!(locked.lock_slot(slot), Err(NotServing { slot }));
                assert!(locked.holds(slot_of(b"a")) && !locked.holds(slot));
            })
            .unwrap();
    }
}
