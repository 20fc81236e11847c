//! Bringing what a batch of commands will need into the cache, all at once.
//!
//! A key that is not in the processor's cache costs several misses, each of which waits for the one
//! before it: the slot's lock, the table's index, the entry, its value. Commands that arrive
//! together need not take these one after the other: every step is begun for all of them before
//! any goes on, so that the misses overlap (as in "group prefetching": Chen, Ailamaki, Gibbons,
//! Mowry 2004). What is prefetched is a hint: the commands themselves look everything up.

use super::Keyspace;
use super::index::narrow_home;
use super::slot::{HOT_BYTES, StoreTable};
use super::values::Value;
use crate::cache_line::line;
use crate::cluster::{Slot, slot_of};
use smallvec::SmallVec;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};

/// A key's slot and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashed {
    /// The slot that the key belongs to.
    pub slot: Slot,
    /// The keyspace's hash of it.
    pub hash: u64,
}

/// A member of a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashedMember {
    /// The key.
    pub of: Hashed,
    /// The keyspace's hash of the member.
    pub hash: u64,
}

impl Keyspace {
    /// The slot and hash of a key; its slot's lock is asked for from memory.
    #[inline]
    pub fn hashed(&self, key: &[u8]) -> Hashed {
        let slot = slot_of(key);
        if let Some(cell) = self.cell(slot) {
            line(cell);
        }
        Hashed { slot, hash: self.hasher.hash(key) }
    }

    /// The hash of a member of a key's value.
    #[inline]
    pub fn hashed_member(&self, of: Hashed, member: &[u8]) -> HashedMember {
        HashedMember { of, hash: self.hasher.hash(member) }
    }

    /// Asks for the tables and index places, then the entries, of keys that commands are about to
    /// use; then for the values of those that have blocks of their own, and for these members in
    /// them.
    #[inline]
    pub fn prefetch(&self, keys: &[Hashed], members: &[HashedMember]) {
        for key in keys {
            if let Some(cell) = self.cell(key.slot) {
                cell.hints.prefetch(key.hash);
            }
        }
        let mut with_blocks: SmallVec<[Hashed; 32]> = SmallVec::new();
        for key in keys {
            // Who holds the lock has the lines, or changes what they hold.
            let Some(state) = self.cell(key.slot).and_then(|cell| cell.state.try_lock()) else {
                continue;
            };
            let mut has_objects = false;
            for table in &state.tables {
                table.table.prefetch_entry(key.hash);
                has_objects |= table.table.may_be_object(key.hash);
            }
            if has_objects {
                with_blocks.push(*key);
            }
        }
        for key in &with_blocks {
            self.with_object(*key, |value| value.prefetch());
        }
        for members in members.chunk_by(|a, b| a.of == b.of) {
            let hashes = members.iter().map(|member| member.hash);
            self.with_object(members[0].of, |value| value.prefetch_members(hashes.clone()));
        }
    }

    /// Calls `run` with the value that a key probably has, if it has blocks of its own.
    #[inline]
    fn with_object(&self, key: Hashed, run: impl Fn(&Value)) {
        let state = self.cell(key.slot).and_then(|cell| cell.state.try_lock());
        let Some(state) = state else { return };
        state.tables.iter().filter_map(|table| table.table.object(key.hash)).for_each(run);
    }
}

/// Where the table of a slot was when it was last used, and its index: to be asked for without the
/// slot's lock, as a locked instruction would wait for what was asked for before. Addresses only;
/// nothing is read through them.
#[derive(Default)]
pub(super) struct Hints {
    table: AtomicPtr<u8>,
    index: AtomicPtr<u8>,
    /// How long the index is; 0 if where a hash stands in it does not follow from that.
    buckets: AtomicU32,
}

impl Hints {
    /// Notes where a table is. Under its slot's lock.
    #[inline]
    pub fn note(&self, table: &StoreTable) {
        let (index, buckets) = table.table.narrow_index().unwrap_or((std::ptr::null(), 0));
        // A line that is only read stays with every processor.
        if self.index.load(Relaxed).cast_const() != index || self.buckets.load(Relaxed) != buckets {
            self.table.store(std::ptr::from_ref(table).cast::<u8>().cast_mut(), Relaxed);
            self.index.store(index.cast_mut(), Relaxed);
            self.buckets.store(buckets, Relaxed);
        }
    }

    #[inline]
    fn prefetch(&self, hash: u64) {
        let table = self.table.load(Relaxed).cast_const();
        if table.is_null() {
            return;
        }
        let lines = (0..HOT_BYTES).step_by(64);
        lines.for_each(|at| line(table.wrapping_add(at)));
        let buckets = self.buckets.load(Relaxed) as usize;
        if buckets > 0 {
            line(self.index.load(Relaxed).wrapping_add(64 * narrow_home(hash, buckets)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::slot::Cell;
    use super::super::{Lifetime, Options, Value};
    use super::*;

    #[test]
    fn a_slots_lock_and_hints_are_one_cache_line() {
        assert_eq!(size_of::<Cell>(), 64);
    }

    #[test]
    fn what_is_asked_for_may_be_gone_or_may_have_moved() {
        let keyspace = Keyspace::new(Options { hash_seed: 1, eviction_seed: 1 });
        (0..crate::cluster::SLOTS).for_each(|slot| keyspace.set_serving(slot, true));
        let keys: Vec<String> = (0..3000).map(|n| format!("{{a}}{n}")).collect();
        let hashed: Vec<Hashed> = keys.iter().map(|key| keyspace.hashed(key.as_bytes())).collect();
        keyspace.prefetch(&hashed, &[]);
        for (number, key) in keys.iter().enumerate() {
            let set = keyspace.with_key(0, key.as_bytes(), 1, false, |key| {
                key.set(Value::string(b"v"), Lifetime::Default);
            });
            assert!(set.is_ok());
            if number % 100 == 0 {
                keyspace.prefetch(&hashed, &[]);
            }
        }
        for (number, key) in keys.iter().enumerate() {
            assert_eq!(
                keyspace.with_key(0, key.as_bytes(), 1, false, |key| key.discard()),
                Ok(true)
            );
            if number % 100 == 0 {
                keyspace.prefetch(&hashed, &[]);
            }
        }
        keyspace.clear_slot(slot_of(b"a"));
        keyspace.prefetch(&hashed, &[]);
        assert_eq!(keyspace.keys(0), 0);
    }
}
