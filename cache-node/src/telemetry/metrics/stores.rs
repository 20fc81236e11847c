//! What stores hold and did on this member, and their filters.

use std::fmt::Error;

use hypercache_core::keyspace::{FilterStats, StoreStats};
use hypercache_core::metric::Metric;

use super::out::Out;
use super::table;

/// Tells of each store.
pub(super) fn encode(stores: &[StoreStats], out: &mut Out<'_>) -> Result<(), Error> {
    type Read = fn(&StoreStats) -> Option<u64>;
    let by_store: [(&Metric, Read); 9] = [
        (&table::STORE_KEYS, |s| Some(s.keys)),
        (&table::STORE_KEYS_WITH_TTL, |s| Some(s.keys_with_ttl)),
        (&table::STORE_MEMORY, |s| Some(s.used_memory_bytes)),
        (&table::STORE_MAX_MEMORY, |s| s.max_memory_bytes),
        (&table::STORE_HITS, |s| Some(s.hits)),
        (&table::STORE_MISSES, |s| Some(s.misses)),
        (&table::STORE_EVICTED_KEYS, |s| Some(s.evicted_keys)),
        (&table::STORE_EXPIRED_KEYS, |s| Some(s.expired_keys)),
        (&table::STORE_OOM_ERRORS, |s| Some(s.oom_errors)),
    ];
    for (metric, read) in by_store {
        let values = stores.iter().filter_map(|s| Some(([s.name.as_str()], read(s)? as f64)));
        out.each(metric, values)?;
    }
    let by_reason = stores.iter().flat_map(|s| {
        let for_memory = s.evicted_for_member_keys;
        [("budget", s.evicted_keys.saturating_sub(for_memory)), ("memory", for_memory)]
            .map(|(reason, keys)| ([s.name.as_str(), reason], keys as f64))
    });
    out.each(&table::STORE_EVICTIONS, by_reason)
}

/// Tells of the filters, by the names of their stores.
pub(super) fn encode_filters(
    filters: &[(String, FilterStats)],
    out: &mut Out<'_>,
) -> Result<(), Error> {
    type Read = fn(&FilterStats) -> u64;
    let by_filter: [(&Metric, Read); 6] = [
        (&table::STORE_FILTER, |f| f.bytes),
        (&table::STORE_FILTER_KEYS, |f| f.keys),
        (&table::STORE_FILTER_UNKNOWN_KEYS, |f| f.keys_unfiltered),
        (&table::STORE_FILTER_CHECKS, |f| f.checks),
        (&table::STORE_FILTER_NEGATIVES, |f| f.negatives),
        (&table::STORE_FILTER_FALSE_POSITIVES, |f| f.false_positives),
    ];
    for (metric, read) in by_filter {
        out.each(metric, filters.iter().map(|(store, f)| ([store.as_str()], read(f) as f64)))?;
    }
    let loads = filters.iter().filter_map(|(store, f)| Some(([store.as_str()], f.load_ratio()?)));
    out.each(&table::STORE_FILTER_LOAD, loads)
}
