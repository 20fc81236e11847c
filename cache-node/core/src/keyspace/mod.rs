//! Where data is: one lock and one small table per store in every slot.
//!
//! | file | what it is about |
//! |---|---|
//! | `slot` | a slot's lock and tables, and their accounts |
//! | `table`, `part/`, `entry`, `hash`, `index` | where entries are and how they are found |
//! | `values/` | strings, lists, hashes, sets, sorted sets |
//! | `access`, `together`, `scripted` | what a command may do with a key; with the keys of many slots; while a script runs |
//! | `prefetch` | what a batch of commands will need, asked for at once |
//! | `watch`, `wait` | keys whose changes EXEC has to see; keys that clients wait for |
//! | `notice` | what happened to keys, for the world |
//! | `stores`, `occupancy` | policies, counters, which store a key belongs to |
//! | `filter/` | a cuckoo filter for each part of a table |
//! | `eviction/` | who leaves a store that is over its budget |
//! | `pressure` | what a member does as its memory runs out |
//! | `snapshot/` | a slot as bytes, as of one moment, and back |
//! | `effects`, `replaying` | what changes leave in the log; the log's records done again |
//! | `feeding` | what they leave for other members |
//! | `attaching`, `leaving` | how those come to have a slot, and to have it no longer |
//! | `applying`, `checking` | what comes from the primary of a slot; whether both hold the same |
//! | `expiry`, `walk`, `memory` | keys whose lifetime is over; commands over all keys; costs |

mod access;
mod applying;
mod attaching;
mod checking;
mod copies;
mod effects;
mod entry;
mod eviction;
mod expiry;
mod feeding;
mod filter;
mod free;
mod hash;
mod index;
mod leaving;
mod memory;
mod moves;
mod notice;
mod occupancy;
mod part;
mod prefetch;
pub mod pressure;
mod replaying;
mod scripted;
mod slot;
mod snapshot;
mod stores;
mod table;
mod together;
mod values;
mod wait;
mod walk;
mod watch;

pub use access::{Access, Lifetime, Locked};
use access::{Guards, Known};
pub(crate) use applying::Applying;
pub use attaching::{Attached, Piece, Pieces, Unattached, Void};
pub use copies::Source;
pub use effects::Needs;
use effects::Sink;
pub use entry::{Entry, Taken};
pub use eviction::usage::MAX_FREQUENCY;
pub use filter::{FilterStats, Verdict};
pub use free::{Remains, Undertaker};
pub use hash::KeyHasher;
pub use leaving::Leaving;
pub use moves::{BeforeMove, MoveCursor};
pub use notice::{Event, EventClasses, Notice, Notices};
pub use prefetch::{Hashed, HashedMember};
pub(crate) use replaying::Replaying;
pub use snapshot::{Damage, Loaded, SlotTaking, Untaken};
pub use together::LockedAlso;
pub use values::{Hash, List, Set, SortedSet, Value, ValueRef};
pub use values::{commands, cuckoo};
pub use wait::{Attempt, Ended, Wait, Waiting};
pub use walk::{scan_cursor, scan_slot};
pub use watch::WatchedKey;

use crate::cluster::{SLOTS, Slot, slot_of};
use crate::log::{Journal, Ticket};
use crate::replica::Feed;
use crate::store::{DEFAULT_STORE, EvictionPolicy, StoreNumber, StorePolicy};
use arc_swap::ArcSwap;
use hash::mix;
use occupancy::Occupancy;
use parking_lot::{Mutex, MutexGuard};
use slot::{Cell, State};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};
use stores::Registry;

/// Of the keys of one command, so many are asked for ahead: what the processor's caches hold.
const MOST_PREFETCHED: usize = 1024;

/// What a keyspace is built from.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The key of the hash function, from a source clients cannot guess.
    pub hash_seed: u64,
    /// The start of the sampling sequence of eviction and RANDOMKEY.
    pub eviction_seed: u64,
}

/// A slot that this member does not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("slot {slot} is not served here")]
pub struct NotServing {
    /// The slot.
    pub slot: Slot,
}

