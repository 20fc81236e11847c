//! A slot of a store, piece by piece, as of one moment.

use super::super::Keyspace;
use super::super::hash::KeyHasher;
use super::super::slot::{State, StoreTable};
use super::capture::{Capture, order, position_of};
use super::entry::{self, AsOf};
use crate::cluster::Slot;
use crate::log::Sequence;
use crate::log::snapshot::Block;
use crate::store::StoreNumber;
use std::collections::BTreeSet;

/// A table of no more keys and bytes is taken at once: a fraction of a millisecond.
const MOST_KEYS: usize = 2000;
const MOST_BYTES: usize = 256 << 10;

/// A slot that is being taken. Others may use it meanwhile; what they change was kept as it was.
#[derive(Debug)]
pub struct SlotTaking<'s> {
    space: &'s Keyspace,
    store: StoreNumber,
    slot: Slot,
    as_of: AsOf,
    /// The capture's, while one is there.
    id: Option<u64>,
    sequence: Sequence,
    piece: u32,
    is_done: bool,
}

impl Keyspace {
    /// Begins to take a slot of a store, as of `now_ms`: keys whose lifetime is over then are left out.
    /// The slot need not be served, and the store need not be there.
    pub fn take_slot(&self, store: StoreNumber, slot: Slot, now_ms: u64) -> SlotTaking<'_> {
        SlotTaking {
            space: self,
            store,
            slot,
            as_of: AsOf { now_ms, with_over: false },
            id: None,
            sequence: 0,
            piece: 0,
            is_done: false,
        }
    }
}

impl SlotTaking<'_> {
    /// Puts the next piece's entries in the place of what is in `out`, and tells what it is; `None`
    /// after the last. If it is piece 0 again, the table was dropped as a whole meanwhile (FLUSHALL),
    /// and the pieces before are void.
    pub fn next_piece(&mut self, out: &mut Vec<u8>) -> Option<Block> {
        out.clear();
        if self.is_done {
            return None;
        }
        let mut state = self.space.cell(self.slot)?.state.lock();
        let hasher = &self.space.hasher;
        let (store, slot) = (self.store, self.slot);
        let capture = self.id.and_then(|id| take_capture(state.get_mut(store)?, id));
        let capture = match capture {
            Some(capture) => capture,
            None => {
                // The moment as of which the slot is taken.
                self.sequence = self.space.journal.last_sequence();
                (self.piece, self.id) = (0, None);
                let table = state.get(store);
                if table.is_none_or(is_taken_at_once) {
                    let keys = table.map_or(0, |table| all(out, table, hasher, self.as_of));
                    self.is_done = true;
                    let sequence = self.sequence;
                    return Some(Block { slot, piece: 0, is_last: true, sequence, keys });
                }
                new_capture(self.space.random(), self.as_of)
            }
        };
        let id = capture.id;
        let (keys, is_last) = go_on(out, &mut state, store, hasher, capture)?;
        (self.id, self.is_done) = ((!is_last).then_some(id), is_last);
        let (piece, is_last, sequence) = (self.piece, self.is_done, self.sequence);
        self.piece += 1;
        Some(Block { slot, piece, is_last, sequence, keys })
    }
}

impl Drop for SlotTaking<'_> {
    fn drop(&mut self) {
        let (Some(id), Some(cell)) = (self.id, self.space.cell(self.slot)) else { return };
        let mut state = cell.state.lock();
        if let Some(table) = state.get_mut(self.store) {
            take_capture(table, id);
        }
        state.tidy(self.store);
    }
}

/// Whether a table is taken at once.
fn is_taken_at_once(table: &StoreTable) -> bool {
    let is_taken = table.watches.as_ref().is_some_and(|watches| watches.capture.is_some());
    let (keys, bytes) = (table.table.len(), table.heap_bytes());
    // Somebody else takes it in pieces: then it is this one that takes it at once.
    is_taken || keys <= MOST_KEYS && bytes <= MOST_BYTES
}

fn new_capture(id: u64, as_of: AsOf) -> Box<Capture> {
    Box::new(Capture { id, as_of, from: 0, seen: BTreeSet::new(), bytes: Vec::new(), keys: 0 })
}

/// Appends the next piece of what a capture takes, and puts it back, unless that was the last; how many
/// keys, and whether it was.
fn go_on(
    out: &mut Vec<u8>,
    state: &mut State,
    store: StoreNumber,
    hasher: &KeyHasher,
    mut capture: Box<Capture>,
) -> Option<(u32, bool)> {
    let table = state.get_mut(store)?;
    let (mut keys, next) = part(out, table, hasher, &capture);
    keys += std::mem::take(&mut capture.keys);
    out.append(&mut capture.bytes);
    match next {
        Some(next) => {
            capture.from = next;
            table.watches_or_new().capture = Some(capture);
        }
        None => state.tidy(store),
    }
    Some((keys, next.is_none()))
}

