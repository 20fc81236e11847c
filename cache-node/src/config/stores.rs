//! The `stores` section: names to policies, numbers given where the file gives none.
//!
//! A store without `number` gets the lowest number from 1 that no other store of the file names,
//! in the order of the file. Such numbers move when a store is inserted before or taken away, so
//! whatever clients select by number should be given its number in the file.

use hypercache_core::store::{
    DEFAULT_STORE, FilterRate, MAX_REPLICATION_FACTOR, MAX_STORE_NUMBER, StoreNumber, StorePolicy,
    validate_all,
};

use super::error::Place;
use super::persistence;
use super::source::Source;
use super::tree::Value;
use super::values;

/// Reads all stores of the file; problems are reported to `source`.
pub fn read(source: &mut Source<'_>) -> Vec<StorePolicy> {
    let Some(section) = source.node("stores") else { return Vec::new() };
    let Value::Map(entries) = &section.value else { return Vec::new() };
    let mut stores: Vec<(StorePolicy, bool)> = Vec::new();
    for entry in entries {
        let path = format!("stores.{}", entry.key);
        if entry.key == DEFAULT_STORE {
            let message = "the default store's policies stand in the section 'cache'";
            source.problem(&path, entry.place.clone(), message);
            continue;
        }
        if entry.key.contains('.') {
            // Paths are looked up by their dots; a name with one is no store name anyway.
            source.problem(&path, entry.place.clone(), "a store's name has no dots");
            continue;
        }
        let (policy, numbered) = read_one(source, &entry.key, &path);
        let mut checked = policy.clone();
        checked.number = checked.number.max(1);
        if let Err(invalid) = checked.validate() {
            let (path, place) = match invalid.field.as_str() {
                "name" => (path.clone(), entry.place.clone()),
                field => {
                    let path = format!("{path}.{}", key_of(field));
                    (path.clone(), source.place(&path))
                }
            };
            source.problem(&path, place, invalid.message);
        }
        report_contradictions(source, &stores, &policy, numbered);
        stores.push((policy, numbered));
    }
    give_numbers(source, &mut stores);
    stores.into_iter().map(|(policy, _)| policy).collect()
}

/// The configuration's key for a field of [`StorePolicy`].
fn key_of(field: &str) -> &str {
    match field {
        "max_memory_bytes" => "max_memory",
        "default_ttl_ms" => "default_ttl",
        other => other,
    }
}

fn read_one(source: &mut Source<'_>, name: &str, path: &str) -> (StorePolicy, bool) {
    let at = |key: &str| format!("{path}.{key}");
    let number = source.optional(
        &at("number"),
        values::number::<StoreNumber>("a store's number", 1, MAX_STORE_NUMBER),
    );
    let mut policy = StorePolicy::new(name, number.unwrap_or(0));
    policy.max_memory_bytes = source.get(&at("max_memory"), None, values::budget);
    policy.default_ttl_ms = source.get(&at("default_ttl"), None, values::lifetime);
    policy.eviction_policy =
        source.get(&at("eviction_policy"), policy.eviction_policy, values::eviction_policy);
    policy.key_prefixes =
        source.list(&at("key_prefixes")).into_iter().map(|prefix| prefix.text).collect();
    policy.filter = filter(source, &at("cuckoo_filter"));
    policy.durability = persistence::read_store(source, &at("persistence"));
    copies(source, &mut policy, &at("replication_factor"), &at("acks"));
    (policy, number.is_some())
}

/// How many members hold a store's keys, and how many have a write before it is answered.
fn copies(source: &mut Source<'_>, policy: &mut StorePolicy, factor: &str, acks: &str) {
    let number = values::number("a replication factor", 1, MAX_REPLICATION_FACTOR);
    policy.replication_factor = source.get(factor, policy.replication_factor, number);
    policy.acks = source.get(acks, policy.acks, values::acks);
}

