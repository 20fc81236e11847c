//! One slot: its lock, and a table for each store that has keys in it.

use super::entry::{Entry, Taken};
use super::eviction::session::Fate;
use super::eviction::usage::Usage;
use super::hash::{KeyHasher, position};
use super::memory::block_bytes;
use super::part::New;
use super::prefetch::Hints;
use super::snapshot;
use super::stores::Counters;
use super::table::{Place, Table};
use super::values::{Value, ValueRef};
use super::watch::{self, Watches};
use crate::cluster::Slot;
use crate::store::StoreNumber;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

/// No key of the slot has a lifetime.
pub const NEVER: u64 = u64::MAX;

/// A slot as it stands in the keyspace: one cache line.
#[derive(Default)]
#[repr(align(64))]
pub struct Cell {
    /// Written under the lock only.
    pub serving: AtomicBool,
    /// Whether anybody waits for a key here. Written under the lock only.
    pub waited: AtomicBool,
    /// Stores of at least this replication factor are fed to other members; [`NOT_FED`]: none is. Written
    /// under the lock only.
    pub fed: Fed,
    /// Where what is used here is.
    pub hints: Hints,
    /// What the lock guards.
    pub state: Mutex<State>,
}

/// The least replication factor of stores that are fed to others.
pub struct Fed(AtomicU8);

/// No store's records go to other members.
pub const NOT_FED: u8 = u8::MAX;

impl Default for Fed {
    fn default() -> Self {
        Self(AtomicU8::new(NOT_FED))
    }
}

impl Fed {
    #[inline]
    pub fn least(&self) -> u8 {
        self.0.load(Relaxed)
    }

    pub fn set(&self, least: u8) {
        self.0.store(least, Relaxed);
    }
}

/// The tables of a slot.
#[derive(Default)]
pub struct State {
    pub tables: SmallVec<[Box<StoreTable>; 1]>,
}

/// One store's entries in a slot, with the accounts that belong to them. What most commands need
/// stands in its first [`HOT_BYTES`].
#[repr(C, align(64))]
pub struct StoreTable {
    pub table: Table,
    pub counters: Arc<Counters>,
    /// The keys here whose changes somebody waits to see.
    pub watches: Option<Box<Watches>>,
    pub number: StoreNumber,
    pub slot: Slot,
    pub with_ttl: usize,
    /// No key here expires before this time.
    pub next_expiry_ms: u64,
    /// Where the expiry cycle goes on, by position.
    pub expiry_position: u64,
    /// The least lifetime seen in the expiry cycle's pass that is under way.
    pub pass_least_ms: u64,
}

/// Three cache lines of a [`StoreTable`]: all but what is for lifetimes.
pub const HOT_BYTES: usize = 192;

const _: () = assert!(std::mem::offset_of!(StoreTable, slot) < HOT_BYTES);

/// A key is about to change, to come or to go.
#[inline]
fn changes(
    watches: &mut Option<Box<Watches>>,
    table: &Table,
    counters: &Counters,
    hasher: &KeyHasher,
    key: &[u8],
) {
    snapshot::before_change(watches, table, counters, hasher, key);
    watch::changed(watches, key);
}

impl State {
    /// A store's table, if it was ever needed here.
    #[inline]
    pub fn get(&self, number: StoreNumber) -> Option<&StoreTable> {
        self.tables.iter().find(|table| table.number == number).map(|table| &**table)
    }

    /// A store's table, if it was ever needed here.
    #[inline]
    pub fn get_mut(&mut self, number: StoreNumber) -> Option<&mut StoreTable> {
        self.tables.iter_mut().find(|table| table.number == number).map(|table| &mut **table)
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
                self.tables.push(Box::new(StoreTable {
                    number,
                    slot,
                    table: Table::new(counters.filter_bits.load(Relaxed)),
                    counters: Arc::clone(counters),
                    with_ttl: 0,
                    next_expiry_ms: NEVER,
                    expiry_position: 0,
                    pass_least_ms: NEVER,
                    watches: None,
                }));
                self.tables.len() - 1
            }
        };
        &mut self.tables[index]
    }

    /// Takes a store's table out, for its owner to drop after the lock is given back.
    #[must_use]
    pub fn take(&mut self, number: StoreNumber) -> Option<Box<StoreTable>> {
        let index = self.tables.iter().position(|table| table.number == number)?;
        let table = self.tables.swap_remove(index);
        table.counters.occupancy.set(table.slot, false);
        Some(table)
    }

    /// Lets go of a store's table if nothing is in it.
    #[inline]
    pub fn tidy(&mut self, number: StoreNumber) {
        if self.get(number).is_some_and(StoreTable::is_idle) {
            self.tidy_all();
        }
    }

    /// Lets go of all tables in which nothing is.
    #[cold]
    pub fn tidy_all(&mut self) {
        if self.tables.iter().any(|table| table.is_idle()) {
            self.tables.retain(|table| !table.is_idle());
            self.tables.shrink_to_fit();
        }
    }
}