/// A table that is taken as of a moment at which its slot was locked for it.
#[derive(Debug)]
pub struct Taking {
    store: StoreNumber,
    slot: Slot,
    /// The capture's, while one is there.
    id: Option<u64>,
    /// It was taken at once: its entries, and how many.
    whole: Option<(Vec<u8>, u32)>,
}

/// The table that was being taken is gone as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

impl Taking {
    /// Takes a store's table as it is now, for a copy of it; `None` if there is none.
    pub fn begin(
        space: &Keyspace,
        state: &mut State,
        store: StoreNumber,
        slot: Slot,
        now_ms: u64,
    ) -> Option<Self> {
        let table = state.get_mut(store)?;
        let as_of = AsOf { now_ms, with_over: true };
        let mut taking = Self { store, slot, id: None, whole: None };
        if is_taken_at_once(table) {
            let mut entries = Vec::new();
            let keys = all(&mut entries, table, &space.hasher, as_of);
            taking.whole = Some((entries, keys));
        } else {
            let id = space.random();
            table.watches_or_new().capture = Some(new_capture(id, as_of));
            taking.id = Some(id);
        }
        Some(taking)
    }

    /// Whose it is.
    pub fn store(&self) -> StoreNumber {
        self.store
    }

    /// Puts the next piece in the place of what is in `out`: how many keys, and whether it is the last.
    pub fn next(&mut self, space: &Keyspace, out: &mut Vec<u8>) -> Result<(u32, bool), Gone> {
        out.clear();
        if let Some((entries, keys)) = self.whole.take() {
            *out = entries;
            return Ok((keys, true));
        }
        let (id, cell) = self.id.zip(space.cell(self.slot)).ok_or(Gone)?;
        let mut state = cell.state.lock();
        let capture = state.get_mut(self.store).and_then(|table| take_capture(table, id));
        let capture = capture.ok_or(Gone)?;
        let taken = go_on(out, &mut state, self.store, &space.hasher, capture);
        let (keys, is_last) = taken.ok_or(Gone)?;
        if is_last {
            self.id = None;
        }
        Ok((keys, is_last))
    }

    /// Gives it up.
    pub fn end(&mut self, space: &Keyspace) {
        let (Some(id), Some(cell)) = (self.id.take(), space.cell(self.slot)) else { return };
        let mut state = cell.state.lock();
        if let Some(table) = state.get_mut(self.store) {
            take_capture(table, id);
        }
        state.tidy(self.store);
    }
}

/// Takes a capture out of a table, if it is still there.
fn take_capture(table: &mut StoreTable, id: u64) -> Option<Box<Capture>> {
    let watches = table.watches.as_mut()?;
    let capture = watches.capture.take_if(|capture| capture.id == id)?;
    if watches.is_empty() {
        table.watches = None;
    }
    Some(capture)
}

/// Appends all entries of a table; how many.
fn all(out: &mut Vec<u8>, table: &StoreTable, hasher: &KeyHasher, as_of: AsOf) -> u32 {
    let mut keys = 0;
    out.reserve(table.heap_bytes() / 2);
    table.table.visit(|found| {
        if let Some(ends_at_ms) = entry::ends_at_ms(&table.counters, hasher, &found, as_of) {
            entry::put(out, &found, ends_at_ms);
            keys += 1;
        }
    });
    keys
}

/// Appends about [`MOST_BYTES`] of entries from the capture's place on, of one segment; how many, and the
/// place to go on from, `None` at the end. A value that is larger is written in one go.
fn part(
    out: &mut Vec<u8>,
    table: &StoreTable,
    hasher: &KeyHasher,
    capture: &Capture,
) -> (u32, Option<u64>) {
    let from = capture.from;
    let mut there: Vec<(u64, usize)> = Vec::new();
    let next = table.table.visit_segment(position_of(from), |found| {
        let at = order(hasher.hash(found.key));
        if at >= from {
            there.push((at, found.memory_bytes()));
        }
    });
    let mut end = next.map(|position| position << (64 - super::super::hash::POSITION_BITS));
    there.sort_unstable_by_key(|(at, _)| *at);
    let (mut bytes, mut keys) = (0, 0);
    for (at, entry_bytes) in &there {
        let is_full = keys >= MOST_KEYS || bytes >= MOST_BYTES;
        // All with the same hash go together.
        if is_full && there.get(keys - 1).is_some_and(|(last, _)| last != at) {
            end = Some(*at);
            break;
        }
        bytes += entry_bytes;
        keys += 1;
    }
    out.reserve(bytes);
    let mut taken = 0;
    table.table.visit_segment(position_of(from), |found| {
        let at = order(hasher.hash(found.key));
        let is_here = at >= from && end.is_none_or(|end| at < end);
        if !is_here || capture.seen.contains(found.key) {
            return;
        }
        let ends = entry::ends_at_ms(&table.counters, hasher, &found, capture.as_of);
        if let Some(ends_at_ms) = ends {
            entry::put(out, &found, ends_at_ms);
            taken += 1;
        }
    });
    (taken, end)
}