/// Why a command did not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A slot is another member's.
    #[error("{0}")]
    NotServing(#[from] NotServing),
    /// The store is not there (any more).
    #[error("no such store")]
    NoStore,
    /// The store is over its budget and nothing can leave.
    #[error("out of memory")]
    OutOfMemory,
    /// The store promises to keep what is written, and that cannot be kept now:
    /// [`Keyspace::misconf`] says why.
    #[error("the log cannot be written")]
    NotDurable,
    /// The store promises that a majority of the slot's owners has what is written, and fewer are in
    /// sync.
    #[error("too few owners are in sync")]
    NotReplicated,
}

/// The stores as they were at some time. Commands look whether they still are.
#[derive(Debug)]
pub struct Stores(arc_swap::Guard<Arc<Registry>>);

/// What one store holds and did on this member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreStats {
    /// The store's number.
    pub number: StoreNumber,
    /// The store's name.
    pub name: String,
    /// Keys, with those whose lifetime is over but that were not removed yet.
    pub keys: u64,
    /// Keys with a lifetime.
    pub keys_with_ttl: u64,
    /// What the store's tables, keys and values cost.
    pub used_memory_bytes: u64,
    /// The store's budget.
    pub max_memory_bytes: Option<u64>,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Keys that left for room.
    pub evicted_keys: u64,
    /// Of these, those that left because the member's memory ran out, whatever their store's budget.
    pub evicted_for_member_keys: u64,
    /// Keys that left because their lifetime was over.
    pub expired_keys: u64,
    /// Writes that were refused for want of room.
    pub oom_errors: u64,
}

/// All data of one member. Every method may be called from any thread.
pub struct Keyspace {
    cells: Box<[Cell]>,
    /// For each slot: no key there ends before this time (Unix milliseconds); may be too early.
    /// Written under the slot's lock; beside the cells, so that the expiry cycle reads little.
    due_ms: Box<[AtomicU64]>,
    hasher: KeyHasher,
    registry: ArcSwap<Registry>,
    /// The registry's epoch: lets a command that holds a lock see that its registry is in force.
    epoch: AtomicU64,
    /// Some store has prefixes of keys.
    has_prefixes: AtomicBool,
    /// Held while policies change.
    changing: Mutex<()>,
    /// The numbers of stores that were here and are not any more.
    dropped: Mutex<BTreeSet<StoreNumber>>,
    /// The slots that are served, for walks; `Cell::serving` is what counts.
    served: Occupancy,
    random: AtomicU64,
    /// The time of the last expiry cycle, in Unix milliseconds.
    seen_ms: AtomicU64,
    /// Where the expiry cycle goes on.
    expiry_slot: AtomicU32,
    /// The next slot whose filters are brought to their policies; [`SLOTS`] when all are.
    filter_slot: AtomicU32,
    /// The slots that may have watched keys.
    watching: Occupancy,
    /// What happened to keys, for those who want to hear of it.
    notices: Notices,
    /// What all waits are and cost.
    waits: Arc<wait::Account>,
    /// When old watches are looked for again.
    watches_due_ms: AtomicU64,
    /// Takes what is large and goes.
    undertaker: OnceLock<Undertaker>,
    /// What was done to stores that are logged, on its way to the disk.
    journal: Journal,
    /// What was done to slots that others own as well, on its way to them.
    feed: Feed,
    /// The member's memory is used up: writes that need some are refused.
    refusing: AtomicBool,
    loading: AtomicBool,
    /// Until then (Unix milliseconds) no key is removed because its lifetime is over.
    expiry_paused_until_ms: AtomicU64,
}

