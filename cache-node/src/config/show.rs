//! The effective configuration as YAML that can be read again.

use std::collections::BTreeMap;

use hypercache_core::store::{Durability, FilterSetting, Mode, StorePolicy};
use serde::Serialize;

use super::units::{format_duration, format_size};
use super::{Config, Error, Secret};

#[derive(Serialize)]
struct Shown<'a> {
    node: Node<'a>,
    network: Network<'a>,
    cluster: Cluster<'a>,
    cache: Cache<'a>,
    persistence: Persistence,
    #[serde(skip_serializing_if = "Option::is_none")]
    backup: Option<Backup<'a>>,
    script: Script,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<Auth<'a>>,
    log: Log<'a>,
    slowlog: SlowLog,
    telemetry: Telemetry<'a>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    stores: BTreeMap<&'a str, Store<'a>>,
}

#[derive(Serialize)]
struct Node<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_dir: Option<std::borrow::Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<&'a str>,
    weight: u32,
    threads: usize,
    memory_limit: String,
}

#[derive(Serialize)]
struct Network<'a> {
    bind: String,
    advertise: &'a str,
    resp_port: u16,
    cluster_port: String,
    http_port: u16,
    gossip_port: u16,
    max_connections: usize,
    idle_timeout: String,
    request_timeout: String,
}

#[derive(Serialize)]
struct Cluster<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    join: &'a [String],
    bootstrap_members: u32,
    move_rate: String,
    check_interval: String,
    max_protocol: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a Secret>,
}

#[derive(Serialize)]
struct Cache<'a> {
    max_memory: String,
    default_ttl: String,
    cleanup_interval: String,
    notify_keyspace_events: String,
    eviction_policy: &'a str,
    cuckoo_filter: FilterSetting,
    replication_factor: u8,
    acks: &'static str,
}

#[derive(Serialize)]
struct Persistence {
    mode: &'static str,
    #[serde(flatten)]
    log: Option<OfLog>,
    compression: bool,
    snapshot_interval: String,
}

/// What says something of a log only.
#[derive(Serialize)]
struct OfLog {
    fsync: &'static str,
    fsync_interval: String,
    batch_size: u32,
    rewrite_percentage: u32,
    rewrite_min_size: String,
}

#[derive(Serialize)]
struct Backup<'a> {
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipient: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    s3_endpoint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    s3_region: Option<&'a str>,
}

#[derive(Serialize)]
struct Script {
    time_limit: String,
    memory_limit: String,
}

#[derive(Serialize)]
struct Auth<'a> {
    password: &'a Secret,
}

#[derive(Serialize)]
struct Log<'a> {
    level: &'a str,
}

#[derive(Serialize)]
struct SlowLog {
    slower_than_us: i64,
    max_len: usize,
    request_larger_than_bytes: i64,
    reply_larger_than_bytes: i64,
    large_max_len: usize,
    latency_threshold: String,
}

#[derive(Serialize)]
struct Telemetry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    otlp_endpoint: Option<&'a str>,
    trace_sample_ratio: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    otlp_metrics_endpoint: Option<&'a str>,
    otlp_metrics_interval: String,
    service_name: &'a str,
    request_metrics: bool,
    exemplars: bool,
}

#[derive(Serialize)]
struct Store<'a> {
    number: u16,
    max_memory: String,
    default_ttl: String,
    eviction_policy: &'a str,
    cuckoo_filter: FilterSetting,
    persistence: Persistence,
    replication_factor: u8,
    acks: &'static str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    key_prefixes: &'a [String],
}

fn budget(policy: &StorePolicy) -> String {
    format_size(policy.max_memory_bytes.unwrap_or(0))
}

fn lifetime(policy: &StorePolicy) -> String {
    format_duration(policy.default_ttl_ms.unwrap_or(0))
}

/// In one word: off, or its rate.
fn filter(policy: &StorePolicy) -> FilterSetting {
    match policy.filter {
        None => FilterSetting::Switch(false),
        Some(rate) => FilterSetting::Rate(rate.rate()),
    }
}

/// Every key that means something in the mode.
fn persistence(durability: &Durability) -> Persistence {
    let log = OfLog {
        fsync: durability.fsync.as_str(),
        fsync_interval: format_duration(durability.fsync_interval_ms),
        batch_size: durability.batch_size,
        rewrite_percentage: durability.rewrite_percentage,
        rewrite_min_size: format_size(durability.rewrite_min_bytes),
    };
    Persistence {
        mode: durability.mode.as_str(),
        log: (durability.mode != Mode::Snapshot).then_some(log),
        compression: durability.compression,
        snapshot_interval: format_duration(durability.snapshot_interval_ms),
    }
}

