//! The state that the cluster is told to have.

use hypercache_crds::{
    DEFAULT_STORE, EvictionPolicy, HyperCacheCluster, HyperCacheClusterSpec, StoreSpec, duration,
    quantity,
};

use crate::admin::{DesiredState, DesiredStore, FilterSetting, Persistence, Report, StoreReport};
use crate::names::Names;

/// The members and stores of a resource. The store `default` is always among them, so that its
/// policies go back to what they were when the resource stops listing it.
pub fn desired_state(cluster: &HyperCacheCluster, names: &Names) -> DesiredState {
    let spec = &cluster.spec;
    let mut stores: Vec<DesiredStore> = spec.stores.iter().map(|one| store(spec, one)).collect();
    if !stores.iter().any(|store| store.number == 0) {
        let (replication_factor, acks) = copies(spec, None);
        stores.push(DesiredStore {
            name: DEFAULT_STORE.to_owned(),
            number: 0,
            max_memory_bytes: None,
            default_ttl_ms: None,
            eviction_policy: EvictionPolicy::default().as_str().to_owned(),
            key_prefixes: Vec::new(),
            replication_factor,
            acks,
            cuckoo_filter: FilterSetting::default(),
            persistence: Persistence::default(),
        });
    }
    stores.sort_by_key(|store| store.number);
    DesiredState {
        generation: cluster.metadata.generation.unwrap_or_default(),
        members: names.members(cluster.spec.members),
        stores,
    }
}

/// What cannot be read was refused by the check before; it is left out here.
fn store(cluster: &HyperCacheClusterSpec, spec: &StoreSpec) -> DesiredStore {
    let (replication_factor, acks) = copies(cluster, Some(spec));
    DesiredStore {
        name: spec.name.clone(),
        number: u16::try_from(spec.number).unwrap_or_default(),
        max_memory_bytes: spec.max_memory.as_deref().and_then(|text| quantity::bytes(text).ok()),
        default_ttl_ms: spec.default_ttl.as_deref().and_then(|text| duration::millis(text).ok()),
        eviction_policy: spec.eviction_policy.as_str().to_owned(),
        key_prefixes: spec.key_prefixes.clone(),
        replication_factor,
        acks,
        cuckoo_filter: spec.cuckoo_filter.into(),
        persistence: spec.persistence.as_ref().into(),
    }
}

fn copies(cluster: &HyperCacheClusterSpec, store: Option<&StoreSpec>) -> (u8, String) {
    let (factor, acks) = cluster.copies(store);
    (u8::try_from(factor).unwrap_or(1), acks.as_str().to_owned())
}

/// Whether the cluster is to be told: it has not taken this generation, or does not have what it
/// says. Members that are listed but unknown are no difference: they come by themselves.
pub fn differs(desired: &DesiredState, report: &Report) -> bool {
    if !report.formed() {
        return false;
    }
    report.desired_generation != Some(desired.generation)
        || desired.stores.iter().any(|store| !applied(store, &report.stores))
        || report.stores.iter().any(|store| store.managed && !listed(desired, store))
        || report.members.iter().any(|member| !desired.members.contains(&member.name))
}

/// Whether the cluster runs a store as it should be.
pub fn applied(store: &DesiredStore, reported: &[StoreReport]) -> bool {
    reported.iter().any(|report| {
        report.name == store.name
            && report.number == store.number
            && report.max_memory_bytes == store.max_memory_bytes
            && report.default_ttl_ms == store.default_ttl_ms
            && report.eviction_policy == store.eviction_policy
            && report.replication_factor == store.replication_factor
            && report.acks == store.acks
            && report.cuckoo_filter == store.cuckoo_filter
            && report.persistence.is_same(&store.persistence)
            && same_set(&report.key_prefixes, &store.key_prefixes)
    })
}

/// Whether the resource has a store that the cluster reports.
pub fn listed(desired: &DesiredState, store: &StoreReport) -> bool {
    desired.stores.iter().any(|wanted| wanted.name == store.name)
}

/// The resource's field for one that the cluster names: stores are sent in another order, with
/// units in their names.
pub fn spec_field(cluster: &HyperCacheCluster, desired: &DesiredState, field: &str) -> String {
    let own = || {
        let (index, rest) = field.strip_prefix("stores[")?.split_once(']')?;
        let name = &desired.stores.get(index.parse::<usize>().ok()?)?.name;
        let index = cluster.spec.stores.iter().position(|store| store.name == *name)?;
        let rest = match rest {
            ".max_memory_bytes" => ".maxMemory",
            ".default_ttl_ms" => ".defaultTtl",
            ".eviction_policy" => ".evictionPolicy",
            ".key_prefixes" => ".keyPrefixes",
            ".replication_factor" => ".replicationFactor",
            ".cuckoo_filter" => ".cuckooFilter",
            ".persistence.fsync_interval_ms" => ".persistence.fsyncInterval",
            ".persistence.batch_size" => ".persistence.batchSize",
            ".persistence.snapshot_interval_ms" => ".persistence.snapshotInterval",
            ".persistence.rewrite_percentage" => ".persistence.rewritePercentage",
            ".persistence.rewrite_min_bytes" => ".persistence.rewriteMinSize",
            other => other,
        };
        Some(format!("spec.stores[{index}]{rest}"))
    };
    own().unwrap_or_else(|| format!("spec.{field}"))
}

fn same_set(a: &[String], b: &[String]) -> bool {
    a.len() == b.len() && a.iter().all(|item| b.contains(item))
}
