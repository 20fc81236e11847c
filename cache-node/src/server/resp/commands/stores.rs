//! STORES: the stores that there are.

use hypercache_core::resp::Writer;

use super::Context;

/// One map a store, in the order of their numbers: its policies, and what this member holds of it.
pub(super) fn list(context: &Context<'_>, out: &mut Writer<'_>) {
    let keyspace = context.shared.keyspace();
    let policies = keyspace.policies();
    let stats = keyspace.stats();
    let number = |out: &mut Writer<'_>, n: Option<u64>| match n {
        Some(n) => out.integer(i64::try_from(n).unwrap_or(i64::MAX)),
        None => out.null(),
    };
    out.array(policies.len());
    for policy in policies.iter() {
        let of_store = stats.iter().find(|s| s.number == policy.number);
        out.map(14);
        out.bulk(b"name");
        out.bulk(policy.name.as_bytes());
        out.bulk(b"number");
        out.integer(i64::from(policy.number));
        out.bulk(b"eviction_policy");
        out.bulk(policy.eviction_policy.as_str().as_bytes());
        out.bulk(b"max_memory_bytes");
        number(out, policy.max_memory_bytes);
        out.bulk(b"default_ttl_ms");
        number(out, policy.default_ttl_ms);
        out.bulk(b"key_prefixes");
        out.array(policy.key_prefixes.len());
        for prefix in &policy.key_prefixes {
            out.bulk(prefix.as_bytes());
        }
        out.bulk(b"cuckoo_filter");
        out.bulk(if policy.filter.is_some() { b"on" } else { b"off" });
        out.bulk(b"false_positive_rate");
        match policy.filter {
            Some(rate) => out.double(rate.rate()),
            None => out.null(),
        }
        out.bulk(b"persistence");
        out.bulk(policy.durability.mode.as_str().as_bytes());
        out.bulk(b"fsync");
        match policy.durability.mode.is_logged() {
            true => out.bulk(policy.durability.fsync.as_str().as_bytes()),
            false => out.null(),
        }
        out.bulk(b"replication_factor");
        out.integer(i64::from(context.view.state.asked_for(policy).replication_factor));
        out.bulk(b"acks");
        out.bulk(policy.acks.as_str().as_bytes());
        out.bulk(b"keys");
        number(out, of_store.map(|s| s.keys));
        out.bulk(b"used_memory_bytes");
        number(out, of_store.map(|s| s.used_memory_bytes));
    }
}
