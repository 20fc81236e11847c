//! What `/metrics` tells: own counters, read when they are asked for, in Prometheus's text format
//! 0.0.4 or OpenMetrics 1.0.
//!
//! A new metric is a row of [`table`] and its value in the room of what it is about. `docs_metrics` writes
//! docs/metrics.md from the table.

mod backup;
mod cluster;
mod disk;
#[cfg(test)]
mod docs_metrics;
mod exemplars;
mod memory;
pub(crate) mod out;
mod process;
mod replication;
mod requests;
mod stores;
pub mod table;

use std::fmt::Error;

use hypercache_core::keyspace::{FilterStats, StoreStats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

use out::Out;

pub use cluster::ClusterSnapshot;
pub use process::LoopSnapshot;
pub use replication::ReplicationSnapshot;
pub use requests::RequestSnapshot;

/// The content type of [`Format::Prometheus`].
pub const PROMETHEUS: &str = prometheus_client::encoding::prometheus_text::CONTENT_TYPE;
/// The content type of [`Format::OpenMetrics`].
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What an `Accept` header asks for; Prometheus's own format unless it names the other.
    pub fn of_accept(accept: Option<&str>) -> Self {
        match accept {
            Some(text) if text.contains("application/openmetrics-text") => Self::OpenMetrics,
            _ => Self::Prometheus,
        }
    }

    /// The content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => PROMETHEUS,
            Self::OpenMetrics => OPEN_METRICS,
        }
    }
}

/// All figures of one member at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// This member's name.
    pub member: String,
    /// When the process started, in milliseconds since the Unix epoch.
    pub started_at_ms: u64,
    /// Its I/O loops.
    pub loops: Vec<LoopSnapshot>,
    /// What became of the spans of requests.
    pub spans: hypercache_trace::Figures,
    /// What became of metrics that were sent.
    pub points: hypercache_trace::PointFigures,
    /// What clients asked for since then.
    pub requests: RequestSnapshot,
    /// What each store holds and did on this member.
    pub stores: Vec<StoreStats>,
    /// What the filter of each store that has one is and did on this member, by the store's name.
    pub filters: Vec<(String, FilterStats)>,
    /// What is on its disk.
    pub disk: crate::disk::Stats,
    /// Its backups.
    pub backups: crate::backup::Status,
    /// The member's memory.
    pub memory: crate::memory::Snapshot,
    /// The cluster, as this member sees it.
    pub cluster: ClusterSnapshot,
    /// Its links to the other owners of slots.
    pub replication: ReplicationSnapshot,
}

