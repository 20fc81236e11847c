//! Making room: the least recently used of samples leaves, one slot's lock at a time.
//!
//! As in Redis ("Key eviction", redis.io/docs/reference/eviction), a pool keeps the best
//! candidates of earlier samples, so that a few samples a round come close to true LRU.

use super::Keyspace;
use super::entry::{Bytes, clock, idle};
use super::hash::mix;
use super::stores::Store;
use crate::cluster::{SLOTS, Slot};
use crate::store::EvictionPolicy;
use smallvec::SmallVec;
use std::sync::atomic::Ordering::Relaxed;

/// How many candidates a pool keeps (Redis's `EVPOOL_SIZE`).
const POOL: usize = 16;
/// How many keys a round samples (Redis's `maxmemory-samples`).
const SAMPLES: usize = 5;
/// So many slots are tried for one round's samples.
const SLOTS_A_ROUND: usize = 5;
/// After so many rounds that freed nothing a write is refused.
const FRUITLESS_ROUNDS: usize = 64;

/// The best candidates so far, the most idle last.
#[derive(Default)]
pub struct Pool {
    candidates: SmallVec<[Candidate; 0]>,
}

struct Candidate {
    /// When it was last used.
    used_at: u32,
    slot: Slot,
    hash: u64,
    key: Bytes,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({})", self.candidates.len())
    }
}

impl Pool {
    fn offer(&mut self, candidate: Candidate, now: u32) {
        if self.candidates.iter().any(|c| c.key.as_slice() == candidate.key.as_slice()) {
            return;
        }
        let idle = |c: &Candidate| idle(c.used_at, now);
        let at = self.candidates.partition_point(|c| idle(c) < idle(&candidate));
        if self.candidates.len() == POOL {
            if at == 0 {
                return;
            }
            self.candidates.remove(0);
            self.candidates.insert(at - 1, candidate);
        } else {
            self.candidates.insert(at, candidate);
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
        let mut fruitless = 0;
        while store.is_over() {
            if store.eviction == EvictionPolicy::NoEviction || fruitless == FRUITLESS_ROUNDS {
                store.counters.oom_errors.fetch_add(1, Relaxed);
                return false;
            }
            let mut pool = store.counters.pool.lock();
            self.sample(store, &mut pool, now_ms);
            let best = pool.candidates.pop();
            drop(pool);
            match best {
                Some(candidate) if self.evict_one(store, &candidate) => fruitless = 0,
                _ => fruitless += 1,
            }
        }
        true
    }

    /// Offers the keys of a few random places to the pool.
    fn sample(&self, store: &Store, pool: &mut Pool, now_ms: u64) {
        let now = clock(now_ms);
        let mut left = SAMPLES;
        for _ in 0..SLOTS_A_ROUND {
            let random = self.random();
            let from = (random >> 48) as u16 % SLOTS;
            let Some(slot) = store.counters.occupancy.next_around(from) else { return };
            let Some(cell) = self.cell(slot) else { return };
            let state = cell.state.lock();
            let Some(table) = state.get(store.number) else { continue };
            table.table.sample(mix(random), left, |entry| {
                left -= 1;
                let key = entry.key.as_slice();
                let candidate = Candidate {
                    used_at: entry.used_at,
                    slot,
                    hash: self.hasher.hash(key),
                    key: entry.key.clone(),
                };
                pool.offer(candidate, now);
            });
            if left == 0 {
                return;
            }
        }
    }

    fn evict_one(&self, store: &Store, candidate: &Candidate) -> bool {
        let Some(cell) = self.cell(candidate.slot) else { return false };
        let mut state = cell.state.lock();
        let Some(table) = state.get_mut(store.number) else { return false };
        let Some(place) = table.table.find(candidate.hash, candidate.key.as_slice()) else {
            return false;
        };
        // One that was used since it was sampled is no candidate any more.
        if table.table.get(place).is_none_or(|entry| entry.used_at != candidate.used_at) {
            return false;
        }
        let removed = table.remove(&self.hasher, place);
        drop(state);
        let evicted = removed.is_some();
        if evicted {
            store.counters.evicted.fetch_add(1, Relaxed);
        }
        evicted
    }
}
