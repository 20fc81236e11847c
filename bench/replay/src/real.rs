//! The cache itself: a keyspace with a budget, used as an application uses a cache.

use crate::trace::Trace;
use hypercache_core::cluster::SLOTS;
use hypercache_core::keyspace::{Keyspace, Lifetime, Options, Value};
use hypercache_core::store::{DEFAULT_STORE, EvictionPolicy, StorePolicy};

/// What a run found.
pub struct Found {
    /// Accesses that hit.
    pub hits: u64,
    /// How many keys the store held on average once it was full.
    pub resident: usize,
    /// The most that it was over its budget, in bytes.
    pub over_bytes: u64,
}

/// A keyspace that serves every slot, with this one store.
pub fn keyspace(policy: StorePolicy, seed: u64) -> Keyspace {
    let space = Keyspace::new(Options { hash_seed: seed, eviction_seed: seed ^ 0x5eed });
    (0..SLOTS).for_each(|slot| space.set_serving(slot, true));
    space.set_stores(&[policy]);
    space
}

/// A budget with room for about so many keys with values of so many bytes.
pub fn budget(keys: usize, value_bytes: usize) -> u64 {
    // Every slot with a key has a table, an index of one line at least, and a page.
    let tables = keys.min(usize::from(SLOTS)) * 272;
    (keys * (value_bytes + 100) + tables) as u64
}

/// Reads every key; one that is not there is written. `per_ms` accesses go by in a millisecond.
pub fn run(
    trace: &Trace,
    eviction: EvictionPolicy,
    budget_bytes: u64,
    value_bytes: usize,
    seed: u64,
) -> anyhow::Result<Found> {
    const PER_MS: u64 = 50;
    let mut policy = StorePolicy::new(DEFAULT_STORE, 0);
    policy.max_memory_bytes = Some(budget_bytes);
    policy.eviction_policy = eviction;
    let space = keyspace(policy, seed);
    let value = vec![b'v'; value_bytes];
    let (mut hits, mut full, mut resident, mut over_bytes) = (0, 0u64, 0u64, 0);
    for (&number, at) in trace.accesses.iter().zip(0u64..) {
        let now_ms = 1_700_000_000_000 + at / PER_MS;
        let key = &trace.keys[number as usize];
        if space.with_key(0, key, now_ms, false, |key| key.read().is_some())? {
            hits += 1;
            continue;
        }
        space.with_key(0, key, now_ms, true, |key| {
            key.set(Value::plain(&value), Lifetime::Default);
        })?;
        if at % 16 == 0 {
            let stats = &space.stats()[0];
            if stats.evicted_keys > 0 {
                full += 1;
                resident += stats.keys;
            }
            over_bytes = over_bytes.max(stats.used_memory_bytes.saturating_sub(budget_bytes));
        }
    }
    let resident = resident.checked_div(full).unwrap_or_else(|| space.keys(0));
    Ok(Found { hits, resident: resident as usize, over_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_always_found_again() {
        let trace = Trace::generate("zipf:0.9", 1000, 20_000, 1).unwrap();
        let found = run(&trace, EvictionPolicy::Lru, budget(5000, 64), 64, 1).unwrap();
        assert_eq!(found.hits as usize, trace.accesses.len() - trace.keys.len());
        assert_eq!(found.resident, trace.keys.len());
    }

    #[test]
    fn the_default_hits_more_than_lru_does_where_counts_say_more_than_recency() {
        for word in ["zipf:0.9", "mix:0.9", "loop"] {
            let trace = Trace::generate(word, 5000, 100_000, 1).unwrap();
            let hits = |policy| run(&trace, policy, budget(2000, 128), 128, 1).unwrap().hits;
            let (default, lru) = (hits(EvictionPolicy::WTinyLfu), hits(EvictionPolicy::Lru));
            assert!(default > lru + 1000, "{word}: {default} and {lru}");
        }
    }

    #[test]
    fn l9_every_policy_stays_within_its_budget_and_hits() {
        let trace = Trace::generate("zipf:0.9", 20_000, 200_000, 1).unwrap();
        for (word, policy) in EvictionPolicy::ALL {
            if policy == EvictionPolicy::NoEviction {
                continue;
            }
            let found = run(&trace, policy, budget(2000, 512), 512, 1).unwrap();
            assert!(found.hits > 60_000, "{word}: {} hits", found.hits);
            // The write that makes a table grow may go over by what the table grows.
            assert!(found.over_bytes < 16_384, "{word}: {} over", found.over_bytes);
        }
    }
}