impl std::fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyspace").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Keyspace {
    /// An empty keyspace with the store `default`. It serves no slot at first.
    pub fn new(options: Options) -> Self {
        let default = StorePolicy::new(DEFAULT_STORE, 0);
        Self {
            cells: (0..SLOTS).map(|_| Cell::default()).collect(),
            due_ms: (0..SLOTS).map(|_| AtomicU64::new(slot::NEVER)).collect(),
            hasher: KeyHasher::new(options.hash_seed),
            registry: ArcSwap::from_pointee(Registry::new(vec![default], 0, None)),
            epoch: AtomicU64::new(0),
            has_prefixes: AtomicBool::new(false),
            changing: Mutex::new(()),
            dropped: Mutex::default(),
            served: Occupancy::default(),
            random: AtomicU64::new(options.eviction_seed),
            seen_ms: AtomicU64::new(0),
            expiry_slot: AtomicU32::new(0),
            filter_slot: AtomicU32::new(u32::from(SLOTS)),
            watching: Occupancy::default(),
            notices: Notices::default(),
            waits: Arc::default(),
            watches_due_ms: AtomicU64::new(0),
            undertaker: OnceLock::new(),
            journal: Journal::default(),
            feed: Feed::default(),
            refusing: AtomicBool::new(false),
            loading: AtomicBool::new(false),
            expiry_paused_until_ms: AtomicU64::new(0),
        }
    }

    #[inline]
    fn cell(&self, slot: Slot) -> Option<&Cell> {
        self.cells.get(usize::from(slot))
    }

    #[inline]
    fn due_ms(&self, slot: Slot) -> Option<&AtomicU64> {
        self.due_ms.get(usize::from(slot))
    }

    fn random(&self) -> u64 {
        mix(self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed))
    }

    /// Puts these policies in force, with data in place. A store that is not listed is dropped
    /// with its data, and so is one whose number now has another name; `default` never is.
    pub fn set_stores(&self, policies: &[StorePolicy]) {
        let _changing = self.changing.lock();
        let old = self.registry.load_full();
        let mut new = policies.to_vec();
        if !new.iter().any(|policy| policy.number == 0) {
            let default = old.policies.iter().find(|policy| policy.number == 0);
            new.insert(0, default.cloned().unwrap_or_else(|| StorePolicy::new(DEFAULT_STORE, 0)));
        }
        let stays = |policy: &&StorePolicy| {
            policy.number == 0
                || new.iter().any(|n| n.number == policy.number && n.name == policy.name)
        };
        let gone: Vec<StoreNumber> =
            old.policies.iter().filter(|p| !stays(p)).map(|p| p.number).collect();
        {
            let mut dropped = self.dropped.lock();
            dropped.extend(&gone);
            new.iter().for_each(|policy| {
                dropped.remove(&policy.number);
            });
        }
        if !gone.is_empty() {
            // First without the stores that go, so that nothing is written to them any more. That is not
            // logged key by key: who recovers skips the records of a store that is not there.
            let kept = old.policies.iter().filter(stays).cloned().collect();
            self.publish(kept, Some(&old));
            for number in &gone {
                let taken = self.cells.iter().filter_map(|cell| cell.state.lock().take(*number));
                let tables = taken.map(|mut table| table.close()).collect();
                self.let_tables_go(tables);
            }
        }
        let current = self.registry.load_full();
        self.coverage_changes(&current, &new);
        self.publish(new, Some(&current));
        self.clear_unheld();
        let mut filters_changed = false;
        let registry = self.registry.load();
        for (store, policy) in registry.stores.iter().zip(registry.policies.iter()) {
            let counters = &store.counters;
            if store.eviction == EvictionPolicy::Session {
                let prefixes = policy.key_prefixes.iter().map(|p| p.as_bytes().into()).collect();
                counters.sessions.start(counters.pace.next_turn(), prefixes);
            } else {
                counters.charge(counters.sessions.stop(), 0);
            }
            let bits = store.filter_bits();
            filters_changed |= store.counters.filter_bits.swap(bits, Relaxed) != bits;
        }
        if filters_changed {
            self.filters_changed();
        }
    }

    fn publish(&self, policies: Vec<StorePolicy>, old: Option<&Registry>) {
        let epoch = self.epoch.load(Relaxed) + 1;
        let registry = Registry::new(policies, epoch, old);
        self.has_prefixes.store(registry.has_prefixes(), Relaxed);
        self.registry.store(Arc::new(registry));
        self.epoch.store(epoch, Release);
        // A key may belong to another store now. Whoever waits under the old policies does so since
        // before this, because the epoch is checked under the slot's lock.
        self.end_all_waits();
    }

    /// Starts or stops serving a slot. Its data stays.
    pub fn set_serving(&self, slot: Slot, serving: bool) {
        if let Some(cell) = self.cell(slot) {
            let mut state = cell.state.lock();
            cell.serving.store(serving, Relaxed);
            self.served.set(slot, serving);
            if !serving {
                state.end_waits();
                cell.waited.store(false, Relaxed);
            }
        }
    }

    /// Whether a slot is served here.
    #[inline]
    pub fn is_serving(&self, slot: Slot) -> bool {
        self.cell(slot).is_some_and(|cell| cell.serving.load(Relaxed))
    }

    /// Stops serving a slot if no store has a live key in it, under the slot's lock; tells
    /// whether it did.
    pub fn fence_if_empty(&self, slot: Slot, now_ms: u64) -> bool {
        let Some(cell) = self.cell(slot) else { return false };
        let mut state = cell.state.lock();
        let empty = state.tables.iter().all(|table| {
            let mut lives = false;
            table.table.visit(|entry| lives |= !table.is_over(&self.hasher, &entry, now_ms));
            !lives
        });
        if empty {
            cell.serving.store(false, Relaxed);
            self.served.set(slot, false);
            state.end_waits();
            cell.waited.store(false, Relaxed);
        }
        empty
    }

    /// Drops a slot's data in all stores.
    pub fn clear_slot(&self, slot: Slot) {
        let Some(cell) = self.cell(slot) else { return };
        let mut state = cell.state.lock();
        let numbers: SmallVec<[StoreNumber; 8]> =
            state.tables.iter().map(|table| table.number).collect();
        let tables: Vec<_> = numbers.into_iter().filter_map(|number| state.take(number)).collect();
        for table in tables.iter().filter(|table| table.table.len() > 0) {
            // No command did this, and so none waits for it.
            self.log_flush(table.number, slot, self.seen_ms.load(Relaxed));
        }
        tables.iter().for_each(|table| table.leave_sessions(&self.hasher));
        drop(state);
        self.let_tables_go(tables.into_iter().map(|mut table| table.close()).collect());
    }

    /// Whether a store has this number.
    #[inline]
    pub fn has_store(&self, number: StoreNumber) -> bool {
        self.registry.load().get(number).is_some()
    }

    /// What happened to keys, for those who want to hear of it.
    pub fn notices(&self) -> &Notices {
        &self.notices
    }

    /// What was done to stores that are logged, on its way to the disk.
    #[inline]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// What has to be on the disk before others may count on what is here of slots: what stores have done that are confirmed
    /// once it is there.
    pub fn unforced(&self, slots: impl IntoIterator<Item = Slot>) -> Option<Ticket> {
        if !self.registry.load().awaits_disk {
            return None;
        }
        let of = |slot: Slot| {
            // Whoever is at it has noted what he did once he is gone.
            let _state = self.cell(slot)?.state.lock();
            self.journal.unforced_in(slot)
        };
        slots.into_iter().filter_map(of).max()
    }

    /// The policies in force.
    pub fn policies(&self) -> Arc<Vec<StorePolicy>> {
        Arc::clone(&self.registry.load().policies)
    }

    /// How many keys a store has on this member, with those whose lifetime is over but that were
    /// not removed yet.
    pub fn keys(&self, store: StoreNumber) -> u64 {
        self.registry.load().get(store).map_or(0, |store| store.counters.keys.load(Relaxed))
    }

    /// How many keys of a store this member answers for: not those that it keeps for another member.
    pub fn served_keys(&self, store: StoreNumber) -> u64 {
        if !self.feed.is_on() {
            return self.keys(store);
        }
        let served = (0..SLOTS).filter(|slot| self.is_serving(*slot));
        served.map(|slot| self.count_keys_in_slot(store, slot)).sum()
    }

    /// How many keys a store has in a slot.
    pub fn count_keys_in_slot(&self, store: StoreNumber, slot: Slot) -> u64 {
        let Some(cell) = self.cell(slot) else { return 0 };
        cell.state.lock().get(store).map_or(0, |table| table.table.len() as u64)
    }

    /// How many keys all stores have in these slots.
    pub fn keys_in_slots(&self, slots: impl Iterator<Item = Slot>) -> u64 {
        slots
            .filter_map(|slot| self.cell(slot))
            .map(|cell| cell.state.lock().tables.iter().map(|t| t.table.len() as u64).sum::<u64>())
            .sum()
    }

    /// How many keys each store has in these slots, those that have some.
    pub fn held_in_slots(&self, slots: impl Iterator<Item = Slot>) -> BTreeMap<StoreNumber, u64> {
        let mut held = BTreeMap::new();
        for cell in slots.filter_map(|slot| self.cell(slot)) {
            for table in cell.state.lock().tables.iter().filter(|t| t.table.len() != 0) {
                *held.entry(table.number).or_default() += table.table.len() as u64;
            }
        }
        held
    }

    /// What all stores' tables, keys and values cost.
    pub fn used_bytes(&self) -> u64 {
        let registry = self.registry.load();
        registry.stores.iter().map(|store| store.counters.used_bytes.load(Relaxed)).sum()
    }

    /// What every store holds and did.
    pub fn stats(&self) -> Vec<StoreStats> {
        let registry = self.registry.load();
        let stats = registry.stores.iter().zip(registry.policies.iter()).map(|(store, policy)| {
            let counters = &store.counters;
            let (hits, misses) = counters.hits_and_misses();
            StoreStats {
                number: store.number,
                name: policy.name.clone(),
                keys: counters.keys.load(Relaxed),
                keys_with_ttl: counters.keys_with_ttl.load(Relaxed),
                used_memory_bytes: counters.used_bytes.load(Relaxed),
                max_memory_bytes: store.max_bytes,
                hits,
                misses,
                evicted_keys: counters.evicted.load(Relaxed),
                evicted_for_member_keys: counters.evicted_for_member.load(Relaxed),
                expired_keys: counters.expired.load(Relaxed),
                oom_errors: counters.oom_errors.load(Relaxed),
            }
        });
        stats.collect()
    }

    /// From now on only a part of the data is here, or all of it: what is over all keys does not run
    /// meanwhile, as it would miss the rest.
    pub fn set_loading(&self, loading: bool) {
        self.loading.store(loading, Release);
    }

    /// Whether only a part of the data is here.
    pub fn is_loading(&self) -> bool {
        self.loading.load(Acquire)
    }

    /// From now on writes that need memory are refused, or not any more: the member's memory is
    /// used up, whatever its stores' budgets are. See [`pressure`].
    pub fn set_refusing(&self, refusing: bool) {
        self.refusing.store(refusing, Relaxed);
    }

    /// Whether a write to a store may take memory; brings the store within its budget for that.
    #[inline]
    fn has_room(&self, registry: &Registry, store: &stores::Store, now_ms: u64) -> bool {
        if self.refusing.load(Relaxed) {
            store.counters.oom_errors.fetch_add(1, Relaxed);
            return false;
        }
        !registry.bounded || self.make_room(store, now_ms)
    }

    /// The stores as they are: to be asked for once for several commands that run at once.
    #[inline]
    pub fn stores(&self) -> Stores {
        Stores(self.registry.load())
    }

    /// The store that a command is about whose client has selected this one, for accounts: by its first key.
    #[inline]
    pub fn store_asked<'a>(
        &self,
        selected: StoreNumber,
        first_key: impl FnOnce() -> Option<&'a [u8]>,
    ) -> StoreNumber {
        if selected != 0 || !self.has_prefixes.load(Relaxed) {
            return selected;
        }
        let registry = self.registry.load();
        first_key().and_then(|key| registry.route(selected, key)).map_or(selected, |s| s.number)
    }

    /// Locks one key's slot for `run`. With `needs_room`, the key's store is brought within its
    /// budget first.
    ///
    /// # Errors
    /// Why `run` was not called.
    #[inline]
    pub fn with_key<R>(
        &self,
        number: StoreNumber,
        key: &[u8],
        now_ms: u64,
        needs_room: bool,
        run: impl FnOnce(&mut Access<'_>) -> R,
    ) -> Result<R, Refusal> {
        let hashed = Hashed { slot: slot_of(key), hash: self.hasher.hash(key) };
        self.with_sent_key(number, key, hashed, &self.stores(), now_ms, needs_room, &[], run)
    }

    /// As [`Self::with_key`], for a key of which [`Self::hashed`] is known, with what
    /// [`Self::stores`] gave not long ago, for a command that was sent with these words (none if what
    /// `run` does is not what they say).
    ///
    /// # Errors
    /// As [`Self::with_key`].
    #[inline]
    #[allow(clippy::too_many_arguments, reason = "what is known ahead, each of its own kind")]
    pub fn with_sent_key<R>(
        &self,
        number: StoreNumber,
        key: &[u8],
        hashed: Hashed,
        stores: &Stores,
        now_ms: u64,
        needs: impl Into<Needs>,
        sent: &[&[u8]],
        run: impl FnOnce(&mut Access<'_>) -> R,
    ) -> Result<R, Refusal> {
        let needs = needs.into();
        let Hashed { slot, hash } = hashed;
        let cell = self.cell(slot).ok_or(NotServing { slot })?;
        // Dropped after the lock.
        let mut buried = Vec::new();
        let mut newer;
        let mut registry: &Registry = &stores.0;
        loop {
            let store = registry.route(number, key).ok_or(Refusal::NoStore)?;
            if let Some(refusal) = needs.refusal(self, registry, store, now_ms) {
                return Err(refusal);
            }
            let mut state = cell.state.lock();
            if !cell.serving.load(Relaxed) {
                return Err(NotServing { slot }.into());
            }
            if self.epoch.load(Acquire) != registry.epoch {
                newer = self.stores();
                registry = &newer.0;
                continue;
            }
            if needs.log && self.lacks_replicas(store, slot) {
                return Err(Refusal::NotReplicated);
            }
            let result = run(&mut Access {
                space: self,
                state: &mut state,
                store,
                slot,
                key,
                hash,
                now_ms,
                buried: &mut buried,
                sink: Sink::Journal,
                sent,
                said: None,
            });
            if let Some(table) = state.get(store.number) {
                cell.hints.note(table);
            }
            self.note_unconfirmed(store, slot);
            if cell.waited.load(Relaxed) {
                self.serve_in(registry, slot, state, now_ms, buried);
                return Ok(result);
            }
            drop(state);
            if !buried.is_empty() {
                self.let_go(buried);
            }
            return Ok(result);
        }
    }

    /// Lets those try again who wait for keys of a slot that a command changed; unlocks it.
    #[cold]
    fn serve_in(
        &self,
        registry: &Registry,
        slot: Slot,
        state: MutexGuard<'_, State>,
        now_ms: u64,
        buried: Vec<Value>,
    ) {
        let mut guards = Guards::new();
        guards.push((slot, state));
        let mut locked = Locked::new(self, registry, 0, now_ms, guards, buried);
        locked.serve_ready();
        locked.unlock();
    }

    /// Locks the slots of several keys, in slot order, for `run`. With `needs_room`, their stores
    /// are brought within their budgets first.
    ///
    /// # Errors
    /// Why `run` was not called.
    pub fn with_keys<R>(
        &self,
        number: StoreNumber,
        keys: &[&[u8]],
        now_ms: u64,
        needs: impl Into<Needs>,
        run: impl FnOnce(&mut Locked<'_>) -> R,
    ) -> Result<R, Refusal> {
        let hashed: SmallVec<[Hashed; 12]> = keys.iter().map(|key| self.hashed(key)).collect();
        if hashed.len() > 1 {
            self.prefetch(&hashed[..hashed.len().min(MOST_PREFETCHED)], &[]);
        }
        self.with_hashed_keys(number, keys, &hashed, now_ms, needs, run)
    }

    /// As [`Self::with_keys`], for keys of which [`Self::hashed`] is known, in the same order.
    ///
    /// # Errors
    /// As [`Self::with_keys`].
    pub fn with_hashed_keys<R>(
        &self,
        number: StoreNumber,
        keys: &[&[u8]],
        hashed: &[Hashed],
        now_ms: u64,
        needs: impl Into<Needs>,
        run: impl FnOnce(&mut Locked<'_>) -> R,
    ) -> Result<R, Refusal> {
        let needs = needs.into();
        let mut slots: SmallVec<[Slot; 12]> = hashed.iter().map(|key| key.slot).collect();
        slots.sort_unstable();
        slots.dedup();
        loop {
            let registry = self.registry.load();
            if registry.get(number).is_none() {
                return Err(Refusal::NoStore);
            }
            if needs.room || needs.log && self.journal.is_failed() {
                for key in keys {
                    let store = registry.route(number, key).ok_or(Refusal::NoStore)?;
                    if let Some(refusal) = needs.refusal(self, &registry, store, now_ms) {
                        return Err(refusal);
                    }
                }
            }
            let guards = self.lock_slots(&slots)?;
            if self.epoch.load(Acquire) != registry.epoch {
                continue;
            }
            let mut locked = Locked::new(self, &registry, number, now_ms, guards, Vec::new());
            if needs.log && locked.lacks_replicas(number, || keys.iter().copied()) {
                return Err(Refusal::NotReplicated);
            }
            locked.known = Known::new(keys, hashed);
            let result = run(&mut locked);
            locked.serve_waits();
            locked.unlock();
            return Ok(result);
        }
    }
}

#[cfg(test)]
#[path = "keyspace_tests.rs"]
mod tests;
