//! Making room: who leaves a store that is over its budget.
//!
//! Each store has a *hand* that goes through its slots and tables for ever, a few keys at a
//! time, one slot's lock at a time. It offers what it meets to a pool that keeps the best candidates;
//! the best of them leaves. So every key is looked at once a round, and no list links keys.
//! The default, W-TinyLFU, adds a window of newcomers and a sketch of who left; see
//! `docs/decisions/0007-eviction.md` for what was compared.
//!
//! | file | what it is about |
//! |---|---|
//! | `usage`, `pace` | what an entry knows of its use, in the store's own time |
//! | `rank`, `pool` | who leaves first; the best candidates so far |
//! | `session` | keys that leave together |
//! | `sketch`, `window` | W-TinyLFU's memory of who left, and its newcomers |

pub mod pace;
mod pool;
mod rank;
pub mod session;
mod sketch;
pub mod usage;
mod window;

use super::Keyspace;
use super::notice::Event;
use super::stores::Store;
use super::values::Value;
use crate::cluster::{SLOTS, Slot};
use crate::store::EvictionPolicy;
use parking_lot::Mutex;
use pool::{Candidate, Pool};
use rank::{EXPIRED, Facts, class, is_admitted};
use sketch::Sketch;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use usage::{Usage, added};
use window::{Climber, Place, Window};

/// How many keys the hand looks at for one that leaves.
const SAMPLES: usize = 8;
/// So many slots are looked into for them.
const SLOTS_A_ROUND: usize = 8;
/// After so many rounds that freed nothing a write is refused.
const FRUITLESS_ROUNDS: usize = 64;
/// `ttl` looks so many rounds for a key with a lifetime before one without leaves.
const ROUNDS_FOR_A_LIFETIME: usize = 32;
/// So many keys of the window are looked at for one that leaves it.
const WINDOW_TRIES: usize = 16;
/// The sketch's halving goes on by so many words for each key that leaves.
const HALVED_A_STEP: usize = 256;
/// Hits and misses are added up at every such round.
const ROUNDS_A_SAMPLE: u32 = 16;

/// What a store knows for eviction.
#[derive(Debug, Default)]
pub struct Eviction {
    chooser: Mutex<Chooser>,
    /// New keys go into the window.
    windowed: AtomicBool,
    /// Locked last: under a slot's lock, or the chooser's.
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Chooser {
    policy: Option<EvictionPolicy>,
    pool: Pool,
    /// Where the hand goes on.
    hand: (Slot, u64),
    sketch: Sketch,
    climber: Climber,
    rounds: u32,
    /// What of its memory the store was charged.
    charged: usize,
}

impl Eviction {
    /// A key came in: tells whether it is in the window now.
    #[inline]
    pub fn came_in(&self, slot: Slot, hash: u64, touched: u32) -> bool {
        let windowed = self.windowed.load(Relaxed);
        if windowed {
            self.window.lock().push(Place { hash, touched, slot });
        }
        windowed
    }

    /// Forgets everything, and gives its memory back to the store's account.
    pub fn reset(&self, store: &Store) {
        let mut chooser = self.chooser.lock();
        self.forget(&mut chooser, store);
    }

    fn forget(&self, chooser: &mut Chooser, store: &Store) {
        self.windowed.store(false, Relaxed);
        self.window.lock().clear();
        store.counters.charge(chooser.charged, 0);
        *chooser = Chooser { hand: chooser.hand, ..Chooser::default() };
    }

