//! The stores in force: their policies, their counters, and which store a key belongs to.

use super::eviction::Eviction;
use super::eviction::pace::Pace;
use super::eviction::session::Sessions;
use super::filter::fingerprint_bits;
use super::occupancy::Occupancy;
use super::table::Filtered;
use crate::store::{Acks, Durability, EvictionPolicy, FilterRate, StoreNumber, StorePolicy};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// Hits and misses are counted in so many places, so that threads seldom meet.
const STRIPES: usize = 16;

/// Counters of one stripe, on a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Stripe {
    pub hits: AtomicU64,
    pub misses: AtomicU64,
}

/// What a store holds and did on this member; lives as long as the store, whatever its policies.
#[derive(Debug, Default)]
pub struct Counters {
    pub keys: AtomicU64,
    pub keys_with_ttl: AtomicU64,
    pub used_bytes: AtomicU64,
    pub evicted: AtomicU64,
    /// Of these, those that left because the member's memory ran out.
    pub evicted_for_member: AtomicU64,
    /// What they, and expired ones that were found on the way, took.
    pub evicted_bytes: AtomicU64,
    pub expired: AtomicU64,
    pub oom_errors: AtomicU64,
    /// What its watched keys cost.
    pub watched_bytes: AtomicU64,
    pub stripes: [Stripe; STRIPES],
    /// The slots where it has keys.
    pub occupancy: Occupancy,
    /// The bits of fingerprints that its filters should have; 0 for no filter.
    pub filter_bits: AtomicU8,
    /// Checks, negatives and false positives of filters that are gone.
    filtered: [AtomicU64; 3],
    /// Its own time.
    pub pace: Pace,
    /// Its sessions, if its policy is `session`.
    pub sessions: Sessions,
    /// What it knows for eviction.
    pub eviction: Eviction,
}

impl Counters {
    /// The stripe for a slot.
    #[inline]
    pub fn stripe(&self, slot: u16) -> &Stripe {
        &self.stripes[usize::from(slot) % STRIPES]
    }

    /// Keeps what the filters of a table did that goes.
    pub fn add_filtered(&self, filtered: Filtered) {
        let Filtered { checks, negatives, false_positives } = filtered;
        for (sum, more) in self.filtered.iter().zip([checks, negatives, false_positives]) {
            sum.fetch_add(more, Relaxed);
        }
    }

    /// Checks, negatives and false positives of filters that are gone.
    pub fn filtered(&self) -> (u64, u64, u64) {
        let [checks, negatives, wrong] = &self.filtered;
        (checks.load(Relaxed), negatives.load(Relaxed), wrong.load(Relaxed))
    }

    /// All hits and misses so far.
    pub fn hits_and_misses(&self) -> (u64, u64) {
        let sum = |of: fn(&Stripe) -> &AtomicU64| {
            self.stripes.iter().map(|stripe| of(stripe).load(Relaxed)).sum()
        };
        (sum(|stripe| &stripe.hits), sum(|stripe| &stripe.misses))
    }

    /// Counts what a table holds less since keys left it for room.
    pub fn left_for_room(&self, before: usize, after: usize) {
        self.evicted_bytes.fetch_add(before.saturating_sub(after) as u64, Relaxed);
    }

    /// Accounts for a change of memory.
    #[inline]
    pub fn charge(&self, before: usize, after: usize) {
        if after > before {
            self.used_bytes.fetch_add((after - before) as u64, Relaxed);
        } else if before > after {
            self.used_bytes.fetch_sub((before - after) as u64, Relaxed);
        }
    }
}

/// A store in force.
#[derive(Debug)]
pub struct Store {
    pub number: StoreNumber,
    pub max_bytes: Option<u64>,
    pub default_ttl_ms: Option<u64>,
    pub eviction: EvictionPolicy,
    pub filter: Option<FilterRate>,
    pub durability: Durability,
    /// Whether what happens to it goes to the log.
    pub is_logged: bool,
    /// Whether a write is answered only once it is on the disk.
    pub awaits_disk: bool,
    pub replication_factor: u8,
    pub acks: Acks,
    pub counters: Arc<Counters>,
}