/// The keys of a filter that is written as a mapping.
const FILTER_KEYS: [&str; 2] = ["enabled", "false_positive_rate"];

/// A store's filter: `true`, `false`, a rate, or a mapping of both.
fn filter(source: &mut Source<'_>, path: &str) -> Option<FilterRate> {
    let Some(Value::Map(entries)) = source.file_value(path) else {
        return source.get(path, None, values::filter);
    };
    let (mut enabled, mut rate) = (true, FilterRate::default());
    for entry in entries {
        let path = format!("{path}.{}", entry.key);
        match entry.key.as_str() {
            "enabled" => enabled = source.get(&path, enabled, values::boolean),
            "false_positive_rate" => rate = source.get(&path, rate, values::filter_rate),
            _ => source.unknown(&path[..path.len() - entry.key.len() - 1], entry, &FILTER_KEYS),
        }
    }
    enabled.then_some(rate)
}

/// What two stores cannot both have.
fn report_contradictions(
    source: &mut Source<'_>,
    before: &[(StorePolicy, bool)],
    policy: &StorePolicy,
    numbered: bool,
) {
    for (other, other_numbered) in before {
        if numbered && *other_numbered && other.number == policy.number {
            let path = format!("stores.{}.number", policy.name);
            let place = source.place(&path);
            let message =
                format!("{} is the number of store '{}' already", policy.number, other.name);
            source.problem(&path, place, message);
        }
        if let Some(prefix) = policy.key_prefixes.iter().find(|p| other.key_prefixes.contains(p)) {
            let path = format!("stores.{}.key_prefixes", policy.name);
            let place = source.place(&path);
            source.problem(
                &path,
                place,
                format!("store '{}' takes prefix '{prefix}' already", other.name),
            );
        }
    }
    let twice = |p: &&String| policy.key_prefixes.iter().filter(|other| other == p).count() > 1;
    if let Some(prefix) = policy.key_prefixes.iter().find(twice) {
        let path = format!("stores.{}.key_prefixes", policy.name);
        let place = source.place(&path);
        source.problem(&path, place, format!("'{prefix}' stands here twice"));
    }
}

fn give_numbers(source: &mut Source<'_>, stores: &mut [(StorePolicy, bool)]) {
    let taken: Vec<_> = stores.iter().filter(|(_, given)| *given).map(|(p, _)| p.number).collect();
    let mut free = (1..=MAX_STORE_NUMBER).filter(|number| !taken.contains(number));
    for (policy, _) in stores.iter_mut().filter(|(_, given)| !*given) {
        match free.next() {
            Some(number) => policy.number = number,
            None => {
                let path = format!("stores.{}", policy.name);
                let place = source.place(&path);
                source.problem(
                    &path,
                    place,
                    format!("there are more than {MAX_STORE_NUMBER} stores"),
                );
                return;
            }
        }
    }
}

/// Reads the policies of the default store, which stand in `cache` and `persistence`.
pub fn read_default(source: &mut Source<'_>) -> StorePolicy {
    let mut policy = StorePolicy::new(DEFAULT_STORE, 0);
    policy.max_memory_bytes = source.get("cache.max_memory", None, values::budget);
    policy.default_ttl_ms = source.get("cache.default_ttl", None, values::lifetime);
    policy.eviction_policy =
        source.get("cache.eviction_policy", policy.eviction_policy, values::eviction_policy);
    policy.filter = filter(source, "cache.cuckoo_filter");
    copies(source, &mut policy, "cache.replication_factor", "cache.acks");
    policy.durability = persistence::read_default(source);
    policy
}

/// The last word on all policies together, by the same rules that the cluster's table is held to;
/// asked only when nothing with a better place was found.
pub fn check_together(source: &mut Source<'_>, policies: &[StorePolicy]) {
    if source.is_clean()
        && let Err(invalid) = validate_all(policies)
    {
        source.problem("stores", Place::Default, invalid.to_string());
    }
}