/// Writes a configuration as YAML, every value with its unit and every secret hidden.
///
/// # Errors
/// When the YAML library refuses, which no configuration is known to make it do.
pub fn to_yaml(config: &Config) -> Result<String, Error> {
    let fallback = StorePolicy::new(hypercache_core::store::DEFAULT_STORE, 0);
    let default = config.stores.iter().find(|s| s.number == 0).unwrap_or(&fallback);
    let stores = config.stores.iter().filter(|s| s.number != 0).map(|s| {
        let store = Store {
            number: s.number,
            max_memory: budget(s),
            default_ttl: lifetime(s),
            eviction_policy: s.eviction_policy.as_str(),
            cuckoo_filter: filter(s),
            persistence: persistence(&s.durability),
            replication_factor: s.replication_factor,
            acks: s.acks.as_str(),
            key_prefixes: &s.key_prefixes,
        };
        (s.name.as_str(), store)
    });
    let shown = Shown {
        node: Node {
            id: &config.node.id,
            data_dir: config.node.data_dir.as_deref().map(|dir| dir.to_string_lossy()),
            zone: config.node.zone.as_deref(),
            weight: config.node.weight,
            threads: config.node.threads,
            memory_limit: format_size(config.node.memory_limit_bytes.unwrap_or(0)),
        },
        network: Network {
            bind: config.network.bind.to_string(),
            advertise: &config.network.advertise,
            resp_port: config.network.resp_port,
            cluster_port: config
                .network
                .cluster_port
                .map_or_else(|| "none".to_owned(), |port| port.to_string()),
            http_port: config.network.http_port,
            gossip_port: config.network.gossip_port,
            max_connections: config.network.max_connections,
            idle_timeout: format_duration(config.network.idle_timeout_ms),
            request_timeout: format_duration(config.network.request_timeout_ms),
        },
        cluster: Cluster {
            name: &config.cluster.name,
            join: &config.cluster.join,
            bootstrap_members: config.cluster.bootstrap_members,
            move_rate: format_size(config.cluster.move_bytes_per_second),
            check_interval: format_duration(config.cluster.check_interval_ms),
            max_protocol: config.cluster.max_protocol,
            secret: config.cluster.secret.as_ref(),
        },
        cache: Cache {
            max_memory: budget(default),
            default_ttl: lifetime(default),
            cleanup_interval: format_duration(config.cleanup_interval_ms),
            notify_keyspace_events: config.keyspace_events.letters(),
            eviction_policy: default.eviction_policy.as_str(),
            cuckoo_filter: filter(default),
            replication_factor: default.replication_factor,
            acks: default.acks.as_str(),
        },
        persistence: persistence(&default.durability),
        backup: config.backup.as_ref().map(|backup| Backup {
            url: &backup.destination.url,
            recipient: backup.recipient.as_ref().map(|key| key.as_str()),
            s3_endpoint: backup.destination.s3_endpoint.as_deref(),
            s3_region: backup.destination.s3_region.as_deref(),
        }),
        script: Script {
            time_limit: format_duration(config.script.time_limit_ms),
            memory_limit: format_size(config.script.memory_bytes as u64),
        },
        auth: config.auth.password.as_ref().map(|password| Auth { password }),
        log: Log { level: &config.log.level },
        slowlog: SlowLog {
            slower_than_us: config.slowlog.slower_than_us,
            max_len: config.slowlog.max_len,
            request_larger_than_bytes: config.slowlog.request_larger_than_bytes,
            reply_larger_than_bytes: config.slowlog.reply_larger_than_bytes,
            large_max_len: config.slowlog.large_max_len,
            latency_threshold: format_duration(config.slowlog.latency_threshold_ms),
        },
        telemetry: Telemetry {
            otlp_endpoint: config.telemetry.otlp_endpoint.as_deref(),
            trace_sample_ratio: config.telemetry.trace_sample_ratio.part(),
            otlp_metrics_endpoint: config.telemetry.otlp_metrics_endpoint.as_deref(),
            otlp_metrics_interval: format_duration(config.telemetry.otlp_metrics_interval_ms),
            service_name: &config.telemetry.service_name,
            request_metrics: config.telemetry.request_metrics,
            exemplars: config.telemetry.exemplars,
        },
        stores: stores.collect(),
    };
    serde_saphyr::to_string(&shown).map_err(|error| Error::Unwritable(error.to_string()))
}
