//! What the schema cannot say: values that do not go together.

use hypercache_crds::{
    Acks, HyperCacheCluster, MAX_REPLICATION_FACTOR, PersistenceSpec, Problem, StoreSpec, duration,
    quantity,
};

/// The longest lifetime or timeout that members take: 100 years.
const MAX_DURATION_MS: u64 = 100 * 365 * 24 * 60 * 60 * 1000;

/// Everything in the resource that cannot be, with the field and what would be right.
pub fn check(cluster: &HyperCacheCluster) -> Vec<Problem> {
    let spec = &cluster.spec;
    let mut problems = Vec::new();
    let mut invalid = |kind: &str, field: String, message: String| {
        problems.push(Problem { kind: kind.to_owned(), object: field, message });
    };
    for (i, store) in spec.stores.iter().enumerate() {
        if let Some(text) = &store.max_memory
            && let Err(error) = quantity::bytes(text)
        {
            invalid("InvalidSpec", format!("spec.stores[{i}].maxMemory"), error.to_string());
        }
        if let Some(text) = &store.default_ttl
            && let Err(message) = lifetime(text)
        {
            invalid("InvalidSpec", format!("spec.stores[{i}].defaultTtl"), message);
        }
        for (field, message) in copies(cluster, Some(store)) {
            invalid("InvalidSpec", format!("spec.stores[{i}].{field}"), message);
        }
        for (field, message) in store.persistence.iter().flat_map(persistence) {
            invalid("InvalidSpec", format!("spec.stores[{i}].persistence.{field}"), message);
        }
    }
    for (field, message) in copies(cluster, None) {
        invalid("InvalidSpec", format!("spec.{field}"), message);
    }
    for (field, text) in [
        ("spec.config.idleTimeout", &spec.config.idle_timeout),
        ("spec.config.requestTimeout", &spec.config.request_timeout),
    ] {
        if let Some(text) = text
            && let Err(message) = lifetime(text)
        {
            invalid("InvalidSpec", field.to_owned(), message);
        }
    }
    if let Err(error) = quantity::bytes(&spec.storage.size) {
        invalid("InvalidSpec", "spec.storage.size".to_owned(), error.to_string());
    }
    if let Some(message) = over_budget(cluster) {
        invalid("MemoryBudgetExceeded", "spec.stores[].maxMemory".to_owned(), message);
    }
    problems
}

fn lifetime(text: &str) -> Result<u64, String> {
    match duration::millis(text) {
        Ok(ms) if ms > MAX_DURATION_MS => Err(format!("'{text}' is longer than 100 years")),
        Ok(ms) => Ok(ms),
        Err(error) => Err(error.to_string()),
    }
}

/// What of a store's copies cannot be; `None`: of the cluster's own words.
fn copies(cluster: &HyperCacheCluster, store: Option<&StoreSpec>) -> Vec<(&'static str, String)> {
    let members = cluster.spec.members;
    let (factor, acks) = cluster.spec.copies(store);
    let mut wrong = Vec::new();
    if !(1..=MAX_REPLICATION_FACTOR).contains(&factor) {
        let message = format!("{factor} is not one of 1 to {MAX_REPLICATION_FACTOR}");
        wrong.push(("replicationFactor", message));
    } else if factor > members {
        let message =
            format!("{factor} copies of a key need as many members, and spec.members is {members}");
        wrong.push(("replicationFactor", message));
    }
    if factor < 2 && acks != Acks::One {
        let message = format!(
            "{} waits for other members, and with a replicationFactor of 1 there are none",
            acks.as_str()
        );
        wrong.push(("acks", message));
    }
    wrong
}

/// The fields of a store's persistence that members do not take, and why.
fn persistence(spec: &PersistenceSpec) -> Vec<(&'static str, String)> {
    let between = |text: &Option<String>, least: u64, most: u64, range: &str| {
        let text = text.as_deref()?;
        match duration::millis(text) {
            Ok(ms) if (least..=most).contains(&ms) => None,
            Ok(_) => Some(format!("'{text}' is not from {range}")),
            Err(error) => Some(error.to_string()),
        }
    };
    let size = spec.rewrite_min_size.as_deref().and_then(|text| match quantity::bytes(text) {
        Ok(bytes) if bytes >= 1 << 20 => None,
        Ok(_) => Some(format!("'{text}' is less than 1Mi")),
        Err(error) => Some(error.to_string()),
    });
    let fsync = between(&spec.fsync_interval, 10, 3_600_000, "10ms to 1h");
    let snapshot = between(&spec.snapshot_interval, 1_000, 7 * 86_400_000, "1s to 7d");
    [("fsyncInterval", fsync), ("snapshotInterval", snapshot), ("rewriteMinSize", size)]
        .into_iter()
        .filter_map(|(field, message)| Some((field, message?)))
        .collect()
}

/// The bounds of the stores together against the memory that a member may have.
fn over_budget(cluster: &HyperCacheCluster) -> Option<String> {
    let limits = cluster.spec.resources.as_ref()?.limits.as_ref()?;
    let limit_text = &limits.get("memory")?.0;
    let limit = match quantity::bytes(limit_text) {
        Ok(limit) => limit,
        Err(error) => return Some(format!("spec.resources.limits.memory: {error}")),
    };
    let bounded: Vec<(&StoreSpec, u64)> = cluster
        .spec
        .stores
        .iter()
        .filter_map(|store| {
            let bytes = quantity::bytes(store.max_memory.as_deref()?).ok()?;
            Some((store, bytes))
        })
        .collect();
    let sum = bounded.iter().fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
    (sum > limit).then(|| {
        let parts: Vec<String> = bounded
            .iter()
            .map(|(store, _)| {
                format!("{} {}", store.name, store.max_memory.as_deref().unwrap_or_default())
            })
            .collect();
        format!(
            "the stores may use {sum} bytes of each member ({}), but spec.resources.limits.memory \
             is {limit_text} ({limit} bytes): lower bounds or raise the limit",
            parts.join(", ")
        )
    })
}
