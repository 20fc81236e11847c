//! Making room: who leaves a store that is over its budget.
//!
//! Each store has a *hand* that goes through its slots and tables for ever, a few keys at a
//! time, one slot's lock at a time. It offers what it meets to a pool that keeps the best candidates;
//! the best of them leaves. So every key is looked at once a round, and no list links keys.
//! The default, W-TinyLFU, adds a window of newcomers and a memory of who left; see
//! `docs/decisions/0007-eviction.md` for what was compared.
//!
//! | file | what it is about |
//! |---|---|
//! | `usage`, `pace` | what an entry knows of its use, in the store's own time |
//! | `rank`, `pool` | who leaves first; the best candidates so far |
//! | `session` | keys that leave together |
//! | `frequency` | W-TinyLFU's choice |
//! | `newcomers`, `window`, `ghosts`, `balance` | who came in of late, who left, and how large the window is |

mod balance;
mod frequency;
mod ghosts;
mod newcomers;
pub mod pace;
mod pool;
mod rank;
pub mod session;
pub mod usage;
mod window;

use super::Keyspace;
use super::notice::Event;
use super::stores::Store;
use super::values::Value;
use crate::cluster::{SLOTS, Slot};
use crate::store::EvictionPolicy;
use newcomers::Newcomers;
use pace::Pace;
use parking_lot::Mutex;
use pool::{Candidate, Pool};
use rank::{EXPIRED, Facts, class};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use usage::Usage;

/// How many keys the hand looks at for one that leaves.
const SAMPLES: usize = 8;
/// So many slots are looked into for them.
const SLOTS_A_ROUND: usize = 8;
/// After so many rounds that freed nothing a write is refused.
const FRUITLESS_ROUNDS: usize = 64;
/// `ttl` looks so many rounds for a key with a lifetime before one without leaves.
const ROUNDS_FOR_A_LIFETIME: usize = 32;
/// Hits and misses are added up at every such round.
const ROUNDS_A_SUM: u32 = 16;
/// Frequencies halve after so many accesses for every key.
const ACCESSES_A_HALVING: u64 = 10;

/// What a store knows for eviction.
#[derive(Debug, Default)]
pub struct Eviction {
    chooser: Mutex<Chooser>,
    /// New keys go into the window.
    windowed: AtomicBool,
    /// Locked last: under a slot's lock, or the chooser's.
    newcomers: Mutex<Newcomers>,
}

#[derive(Debug, Default)]
struct Chooser {
    policy: Option<EvictionPolicy>,
    pool: Pool,
    /// Where the hand goes on.
    hand: (Slot, u64),
    /// How many keys belong in the window.
    window: usize,
    rounds: u32,
    /// How many accesses there had been when frequencies halved last.
    halved_at: u64,
    /// What of its memory the store was charged.
    charged: usize,
}

impl Eviction {
    /// A key comes in to so many: into the window, if there is one.
    #[inline]
    pub fn came_in(&self, slot: Slot, hash: u64, usage: &mut Usage, pace: &Pace, keys: u64) {
        if self.windowed.load(Relaxed) {
            self.newcomers.lock().came_in(slot, hash, usage, pace, keys);
        }
    }

    fn left(&self, hash: u64, frequency: u8, from_main: bool, pace: &Pace) {
        self.newcomers.lock().left(hash, frequency, from_main, pace);
    }

    /// Forgets everything, and gives its memory back to the store's account.
    pub fn reset(&self, store: &Store) {
        let mut chooser = self.chooser.lock();
        self.forget(&mut chooser, store);
    }

    fn forget(&self, chooser: &mut Chooser, store: &Store) {
        self.windowed.store(false, Relaxed);
        *self.newcomers.lock() = Newcomers::default();
        store.counters.charge(chooser.charged, 0);
        *chooser = Chooser { hand: chooser.hand, ..Chooser::default() };
    }

    /// What is done now and then: another policy, another halving, another size.
    fn prepare(&self, chooser: &mut Chooser, store: &Store) {
        if chooser.policy != Some(store.eviction) {
            self.forget(chooser, store);
            chooser.policy = Some(store.eviction);
        }
        chooser.rounds = chooser.rounds.wrapping_add(1);
        let keys = store.counters.keys.load(Relaxed);
        if chooser.rounds % ROUNDS_A_SUM == 1 {
            let (hits, misses) = store.counters.hits_and_misses();
            let accesses = hits.wrapping_add(misses);
            let since = accesses.wrapping_sub(chooser.halved_at);
            if since >= ACCESSES_A_HALVING * keys.max(64) {
                chooser.halved_at = accesses;
                store.counters.pace.mark();
            }
        }
        if store.eviction == EvictionPolicy::WTinyLfu {
            self.windowed.store(true, Relaxed);
            let mut newcomers = self.newcomers.lock();
            newcomers.ghosts.fit(keys);
            chooser.window = newcomers.balance.target(keys);
            let costs = newcomers.heap_bytes();
            store.counters.charge(chooser.charged, costs);
            chooser.charged = costs;
        }
    }
}