    /// What is done now and then: another policy, another sample of the hit ratio.
    fn prepare(&self, chooser: &mut Chooser, store: &Store) {
        if chooser.policy != Some(store.eviction) {
            self.forget(chooser, store);
            chooser.policy = Some(store.eviction);
        }
        chooser.rounds = chooser.rounds.wrapping_add(1);
        let keys = store.counters.keys.load(Relaxed);
        if chooser.rounds % ROUNDS_A_SAMPLE == 1 {
            let (hits, misses) = store.counters.hits_and_misses();
            if chooser.climber.sample(hits, misses, keys) {
                store.counters.pace.mark();
                chooser.sketch.halve();
            }
        }
        if store.eviction == EvictionPolicy::WTinyLfu {
            chooser.sketch.fit(keys);
            chooser.sketch.tend(HALVED_A_STEP);
            self.windowed.store(true, Relaxed);
            let costs = chooser.sketch.heap_bytes() + self.window.lock().heap_bytes();
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
    /// policy and whatever its budget; at most `max_keys` leave each. Tells how many bytes were
    /// given back. For a member whose memory runs out, see [`super::pressure`].
    pub fn evict_share(&self, percent: u8, max_keys: usize, now_ms: u64) -> u64 {
        let mut freed = 0;
        for store in &self.registry.load().stores {
            let used = store.counters.used_bytes.load(Relaxed);
            let aim = used - used / 100 * u64::from(percent.min(100));
            let left = std::cell::Cell::new(max_keys);
            self.evict_while(store, now_ms, |store| {
                let more = left.get() > 0 && store.counters.used_bytes.load(Relaxed) > aim;
                left.set(left.get().saturating_sub(1));
                more
            });
            freed += used.saturating_sub(store.counters.used_bytes.load(Relaxed));
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
            return self.evict_session(store, &best);
        }
        self.evict_one(store, best.slot, best.hash, best.touched, best.class == EXPIRED)
    }

    /// W-TinyLFU: the oldest of the window, or the best candidate of the rest, whichever was used
    /// less.
    fn evict_by_frequency(
        &self,
        store: &Store,
        chooser: &mut Chooser,
        now_ms: u64,
    ) -> Option<Option<Value>> {
        self.sweep(store, chooser, now_ms);
        let best = chooser.pool.best().copied();
        if let Some(best) = best.filter(|best| best.class == EXPIRED) {
            chooser.pool.pop();
            return self.evict_one(store, best.slot, best.hash, best.touched, true);
        }
        let newcomer = self.leave_window(store, chooser);
        let (Some(best), Some((place, frequency))) = (best, newcomer) else {
            // Only one side has something to give.
            if let Some((place, _)) = newcomer {
                return self.evict_one(store, place.slot, place.hash, place.touched, false);
            }
            let best = chooser.pool.pop()?;
            return self.evict_remembered(store, chooser, &best);
        };
        if is_admitted(frequency, best.frequency, self.random()) {
            chooser.pool.pop();
            self.admit(store, &place, frequency);
            return self.evict_remembered(store, chooser, &best);
        }
        chooser.sketch.remember(place.hash, frequency);
        self.evict_one(store, place.slot, place.hash, place.touched, false)
    }

    fn evict_remembered(
        &self,
        store: &Store,
        chooser: &mut Chooser,
        candidate: &Candidate,
    ) -> Option<Option<Value>> {
        let Candidate { slot, hash, touched, .. } = *candidate;
        let gone = self.evict_one(store, slot, hash, touched, false)?;
        chooser.sketch.remember(hash, candidate.frequency);
        Some(gone)
    }

    /// The key that leaves the window and how often it was used, if the window is over its size.
    /// One that was used since it was put there goes to its end instead.
    fn leave_window(&self, store: &Store, chooser: &Chooser) -> Option<(Place, u8)> {
        let counters = &store.counters;
        let target = chooser.climber.target(counters.keys.load(Relaxed));
        for _ in 0..WINDOW_TRIES {
            let place = counters.eviction.window.lock().pop_over(target)?;
            let used = self.with_usage(store, place.slot, place.hash, |usage| {
                usage.in_window().then(|| (usage.touched(), usage.frequency(&counters.pace)))
            });
            let Some((touched, frequency)) = used.flatten() else { continue };
            if touched != place.touched {
                counters.eviction.window.lock().push(Place { touched, ..place });
                continue;
            }
            return Some((place, added(frequency, chooser.sketch.frequency(place.hash))));
        }
        None
    }

    /// A key of the window becomes one of the rest.
    fn admit(&self, store: &Store, place: &Place, frequency: u8) {
        self.with_usage(store, place.slot, place.hash, |usage| {
            usage.set_in_window(false);
            usage.set_frequency(frequency);
        });
    }

    fn with_usage<R>(
        &self,
        store: &Store,
        slot: Slot,
        hash: u64,
        run: impl FnOnce(&mut Usage) -> R,
    ) -> Option<R> {
        let mut state = self.cell(slot)?.state.lock();
        let table = &mut state.get_mut(store.number)?.table;
        let place = table.find_where(hash, |e| self.hasher.hash(e.key) == hash)?;
        let before = table.get(place)?.usage;
        let mut usage = before;
        let result = run(&mut usage);
        if usage != before {
            table.set_usage(place, usage);
        }
        Some(result)
    }

    /// Offers the next keys that the hand meets to the pool.
    fn sweep(&self, store: &Store, chooser: &mut Chooser, now_ms: u64) {
        let pace = &store.counters.pace;
        let (turn, random) = (pace.turn(), self.random());
        let keys = store.counters.keys.load(Relaxed);
        let window = chooser.climber.target(keys) / pace::keys_a_turn(keys) as usize;
        let mut left = SAMPLES;
        for _ in 0..SLOTS_A_ROUND {
            let (from, mut position) = chooser.hand;
            let Some(slot) = store.counters.occupancy.next_around(from) else { return };
            if slot != from {
                position = 0;
            }
            let Some(cell) = self.cell(slot) else { return };
            let state = cell.state.lock();
            let next = state.get(store.number).and_then(|table| {
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
    fn evict_session(&self, store: &Store, candidate: &Candidate) -> Option<Option<Value>> {
        let sessions = &store.counters.sessions;
        let (hasher, hash) = (&self.hasher, candidate.hash);
        let mut state = self.cell(candidate.slot)?.state.lock();
        let table = state.get_mut(store.number)?;
        let place = table.table.find_where(hash, |entry| {
            hasher.hash(entry.key) == hash && sessions.touched(hasher, entry) == candidate.touched
        })?;
        let entry = table.table.get(place)?;
        self.notices.note(Event::EVICTED, store.number, entry.key);
        let key = entry.usage.in_session().then(|| entry.key.to_vec());
        let value = table.remove(hasher, place)?;
        let mut gone = 1;
        if let Some(key) = key {
            sessions.end(hasher, &key);
            gone += table.remove_session(hasher, hash, &key, |key| {
                self.notices.note(Event::EVICTED, store.number, key);
            });
        }
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
    ) -> Option<Option<Value>> {
        let mut state = self.cell(slot)?.state.lock();
        let table = state.get_mut(store.number)?;
        let place = table.table.find_where(hash, |entry| {
            entry.usage.touched() == touched && self.hasher.hash(entry.key) == hash
        })?;
        let event = if expired { Event::EXPIRED } else { Event::EVICTED };
        self.notices.note(event, store.number, table.table.get(place)?.key);
        let removed = table.remove(&self.hasher, place);
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
