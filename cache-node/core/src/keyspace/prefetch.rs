//! Bringing what a batch of commands will need into the cache, all at once.
//!
//! A key that is not in the processor's cache costs several misses, each of which waits for the one
//! before it: the slot's lock, the table's index, the entry, its value. Commands that arrive
//! together need not take these one after the other: every step is begun for all of them before
//! any goes on, so that the misses overlap (as in "group prefetching": Chen, Ailamaki, Gibbons,
//! Mowry 2004). What is prefetched is a hint: the commands themselves look everything up.

use super::Keyspace;
use crate::cluster::{Slot, slot_of};

/// A key's slot and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashed {
    /// The slot that the key belongs to.
    pub slot: Slot,
    /// The keyspace's hash of it.
    pub hash: u64,
}

/// Asks the processor for the cache line at `at`, which need not be valid.
#[inline(always)]
pub(super) fn line<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that the program sees and faults at no address; SSE is
        // part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
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

    /// Asks for the tables, then the index places, then the entries, of keys that commands are about to use.
    #[inline]
    pub fn prefetch(&self, keys: &[Hashed]) {
        for stage in [Stage::Table, Stage::Index, Stage::Entry] {
            for key in keys {
                // Who holds the lock has the lines, or changes what they hold.
                let Some(state) = self.cell(key.slot).and_then(|cell| cell.state.try_lock()) else {
                    continue;
                };
                for table in &state.tables {
                    match stage {
                        Stage::Table => table.prefetch(),
                        Stage::Index => table.table.prefetch_index(key.hash),
                        Stage::Entry => table.table.prefetch_entry(key.hash),
                    }
                }
            }
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// The tables of the slot.
    Table,
    /// The line of the index where the key's place is.
    Index,
    /// The entry that the place leads to.
    Entry,
}
