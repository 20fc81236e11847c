//! Filters of whole stores: switched on and off while in use, and what they did.

use super::super::Keyspace;
use super::super::table::Filtered;
use crate::cluster::{SLOTS, Slot, slot_of};
use crate::store::{FilterRate, StoreNumber};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// What the filter of a store is and did on this member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FilterStats {
    /// The rate of false positives that the store's policy bounds; `None`: the filter is off.
    pub rate: Option<FilterRate>,
    /// Keys that the filter knows: those of the slots where it is built.
    pub keys: u64,
    /// Keys of slots where it is not built yet.
    pub keys_unfiltered: u64,
    /// Its blocks; they count for the store's budget.
    pub bytes: u64,
    /// Look-ups that asked it.
    pub checks: u64,
    /// Those to which it said that the key is surely absent.
    pub negatives: u64,
    /// Those to which it did not, though the key was absent.
    pub false_positives: u64,
    /// Fingerprints that it has. Not told to other members: the form in which they are told stands.
    #[serde(skip)]
    pub fingerprints: u64,
    /// Fingerprints that there is room for. Not told either.
    #[serde(skip)]
    pub places: u64,
}

impl FilterStats {
    /// How full it is, from 0 to 1; `None` while it is nowhere built.
    pub fn load_ratio(&self) -> Option<f64> {
        (self.places > 0).then(|| self.fingerprints as f64 / self.places as f64)
    }

    /// The part of look-ups of absent keys that it did not catch; `None` before there were any.
    pub fn measured_rate(&self) -> Option<f64> {
        let absent = self.negatives + self.false_positives;
        (absent > 0).then(|| self.false_positives as f64 / absent as f64)
    }
}

/// What a filter says of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The key is not there.
    SurelyAbsent,
    /// The key may be there.
    MayBePresent,
    /// The store has no filter, or none yet for the key's slot.
    NoFilter,
}

impl Keyspace {
    /// What the filter of a store is and did; `None` if there is no such store. Locks the store's
    /// slots in turn.
    pub fn filter_stats(&self, number: StoreNumber) -> Option<FilterStats> {
        let registry = self.registry.load();
        let store = registry.get(number)?;
        let (checks, negatives, false_positives) = store.counters.filtered();
        let mut stats = FilterStats {
            rate: store.filter,
            checks,
            negatives,
            false_positives,
            ..FilterStats::default()
        };
        for cell in &self.cells {
            let state = cell.state.lock();
            let Some(table) = state.get(number) else { continue };
            let bytes = table.table.filter_bytes() as u64;
            let keys = table.table.len() as u64;
            *(if bytes > 0 { &mut stats.keys } else { &mut stats.keys_unfiltered }) += keys;
            stats.bytes += bytes;
            let (fingerprints, places) = table.table.filter_load();
            stats.fingerprints += fingerprints;
            stats.places += places;
            let Filtered { checks, negatives, false_positives } = table.table.filtered();
            stats.checks += checks;
            stats.negatives += negatives;
            stats.false_positives += false_positives;
        }
        Some(stats)
    }

    /// What the filter of a store says of a key, with nothing counted; `None` if there is no such
    /// store. Keys of database 0 are asked for where their prefix leads.
    pub fn filter_check(&self, number: StoreNumber, key: &[u8]) -> Option<Verdict> {
        let registry = self.registry.load();
        let store = registry.route(number, key)?;
        let state = self.cell(slot_of(key))?.state.lock();
        let hash = self.hasher.hash(key);
        Some(match state.get(store.number).and_then(|table| table.table.filter_says(hash)) {
            Some(true) => Verdict::MayBePresent,
            Some(false) => Verdict::SurelyAbsent,
            // A slot without a table has no keys at all.
            None if store.filter.is_some() && state.get(store.number).is_none() => {
                Verdict::SurelyAbsent
            }
            None => Verdict::NoFilter,
        })
    }

    /// Some filters are to be built or dropped: from now on [`Self::tend_filters`] does so.
    pub(in crate::keyspace) fn filters_changed(&self) {
        self.filter_slot.store(0, Release);
    }

    /// Builds and drops the filters of stores whose policy changed, slot by slot, looking at about
    /// `budget` keys; true when nothing is left to do. No lock is held for longer than one segment
    /// takes. The expiry cycle calls it.
    pub fn tend_filters(&self, budget: usize) -> bool {
        let mut left = budget;
        loop {
            let slot = self.filter_slot.load(Acquire);
            let Some(cell) = Slot::try_from(slot).ok().and_then(|slot| self.cell(slot)) else {
                return true;
            };
            let mut done = true;
            let mut state = cell.state.lock();
            for table in &mut state.tables {
                left = left
                    .saturating_sub(table.table.len().min(super::super::table::SEGMENT_ENTRIES));
                done &= table.tend_filter(&self.hasher);
            }
            drop(state);
            if done {
                // If the policies changed meanwhile, it begins anew.
                let next = slot.saturating_add(1).min(u32::from(SLOTS));
                _ = self.filter_slot.compare_exchange(slot, next, Release, Relaxed);
            }
            left = left.saturating_sub(1);
            if left == 0 {
                return false;
            }
        }
    }
}

#[cfg(test)]
#[path = "stores_tests.rs"]
mod tests;