impl Store {
    /// The bits of fingerprints that its policy asks for; 0 for no filter.
    pub fn filter_bits(&self) -> u8 {
        self.filter.map_or(0, |rate| fingerprint_bits(rate.ppm()))
    }

    /// Whether it holds more than its budget.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.max_bytes.is_some_and(|max| self.counters.used_bytes.load(Relaxed) > max)
    }
}

/// All stores at one time.
#[derive(Debug)]
pub struct Registry {
    /// Grows with every change of the policies.
    pub epoch: u64,
    pub policies: Arc<Vec<StorePolicy>>,
    /// In the order of `policies`.
    pub stores: Vec<Store>,
    /// Some store has a budget.
    pub bounded: bool,
    /// Some store's answers wait for other members.
    pub awaits_others: bool,
    /// Some store's answers wait for the disk.
    pub awaits_disk: bool,
    /// Number to index in `stores`.
    by_number: Vec<Option<u16>>,
    /// Prefix and index of its store, the longest prefix first.
    prefixes: Vec<(Box<[u8]>, u16)>,
}

impl Registry {
    /// The stores of `policies`, which keep the counters they have in `old`.
    pub fn new(policies: Vec<StorePolicy>, epoch: u64, old: Option<&Self>) -> Self {
        let highest = policies.iter().map(|policy| policy.number).max().unwrap_or(0);
        let mut by_number = vec![None; usize::from(highest) + 1];
        let mut prefixes = Vec::new();
        let mut stores = Vec::with_capacity(policies.len());
        for (policy, index) in policies.iter().zip(0u16..) {
            by_number[usize::from(policy.number)] = Some(index);
            for prefix in &policy.key_prefixes {
                prefixes.push((prefix.as_bytes().into(), index));
            }
            let counters = old
                .and_then(|old| old.get(policy.number))
                .map_or_else(Arc::default, |store| Arc::clone(&store.counters));
            stores.push(Store {
                number: policy.number,
                max_bytes: policy.max_memory_bytes,
                default_ttl_ms: policy.default_ttl_ms,
                eviction: policy.eviction_policy,
                filter: policy.filter,
                durability: policy.durability.clone(),
                is_logged: policy.durability.mode.is_logged(),
                awaits_disk: policy.durability.awaits_disk(),
                replication_factor: policy.replication_factor,
                acks: policy.acks,
                counters,
            });
        }
        prefixes.sort_by(|a: &(Box<[u8]>, u16), b| b.0.len().cmp(&a.0.len()).then(a.0.cmp(&b.0)));
        let bounded = stores.iter().any(|store| store.max_bytes.is_some());
        let awaits_others = stores.iter().any(|store| store.acks != Acks::One);
        let awaits_disk = stores.iter().any(|store| store.awaits_disk);
        let policies = Arc::new(policies);
        Self { epoch, policies, stores, bounded, awaits_others, awaits_disk, by_number, prefixes }
    }

    /// The store with a number.
    #[inline]
    pub fn get(&self, number: StoreNumber) -> Option<&Store> {
        let index = (*self.by_number.get(usize::from(number))?)?;
        self.stores.get(usize::from(index))
    }

    /// Whether a key may belong to another store than the one that was selected.
    pub fn has_prefixes(&self) -> bool {
        !self.prefixes.is_empty()
    }

    /// The store that a key belongs to, where a connection has selected `number`: in database 0
    /// the store with the longest prefix that the key starts with.
    #[inline]
    pub fn route(&self, number: StoreNumber, key: &[u8]) -> Option<&Store> {
        if number == 0 && !self.prefixes.is_empty() {
            let routed = self.prefixes.iter().find(|(prefix, _)| key.starts_with(prefix));
            if let Some((_, index)) = routed {
                return self.stores.get(usize::from(*index));
            }
        }
        self.get(number)
    }
}
