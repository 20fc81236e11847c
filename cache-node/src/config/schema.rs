//! Every key that a configuration can hold, as data.
//!
//! A new key is a row here, a line in `config.example.yaml` (a test compares the two) and a read
//! in `read.rs` or `stores.rs` (a test compares these as well).

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The path; `*` stands for any store's name.
    pub path: &'static str,
    /// The environment variable that overrides the file.
    pub variable: Option<&'static str>,
    /// The flag that overrides both.
    pub flag: Option<&'static str>,
    /// The value is never shown.
    pub secret: bool,
    /// The feature comes with a later version: some or all values are refused until then.
    pub later: bool,
}

const fn key(
    path: &'static str,
    variable: Option<&'static str>,
    flag: Option<&'static str>,
) -> Key {
    Key { path, variable, flag, secret: false, later: false }
}

const fn secret(path: &'static str, variable: &'static str) -> Key {
    Key { path, variable: Some(variable), flag: None, secret: true, later: false }
}

/// All keys, section by section.
pub const KEYS: &[Key] = &[
    key("node.id", Some("HYPERCACHE_NODE_ID"), Some("--node-id")),
    key("node.data_dir", Some("HYPERCACHE_DATA_DIR"), Some("--data-dir")),
    key("node.zone", Some("HYPERCACHE_ZONE"), None),
    key("node.weight", Some("HYPERCACHE_WEIGHT"), None),
    key("node.threads", Some("HYPERCACHE_THREADS"), Some("--threads")),
    key("node.memory_limit", Some("HYPERCACHE_MEMORY_LIMIT"), None),
    key("network.bind", Some("HYPERCACHE_BIND"), Some("--bind")),
    key("network.advertise", Some("HYPERCACHE_ADVERTISE"), Some("--advertise")),
    key("network.resp_port", Some("HYPERCACHE_RESP_PORT"), Some("--resp-port")),
    key("network.cluster_port", Some("HYPERCACHE_CLUSTER_PORT"), Some("--cluster-port")),
    key("network.http_port", Some("HYPERCACHE_HTTP_PORT"), Some("--http-port")),
    key("network.gossip_port", Some("HYPERCACHE_GOSSIP_PORT"), Some("--gossip-port")),
    key("network.max_connections", Some("HYPERCACHE_MAX_CONNECTIONS"), None),
    key("network.idle_timeout", Some("HYPERCACHE_IDLE_TIMEOUT"), None),
    key("network.request_timeout", Some("HYPERCACHE_REQUEST_TIMEOUT"), None),
    key("cluster.name", Some("HYPERCACHE_CLUSTER_NAME"), None),
    key("cluster.join", Some("HYPERCACHE_JOIN"), Some("--join")),
    key(
        "cluster.bootstrap_members",
        Some("HYPERCACHE_BOOTSTRAP_MEMBERS"),
        Some("--bootstrap-members"),
    ),
    key("cluster.move_rate", Some("HYPERCACHE_MOVE_RATE"), None),
    key("cluster.check_interval", Some("HYPERCACHE_CHECK_INTERVAL"), None),
    key("cluster.max_protocol", Some("HYPERCACHE_MAX_PROTOCOL"), None),
    secret("cluster.secret", "HYPERCACHE_CLUSTER_SECRET"),
    key("cache.max_memory", Some("HYPERCACHE_MAX_MEMORY"), None),
    key("cache.default_ttl", Some("HYPERCACHE_DEFAULT_TTL"), None),
    key("cache.cleanup_interval", Some("HYPERCACHE_CLEANUP_INTERVAL"), None),
    key("cache.notify_keyspace_events", None, None),
    key("cache.eviction_policy", Some("HYPERCACHE_EVICTION_POLICY"), None),
    key("cache.cuckoo_filter", Some("HYPERCACHE_CUCKOO_FILTER"), None),
    key("cache.replication_factor", Some("HYPERCACHE_REPLICATION_FACTOR"), None),
    key("cache.acks", Some("HYPERCACHE_ACKS"), None),
    key("persistence.mode", Some("HYPERCACHE_PERSISTENCE_MODE"), None),
    key("persistence.enabled", None, None),
    key("persistence.aof_enabled", None, None),
    key("persistence.snapshot_enabled", None, None),
    key("persistence.fsync", Some("HYPERCACHE_FSYNC"), None),
    key("persistence.fsync_interval", None, None),
    key("persistence.batch_size", None, None),
    key("persistence.compression", None, None),
    key("persistence.snapshot_interval", None, None),
    key("persistence.rewrite_percentage", None, None),
    key("persistence.rewrite_min_size", None, None),
    key("backup.url", Some("HYPERCACHE_BACKUP_URL"), None),
    key("backup.recipient", Some("HYPERCACHE_BACKUP_RECIPIENT"), None),
    key("backup.s3_endpoint", Some("HYPERCACHE_BACKUP_S3_ENDPOINT"), None),
    key("backup.s3_region", Some("HYPERCACHE_BACKUP_S3_REGION"), None),
    key("script.time_limit", Some("HYPERCACHE_SCRIPT_TIME_LIMIT"), None),
    key("script.memory_limit", Some("HYPERCACHE_SCRIPT_MEMORY_LIMIT"), None),
    secret("auth.password", "HYPERCACHE_PASSWORD"),
    key("log.level", Some("HYPERCACHE_LOG"), None),
    key("slowlog.slower_than_us", None, None),
    key("slowlog.max_len", None, None),
    key("slowlog.request_larger_than_bytes", None, None),
    key("slowlog.reply_larger_than_bytes", None, None),
    key("slowlog.large_max_len", None, None),
    key("slowlog.latency_threshold", None, None),
    key("telemetry.otlp_endpoint", Some("HYPERCACHE_OTLP_ENDPOINT"), None),
    key("telemetry.trace_sample_ratio", Some("HYPERCACHE_TRACE_SAMPLE_RATIO"), None),
    key("telemetry.otlp_metrics_endpoint", Some("HYPERCACHE_OTLP_METRICS_ENDPOINT"), None),
    key("telemetry.otlp_metrics_interval", Some("HYPERCACHE_OTLP_METRICS_INTERVAL"), None),
    key("telemetry.service_name", Some("HYPERCACHE_SERVICE_NAME"), None),
    key("telemetry.request_metrics", Some("HYPERCACHE_REQUEST_METRICS"), None),
    key("telemetry.exemplars", Some("HYPERCACHE_EXEMPLARS"), None),
    key("stores.*.number", None, None),
    key("stores.*.max_memory", None, None),
    key("stores.*.default_ttl", None, None),
    key("stores.*.eviction_policy", None, None),
    key("stores.*.key_prefixes", None, None),
    key("stores.*.cuckoo_filter", None, None),
    key("stores.*.persistence", None, None),
    key("stores.*.replication_factor", None, None),
    key("stores.*.acks", None, None),
];

/// The variable that names the file when no flag does.
pub const FILE_VARIABLE: &str = "HYPERCACHE_CONFIG";

/// The first parts of all paths, each once.
pub fn sections() -> impl Iterator<Item = &'static str> {
    let mut last = "";
    KEYS.iter().filter_map(move |key| {
        let section = key.path.split('.').next().unwrap_or_default();
        (section != std::mem::replace(&mut last, section)).then_some(section)
    })
}

/// The last parts of the paths that begin with `prefix` and a dot.
pub fn keys_of(prefix: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(move |key| key.path.strip_prefix(prefix)?.strip_prefix('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_variable_or_flag_is_listed_twice() {
        for (i, a) in KEYS.iter().enumerate() {
            for b in &KEYS[..i] {
                assert_ne!(a.path, b.path);
                assert!(a.variable.is_none() || a.variable != b.variable, "{}", a.path);
                assert!(a.flag.is_none() || a.flag != b.flag, "{}", a.path);
            }
        }
    }

    #[test]
    fn a_sections_keys_stand_together() {
        let found: Vec<_> = sections().collect();
        let mut unique = found.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(found.len(), unique.len(), "{found:?}");
    }
}