impl Snapshot {
    /// Writes the metrics of this snapshot, and those of `registry` behind them.
    ///
    /// # Errors
    /// None that writing into a string can bring up.
    pub fn write(self, mut registry: Registry, format: Format) -> Result<String, Error> {
        let exemplars = exemplars::told(&self.requests.requests);
        registry.register_collector(Box::new(self));
        let mut text = String::with_capacity(16 * 1024);
        match format {
            Format::Prometheus => {
                prometheus_client::encoding::prometheus_text::encode(&mut text, &registry)?;
            }
            Format::OpenMetrics => {
                prometheus_client::encoding::text::encode(&mut text, &registry)?;
                return Ok(exemplars::add(text, &exemplars));
            }
        }
        Ok(text)
    }
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder) -> Result<(), Error> {
        let mut out = Out(encoder);
        process::encode(&self.member, self.started_at_ms, &mut out)?;
        process::encode_loops(&self.loops, &mut out)?;
        process::encode_spans(self.spans, &mut out)?;
        process::encode_points(self.points, &mut out)?;
        requests::encode(&self.requests, &mut out)?;
        stores::encode(&self.stores, &mut out)?;
        stores::encode_filters(&self.filters, &mut out)?;
        memory::encode(&self.memory, &mut out)?;
        disk::encode(&self.disk, &mut out)?;
        backup::encode(&self.backups, &mut out)?;
        cluster::encode(&self.cluster, &mut out)?;
        replication::encode(&self.replication, &mut out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::SlotFigures;
    use crate::server::stats::StatsSnapshot;

    fn disk_stats() -> crate::disk::Stats {
        let mut stats = crate::disk::Stats { enabled: true, ..crate::disk::Stats::default() };
        stats.log.fsync_times.buckets = vec![(50, 1), (100, 2), (u64::MAX, 3)];
        stats.log.fsync_times.sum_us = 1_500_000;
        stats
    }

    fn snapshot() -> Snapshot {
        let store = StoreStats {
            number: 2,
            name: "page_cache".into(),
            keys: 7,
            used_memory_bytes: 700,
            max_memory_bytes: Some(1 << 20),
            hits: 3,
            evicted_keys: 5,
            evicted_for_member_keys: 2,
            ..StoreStats::default()
        };
        let default = StoreStats { name: "default".into(), ..StoreStats::default() };
        Snapshot {
            member: "demo-0".into(),
            started_at_ms: 1_500,
            loops: vec![
                LoopSnapshot::default(),
                LoopSnapshot { connections: 4, ..LoopSnapshot::default() },
            ],
            spans: hypercache_trace::Figures { failed: 6, ..Default::default() },
            points: hypercache_trace::PointFigures { refused: 2, ..Default::default() },
            requests: RequestSnapshot {
                server: StatsSnapshot {
                    connected_clients: 4,
                    net_input_bytes: 99,
                    calls_by_command: vec![("get", 5), ("set", 0)],
                    ..StatsSnapshot::default()
                },
                ..RequestSnapshot::default()
            },
            stores: vec![default, store],
            filters: vec![(
                "page_cache".into(),
                FilterStats {
                    bytes: 9,
                    checks: 8,
                    negatives: 7,
                    fingerprints: 3,
                    places: 4,
                    ..FilterStats::default()
                },
            )],
            backups: crate::backup::Status {
                url: Some("/backups".into()),
                failed: 2,
                ..crate::backup::Status::default()
            },
            disk: disk_stats(),
            memory: crate::memory::Snapshot { limit_bytes: 640, ..Default::default() },
            cluster: ClusterSnapshot {
                members_by_state: vec![("alive", 2), ("suspect", 0), ("down", 1)],
                quorum: true,
                slots: SlotFigures { primary: 5461, assigned: 16384, ..SlotFigures::default() },
                ..ClusterSnapshot::default()
            },
            replication: ReplicationSnapshot {
                links: vec![(
                    "demo-1".into(),
                    crate::replica::LinkFigures {
                        behind_bytes: 12,
                        behind_records: 2,
                        lag_ms: 250,
                        ..Default::default()
                    },
                )],
                slots_under_replicated: 3,
                ..ReplicationSnapshot::default()
            },
        }
    }

    #[test]
    fn every_figure_has_help_type_and_its_labels() {
        let text = snapshot().write(Registry::default(), Format::Prometheus).unwrap();
        for line in [
            "# TYPE hypercache_connected_clients gauge",
            "hypercache_connected_clients 4",
            "# TYPE hypercache_net_input_bytes_total counter",
            "hypercache_net_input_bytes_total 99",
            "hypercache_commands_total{command=\"get\"} 5",
            "hypercache_store_keys{store=\"page_cache\"} 7",
            "hypercache_store_keys{store=\"default\"} 0",
            "hypercache_store_memory_bytes{store=\"page_cache\"} 700",
            "hypercache_store_max_memory_bytes{store=\"page_cache\"} 1048576",
            "hypercache_store_hits_total{store=\"page_cache\"} 3",
            "hypercache_store_evictions_total{store=\"page_cache\",reason=\"budget\"} 3",
            "hypercache_store_evictions_total{store=\"page_cache\",reason=\"memory\"} 2",
            "hypercache_errors_total{kind=\"WRONGTYPE\",fault=\"client\"} 0",
            "hypercache_errors_total{kind=\"CLUSTERDOWN\",fault=\"server\"} 0",
            "hypercache_refused_logins_total{protocol=\"http\"} 0",
            "hypercache_store_filter_bytes{store=\"page_cache\"} 9",
            "hypercache_store_filter_checks_total{store=\"page_cache\"} 8",
            "hypercache_store_filter_load_ratio{store=\"page_cache\"} 0.75",
            "hypercache_store_filter_negatives_total{store=\"page_cache\"} 7",
            "hypercache_store_filter_false_positives_total{store=\"page_cache\"} 0",
            "hypercache_memory_limit_bytes 640",
            "hypercache_replication_slots_under_replicated 3",
            "hypercache_replication_link_behind_bytes{to=\"demo-1\"} 12",
            "hypercache_replication_link_behind_records{to=\"demo-1\"} 2",
            "hypercache_replication_link_lag_seconds{to=\"demo-1\"} 0.25",
            "# TYPE hypercache_replication_link_cycles_total counter",
            "# TYPE hypercache_log_fsyncs_total counter",
            "hypercache_disk_degraded 0",
            "hypercache_backup_errors_total 2",
            "hypercache_backup_last_time_seconds 0",
            "hypercache_log_last_fsync_duration_seconds 0.0",
            "# TYPE hypercache_log_fsync_duration_seconds histogram",
            "hypercache_log_fsync_duration_seconds_bucket{le=\"0.0001\"} 3",
            "hypercache_log_fsync_duration_seconds_bucket{le=\"+Inf\"} 6",
            "hypercache_log_fsync_duration_seconds_count 6",
            "hypercache_log_fsync_duration_seconds_sum 1.5",
            "hypercache_memory_stage 0",
            "hypercache_memory_purges_total 0",
            "hypercache_memory_moves_total 0",
            "hypercache_cluster_members{state=\"down\"} 1",
            "hypercache_cluster_quorum 1",
            "hypercache_cluster_leader 0",
            "hypercache_cluster_slots_owned 5461",
            "hypercache_process_start_time_seconds 1.5",
            "hypercache_loops 2",
            "hypercache_loop_busy_seconds_total{loop=\"0\"} 0",
            "hypercache_loop_connections{loop=\"1\"} 4",
            "hypercache_telemetry_spans_sent_total 0",
            "hypercache_telemetry_spans_dropped_total{reason=\"queue\"} 0",
            "hypercache_telemetry_spans_dropped_total{reason=\"endpoint\"} 6",
            "hypercache_telemetry_points_sent_total 0",
            "hypercache_telemetry_points_dropped_total{reason=\"refused\"} 2",
        ] {
            assert!(
                text.lines().any(|l| l == line || l == format!("{line}.0")),
                "{line} in\n{text}"
            );
        }
        assert!(!text.contains("command=\"set\""), "never called");
        assert!(!text.contains("max_memory_bytes{store=\"default\"}"), "no budget");
        for metric in text.lines().filter_map(|l| l.strip_prefix("# TYPE ")) {
            let name = metric.split(' ').next().unwrap();
            assert!(name.starts_with("hypercache_"), "{name}");
            assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        }
    }

    #[test]
    fn open_metrics_ends_with_its_mark_and_names_units() {
        let text = snapshot().write(Registry::default(), Format::OpenMetrics).unwrap();
        assert!(text.ends_with("# EOF\n"));
        assert!(text.contains("# UNIT hypercache_store_memory_bytes bytes"), "{text}");
        assert!(text.contains("hypercache_commands_total{command=\"get\"} 5"), "{text}");
    }

    #[test]
    fn the_format_is_what_the_scraper_accepts() {
        assert_eq!(Format::of_accept(None), Format::Prometheus);
        assert_eq!(Format::of_accept(Some("text/plain")), Format::Prometheus);
        let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
        assert_eq!(Format::of_accept(Some(prometheus)), Format::OpenMetrics);
    }
}