impl StoreTable {
    /// What stands on the heap for it; nothing is counted before there is a key.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        match self.table.len() {
            0 => 0,
            _ => block_bytes(size_of::<Self>()) + self.table.heap_bytes(),
        }
    }

    /// Whether nothing is in it, and nobody waits for something.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.table.len() == 0 && self.watches.is_none()
    }

    /// Adds a key that is not there yet.
    pub fn insert(
        &mut self,
        hasher: &KeyHasher,
        hash: u64,
        key: &[u8],
        value: New<'_>,
        expires_at_ms: u64,
        now_ms: u64,
    ) {
        changes(&mut self.watches, &self.table, &self.counters, hasher, key);
        let keys = self.counters.keys.fetch_add(1, Relaxed);
        let turn = self.counters.pace.key_turn(keys, hash, now_ms);
        let mut usage = Usage::new(turn);
        let (eviction, pace) = (&self.counters.eviction, &self.counters.pace);
        eviction.came_in(self.slot, hash, &mut usage, pace, keys + 1);
        let before = self.heap_bytes();
        if expires_at_ms != 0 {
            self.count_ttl(true);
            self.note_expiry(expires_at_ms);
        }
        if self.table.len() == 0 {
            self.counters.occupancy.set(self.slot, true);
        }
        self.table.insert(hasher, hash, key, value, expires_at_ms, usage);
        self.counters.charge(before, self.heap_bytes());
    }

    /// Takes a key out, with its value.
    pub fn take(&mut self, hasher: &KeyHasher, place: Place) -> Option<Taken> {
        self.leave(hasher, place)?;
        let before = self.heap_bytes();
        let taken = self.table.take(hasher, place);
        self.left(before);
        taken
    }

    /// Takes a key out; tells whether it was there, and its value if that has blocks of its own.
    pub fn remove(&mut self, hasher: &KeyHasher, place: Place) -> Option<Option<Value>> {
        self.leave(hasher, place)?;
        let before = self.heap_bytes();
        let value = self.table.remove(hasher, place);
        self.left(before);
        Some(value)
    }

    /// An entry is about to be taken out.
    #[inline]
    fn leave(&mut self, hasher: &KeyHasher, place: Place) -> Option<()> {
        let entry = self.table.get(place)?;
        changes(&mut self.watches, &self.table, &self.counters, hasher, entry.key);
        let ends = entry.expires_at_ms != 0;
        self.leave_session(hasher, &entry);
        if ends {
            self.count_ttl(false);
        }
        Some(())
    }

    /// An entry was taken out.
    #[inline]
    fn left(&mut self, before: usize) {
        if self.table.len() == 0 {
            self.counters.occupancy.set(self.slot, false);
            self.next_expiry_ms = NEVER;
            self.expiry_position = 0;
            self.pass_least_ms = NEVER;
        }
        self.counters.keys.fetch_sub(1, Relaxed);
        self.counters.charge(before, self.heap_bytes());
    }

    /// Brings its filters to what the store's policy says, a part at a time; true once all are.
    pub fn tend_filter(&mut self, hasher: &KeyHasher) -> bool {
        let before = self.heap_bytes();
        let done = self.table.tend_filter(hasher, self.counters.filter_bits.load(Relaxed));
        self.counters.charge(before, self.heap_bytes());
        done
    }

    /// A live key's value, with nothing counted and nothing removed.
    pub fn value(&self, hash: u64, key: &[u8], now_ms: u64) -> Option<ValueRef<'_>> {
        let entry = self.table.get(self.table.find(hash, key)?)?;
        (!entry.is_expired(now_ms)).then_some(entry.value)
    }

    /// Whether a key's lifetime is over: its own, or its session's.
    #[inline]
    pub fn is_over(&self, hasher: &KeyHasher, entry: &Entry<'_>, now_ms: u64) -> bool {
        if !entry.usage.in_session() {
            return entry.is_expired(now_ms);
        }
        match self.fate(hasher, entry, now_ms) {
            Fate::Own => entry.is_expired(now_ms),
            fate => fate == Fate::Over,
        }
    }

    /// What a key's session says of it now.
    pub fn fate(&self, hasher: &KeyHasher, entry: &Entry<'_>, now_ms: u64) -> Fate {
        self.counters.sessions.fate(hasher, entry, &self.counters.pace, now_ms)
    }

    /// When an entry ends as of now, in Unix milliseconds; 0 for never.
    pub fn ends_at_ms(&self, hasher: &KeyHasher, entry: &Entry<'_>, now_ms: u64) -> u64 {
        match self.fate(hasher, entry, now_ms) {
            Fate::Until(at) => at,
            Fate::Over => now_ms,
            Fate::Own => entry.expires_at_ms,
        }
    }

    /// Counts a use of an entry.
    #[inline]
    pub fn touch(&mut self, place: Place, now_ms: u64, chance: u64) {
        let Some(mut usage) = self.table.get(place).map(|entry| entry.usage) else { return };
        usage.touch(&self.counters.pace, now_ms, chance);
        self.table.set_usage(place, usage);
    }

    /// Makes what was counted as use of an entry since `before` none.
    pub fn take_back(&mut self, place: Place, before: Usage) {
        let Some(mut usage) = self.table.get(place).map(|entry| entry.usage) else { return };
        usage.take_back(before);
        self.table.set_usage(place, usage);
    }

    /// Binds a key's lifetime to its session, or lets it go by its own.
    pub fn bind_session(&mut self, hasher: &KeyHasher, place: Place, bind: bool, now_ms: u64) {
        let Some(Entry { key, mut usage, .. }) = self.table.get(place) else { return };
        let bound = usage.in_session();
        if bind == bound {
            return;
        }
        let (sessions, pace) = (&self.counters.sessions, &self.counters.pace);
        usage.set_in_session(bind);
        let (before, after) = if bind {
            // A turn of its own: a session that begins now is later than all that was touched.
            let turn = pace.next_turn();
            usage.set_touched(turn);
            sessions.join(hasher, key, turn, now_ms)
        } else {
            sessions.leave(hasher, key, pace.full(usage.touched()))
        };
        self.table.set_usage(place, usage);
        self.counters.charge(before, after);
    }

    /// Lets a key go by its own lifetime, without a word to its session.
    pub fn forget_session(&mut self, place: Place) {
        if let Some(mut usage) = self.table.get(place).map(|entry| entry.usage) {
            usage.set_in_session(false);
            self.table.set_usage(place, usage);
        }
    }

    fn leave_session(&self, hasher: &KeyHasher, entry: &Entry<'_>) {
        if entry.usage.in_session() && self.counters.sessions.are_on() {
            let touched = self.counters.pace.full(entry.usage.touched());
            let (before, after) = self.counters.sessions.leave(hasher, entry.key, touched);
            self.counters.charge(before, after);
        }
    }

    /// All keys leave their sessions: they are about to be dropped without a word.
    pub fn leave_sessions(&self, hasher: &KeyHasher) {
        if self.counters.sessions.are_on() {
            self.table.visit(|entry| self.leave_session(hasher, &entry));
        }
    }

    /// Takes the keys out that are of one session with this one and stand near it: all of a
    /// slot, or of a segment of a large one; each is told to `leaves` before. How many left.
    pub fn remove_session(
        &mut self,
        hasher: &KeyHasher,
        hash: u64,
        key: &[u8],
        mut leaves: impl FnMut(&[u8]),
    ) -> usize {
        let mut hashes: SmallVec<[u64; 16]> = SmallVec::new();
        self.table.visit_segment(position(hash), |entry| {
            if entry.usage.in_session() && self.counters.sessions.same(hasher, key, entry.key) {
                hashes.push(hasher.hash(entry.key));
            }
        });
        let mut gone = 0;
        for hash in hashes {
            let place = self.table.find_where(hash, |entry| {
                entry.usage.in_session() && hasher.hash(entry.key) == hash
            });
            let Some(place) = place else { continue };
            if let Some(entry) = self.table.get(place) {
                leaves(entry.key);
                self.remove(hasher, place);
                gone += 1;
            }
        }
        gone
    }

    /// Gives a key another value and, if it is told, another end; counts as a use. Returns the
    /// old value if it has blocks of its own.
    #[inline]
    pub fn replace(
        &mut self,
        hasher: &KeyHasher,
        place: Place,
        value: New<'_>,
        expires_at_ms: Option<u64>,
        now_ms: u64,
    ) -> Option<Value> {
        let Entry { key, mut usage, expires_at_ms: old_ms, .. } = self.table.get(place)?;
        changes(&mut self.watches, &self.table, &self.counters, hasher, key);
        usage.touch(&self.counters.pace, now_ms, now_ms);
        if let Some(at_ms) = expires_at_ms {
            self.expiry_changes(old_ms, at_ms);
        }
        let before = self.heap_bytes();
        let old = self.table.replace(hasher, place, value, usage, expires_at_ms);
        self.counters.charge(before, self.heap_bytes());
        old
    }

    /// Changes a value; counts as a use. `change` says whether there was anything to change. Tells as
    /// well whether the value is another than it was, as far as anybody can see.
    #[inline]
    pub fn update_if<R>(
        &mut self,
        hasher: &KeyHasher,
        place: Place,
        now_ms: u64,
        change: impl FnOnce(&mut Value) -> (R, bool),
    ) -> Option<(R, bool)> {
        let entry = self.table.get(place)?;
        snapshot::before_change(&mut self.watches, &self.table, &self.counters, hasher, entry.key);
        let watched: Option<Vec<u8>> = self.watches.as_ref().map(|_| entry.key.to_vec());
        let before = self.heap_bytes();
        let (result, changed, is_another) = match entry.value.object() {
            Some(value) => {
                let len = value.string_len();
                self.touch(place, now_ms, now_ms);
                let (result, changed, now) = self.table.change_object(place, |value| {
                    let (result, changed) = change(value);
                    (result, changed, value.string_len())
                })?;
                (result, changed, changed || now != len)
            }
            None => {
                let mut value = entry.value.to_value();
                let (result, changed) = change(&mut value);
                let mut usage = entry.usage;
                usage.touch(&self.counters.pace, now_ms, now_ms);
                // BITFIELD may have made a string longer, or a number one of digits, and then
                // changed nothing that anybody hears of: that stays.
                let kept_anew = match (&value, entry.value) {
                    (Value::Raw(new), ValueRef::Raw(old)) => new.len() != old.len(),
                    (Value::Raw(_), _) => true,
                    _ => false,
                };
                if changed || kept_anew {
                    self.table.replace(hasher, place, New::Value(value), usage, None);
                } else {
                    self.table.set_usage(place, usage);
                }
                (result, changed, changed || kept_anew)
            }
        };
        if let Some(key) = watched.filter(|_| changed) {
            watch::changed(&mut self.watches, &key);
        }
        self.counters.charge(before, self.heap_bytes());
        Some((result, is_another))
    }

    /// Sets when an entry ends; 0 for never. Where it is then.
    #[inline]
    pub fn set_expiry(
        &mut self,
        hasher: &KeyHasher,
        place: Place,
        expires_at_ms: u64,
    ) -> Option<Place> {
        let entry = self.table.get(place)?;
        changes(&mut self.watches, &self.table, &self.counters, hasher, entry.key);
        let old_ms = entry.expires_at_ms;
        self.expiry_changes(old_ms, expires_at_ms);
        let before = self.heap_bytes();
        let place = self.table.set_expiry(hasher, place, expires_at_ms);
        self.counters.charge(before, self.heap_bytes());
        place
    }

    #[inline]
    fn expiry_changes(&mut self, old_ms: u64, new_ms: u64) {
        if new_ms != 0 {
            self.note_expiry(new_ms);
        }
        if (old_ms != 0) != (new_ms != 0) {
            self.count_ttl(new_ms != 0);
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

    /// A key is about to come that is not there yet.
    #[inline]
    pub fn comes(&mut self, hasher: &KeyHasher, key: &[u8]) {
        changes(&mut self.watches, &self.table, &self.counters, hasher, key);
    }

    /// Notes when an entry ends.
    pub fn note_expiry(&mut self, expires_at_ms: u64) {
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
        self.with_ttl = 0;
        std::mem::take(&mut self.table)
    }
}

impl Drop for StoreTable {
    /// What a table holds is given back to its store's accounts, whoever drops it.
    fn drop(&mut self) {
        drop(self.close());
    }
}