impl Keyspace {
    /// Evicts from a store until it is within its budget. False when it stays over it: then a
    /// write that needs memory is refused. No slot may be locked by the caller.
    #[inline]
    pub(super) fn make_room(&self, store: &Store, now_ms: u64) -> bool {
        !store.is_over() || self.evict(store, now_ms)
    }

    #[cold]
    fn evict(&self, store: &Store, now_ms: u64) -> bool {
        let room = self.evict_while(store, now_ms, Store::is_over);
        if !room {
            store.counters.oom_errors.fetch_add(1, Relaxed);
        }
        room
    }

    /// Every store that may evict gives back this part of what it uses, in percent, by its own
    /// policy and whatever its budget; at most `max_keys` leave each. Tells how many bytes
    /// left for room meanwhile, whatever came. For a member whose memory runs out, see [`super::pressure`].
    pub fn evict_share(&self, percent: u8, max_keys: usize, now_ms: u64) -> u64 {
        let mut freed = 0;
        for store in &self.registry.load().stores {
            let (used, before, evicted) = (
                store.counters.used_bytes.load(Relaxed),
                store.counters.evicted_bytes.load(Relaxed),
                store.counters.evicted.load(Relaxed),
            );
            let aim = used - used / 100 * u64::from(percent.min(100));
            let left = std::cell::Cell::new(max_keys);
            self.evict_while(store, now_ms, |store| {
                let more = left.get() > 0 && store.counters.used_bytes.load(Relaxed) > aim;
                left.set(left.get().saturating_sub(1));
                more
            });
            freed += store.counters.evicted_bytes.load(Relaxed) - before;
            // With those, seldom some, that left for the budget meanwhile.
            let gone = store.counters.evicted.load(Relaxed) - evicted;
            store.counters.evicted_for_member.fetch_add(gone, Relaxed);
        }
        freed
    }

    /// Evicts as long as `more` says so; false when it says so but nothing can leave.
    fn evict_while(&self, store: &Store, now_ms: u64, more: impl Fn(&Store) -> bool) -> bool {
        let mut fruitless = 0;
        while more(store) {
            if store.eviction == EvictionPolicy::NoEviction || fruitless == FRUITLESS_ROUNDS {
                return false;
            }
            let eviction = &store.counters.eviction;
            let mut chooser = eviction.chooser.lock();
            eviction.prepare(&mut chooser, store);
            let gone = match store.eviction {
                EvictionPolicy::WTinyLfu => self.evict_by_frequency(store, &mut chooser, now_ms),
                _ => self.evict_best(store, &mut chooser, now_ms),
            };
            // Its blocks are given back after the lock is.
            drop(chooser);
            fruitless = if gone.is_some() { 0 } else { fruitless + 1 };
            if let Some(Some(value)) = gone {
                self.let_one_go(value);
            }
        }
        true
    }

    /// The best of the candidates leaves; its value is returned if it has blocks of its own.
    fn evict_best(
        &self,
        store: &Store,
        chooser: &mut Chooser,
        now_ms: u64,
    ) -> Option<Option<Value>> {
        self.sweep(store, chooser, now_ms);
        if store.eviction == EvictionPolicy::Ttl {
            let mut rounds = 0;
            while chooser.pool.best().is_none_or(|best| best.class == 0)
                && store.counters.keys_with_ttl.load(Relaxed) > 0
                && rounds < ROUNDS_FOR_A_LIFETIME
            {
                self.sweep(store, chooser, now_ms);
                rounds += 1;
            }
        }
        let best = chooser.pool.pop()?;
        if store.eviction == EvictionPolicy::Session && best.class != EXPIRED {
            return self.evict_session(store, &best, now_ms);
        }
        self.evict_one(store, best.slot, best.hash, best.touched, best.class == EXPIRED, now_ms)
    }

