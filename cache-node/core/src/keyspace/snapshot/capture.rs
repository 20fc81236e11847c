//! What is changed in a table while it is taken in pieces.
//!
//! Entries are taken in the order of their hashes. Whoever changes, removes or adds a key that is behind
//! what was taken already has it kept as it was, once; when its turn comes it is passed over. So what a
//! capture costs is what changes in the slot while it is taken, and no more than the slot.

use super::super::hash::KeyHasher;
use super::super::stores::Counters;
use super::super::table::Table;
use super::super::watch::Watches;
use super::entry::{self, AsOf};
use std::collections::BTreeSet;

/// Where a hash is in the order in which entries are taken: its position first.
#[inline]
pub fn order(hash: u64) -> u64 {
    hash.rotate_left(7)
}

/// The position of the first hash at or behind a place in that order.
#[inline]
pub fn position_of(order: u64) -> u64 {
    order >> (64 - super::super::hash::POSITION_BITS)
}

/// See the module.
pub struct Capture {
    /// Whose it is.
    pub id: u64,
    /// The moment as of which the table is taken.
    pub as_of: AsOf,
    /// All entries before this place in the order are taken.
    pub from: u64,
    /// Keys behind `from` that are kept, or were not there at the moment.
    pub seen: BTreeSet<Box<[u8]>>,
    /// Their entries.
    pub bytes: Vec<u8>,
    /// How many entries that are.
    pub keys: u32,
}

/// A key is about to change, to come or to go: keeps it as it is, if the table is being taken.
#[inline]
pub fn before_change(
    watches: &mut Option<Box<Watches>>,
    table: &Table,
    counters: &Counters,
    hasher: &KeyHasher,
    key: &[u8],
) {
    if let Some(watches) = watches
        && let Some(capture) = &mut watches.capture
    {
        capture.keep(table, counters, hasher, key);
    }
}

impl Capture {
    #[cold]
    fn keep(&mut self, table: &Table, counters: &Counters, hasher: &KeyHasher, key: &[u8]) {
        let hash = hasher.hash(key);
        if order(hash) < self.from || !self.seen.insert(key.into()) {
            return;
        }
        let found = table.find_where(hash, |entry| entry.key == key);
        let Some(found) = found.and_then(|place| table.get(place)) else { return };
        if let Some(ends_at_ms) = entry::ends_at_ms(counters, hasher, &found, self.as_of) {
            entry::put(&mut self.bytes, &found, ends_at_ms);
            self.keys += 1;
        }
    }
}