    /// Offers the next keys that the hand meets to the pool.
    fn sweep(&self, store: &Store, chooser: &mut Chooser, now_ms: u64) {
        let pace = &store.counters.pace;
        let (turn, random) = (pace.turn(), self.random());
        let keys = store.counters.keys.load(Relaxed);
        let window = chooser.window / pace::keys_a_turn(keys) as usize;
        let mut left = SAMPLES;
        for _ in 0..SLOTS_A_ROUND {
            let (from, mut position) = chooser.hand;
            let Some(slot) = store.counters.occupancy.next_around(from) else { return };
            if slot != from {
                position = 0;
            }
            let Some(cell) = self.cell(slot) else { return };
            let state = cell.state.lock();
            let table = state.get(store.number).filter(|_| self.may_remove(slot));
            let next = table.and_then(|table| {
                table.table.sweep(position, &mut left, |entry| {
                    let facts = Facts {
                        hash: self.hasher.hash(entry.key),
                        usage: entry.usage,
                        expires_at_ms: entry.expires_at_ms,
                        expired: table.is_over(&self.hasher, &entry, now_ms),
                    };
                    if let Some(class) = class(store.eviction, &facts, pace, window, random) {
                        let touched = match store.eviction {
                            EvictionPolicy::Session if !facts.expired => {
                                store.counters.sessions.touched(&self.hasher, &entry)
                            }
                            _ => entry.usage.touched(),
                        };
                        let candidate = Candidate {
                            class,
                            touched,
                            frequency: entry.usage.frequency(pace),
                            slot,
                            hash: facts.hash,
                        };
                        chooser.pool.offer(candidate, turn);
                    }
                })
            });
            chooser.hand = match next {
                Some(position) => (slot, position),
                None => ((slot + 1) % SLOTS, 0),
            };
            if left == 0 {
                return;
            }
        }
    }

    /// A session leaves with its keys, unless it was used since it was chosen: those in one place
    /// with the candidate now; others are gone for every command, and the hand takes them.
    fn evict_session(
        &self,
        store: &Store,
        candidate: &Candidate,
        now_ms: u64,
    ) -> Option<Option<Value>> {
        let sessions = &store.counters.sessions;
        let (hasher, hash) = (&self.hasher, candidate.hash);
        let mut state = self.cell(candidate.slot)?.state.lock();
        self.may_remove(candidate.slot).then_some(())?;
        let table = state.get_mut(store.number)?;
        let place = table.table.find_where(hash, |entry| {
            hasher.hash(entry.key) == hash && sessions.touched(hasher, entry) == candidate.touched
        })?;
        let entry = table.table.get(place)?;
        self.notices.note(Event::EVICTED, store.number, entry.key);
        self.log_gone(store.number, candidate.slot, entry.key, now_ms);
        let key = entry.usage.in_session().then(|| entry.key.to_vec());
        let before = table.heap_bytes();
        let value = table.remove(hasher, place)?;
        let mut gone = 1;
        if let Some(key) = key {
            sessions.end(hasher, &key);
            gone += table.remove_session(hasher, hash, &key, |key| {
                self.notices.note(Event::EVICTED, store.number, key);
                self.log_gone(store.number, candidate.slot, key, now_ms);
            });
        }
        store.counters.left_for_room(before, table.heap_bytes());
        state.tidy(store.number);
        drop(state);
        store.counters.evicted.fetch_add(gone as u64, Relaxed);
        Some(value)
    }

    /// Takes a key out, unless it was used since it was chosen.
    fn evict_one(
        &self,
        store: &Store,
        slot: Slot,
        hash: u64,
        touched: u32,
        expired: bool,
        now_ms: u64,
    ) -> Option<Option<Value>> {
        let mut state = self.cell(slot)?.state.lock();
        self.may_remove(slot).then_some(())?;
        let table = state.get_mut(store.number)?;
        let place = table.table.find_where(hash, |entry| {
            entry.usage.touched() == touched && self.hasher.hash(entry.key) == hash
        })?;
        let event = if expired { Event::EXPIRED } else { Event::EVICTED };
        let key = table.table.get(place)?.key;
        self.notices.note(event, store.number, key);
        self.log_gone(store.number, slot, key, now_ms);
        let before = table.heap_bytes();
        let removed = table.remove(&self.hasher, place);
        store.counters.left_for_room(before, table.heap_bytes());
        state.tidy(store.number);
        drop(state);
        if removed.is_some() {
            let count = if expired { &store.counters.expired } else { &store.counters.evicted };
            count.fetch_add(1, Relaxed);
        }
        removed
    }
}

#[cfg(test)]
#[path = "eviction_tests.rs"]
mod tests;
