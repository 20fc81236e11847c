//! What `/metrics` tells: own counters, read when they are asked for, in Prometheus's text format
//! 0.0.4 or OpenMetrics 1.0.
//!
//! A new metric is one line in [`Snapshot::encode`]'s parts. Names begin with `hypercache_` and end
//! with their unit (`_bytes`, `_seconds`) and, for counters, `_total`. Labels are bounded: commands
//! of the table, stores of the cluster, fixed words; never a key, a client or an address.

mod backup;
mod disk;
mod replication;

use std::fmt::Error;

use hypercache_core::keyspace::{FilterStats, StoreStats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

pub use replication::ReplicationSnapshot;

use super::process;
use crate::memory;
use crate::server::stats::StatsSnapshot;

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
    /// What the RESP server did since then.
    pub server: StatsSnapshot,
    /// What each store holds and did on this member.
    pub stores: Vec<StoreStats>,
    /// What the filter of each store that has one is and did on this member, by the store's name.
    pub filters: Vec<(String, FilterStats)>,
    /// What is on its disk.
    pub disk: crate::disk::Stats,
    /// Its backups.
    pub backups: crate::backup::Status,
    /// The member's memory.
    pub memory: memory::Snapshot,
    /// The cluster, as this member sees it.
    pub cluster: ClusterSnapshot,
    /// Its links to the other owners of slots.
    pub replication: ReplicationSnapshot,
}

/// The cluster, as one member sees it.
#[derive(Debug, Clone, Default)]
pub struct ClusterSnapshot {
    /// Members of the table by state: `alive`, `suspect`, `down`.
    pub members_by_state: Vec<(&'static str, u64)>,
    /// Whether a majority of voters stands behind this member.
    pub quorum: bool,
    /// Whether this member is Raft's leader.
    pub is_leader: bool,
    /// The table's epoch.
    pub epoch: u64,
    /// Slots that this member owns.
    pub slots_owned: u64,
    /// Slots that any member owns, of 16384.
    pub slots_assigned: u64,
}

impl Snapshot {
    /// Writes the metrics of this snapshot, and those of `registry` behind them.
    ///
    /// # Errors
    /// None that writing into a string can bring up.
    pub fn write(self, mut registry: Registry, format: Format) -> Result<String, Error> {
        registry.register_collector(Box::new(self));
        let mut text = String::with_capacity(16 * 1024);
        match format {
            Format::Prometheus => {
                prometheus_client::encoding::prometheus_text::encode(&mut text, &registry)?;
            }
            Format::OpenMetrics => {
                prometheus_client::encoding::text::encode(&mut text, &registry)?;
            }
        }
        Ok(text)
    }
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder) -> Result<(), Error> {
        let mut out = Out(encoder);
        self.encode_build(&mut out)?;
        self.encode_server(&mut out)?;
        self.encode_stores(&mut out)?;
        self.encode_filters(&mut out)?;
        self.encode_cluster(&mut out)?;
        self.encode_memory(&mut out)?;
        disk::encode(&self.disk, &mut out)?;
        backup::encode(&self.backups, &mut out)?;
        replication::encode(&self.replication, &mut out)?;
        encode_process(&mut out)
    }
}

impl Snapshot {
    fn encode_build(&self, out: &mut Out<'_>) -> Result<(), Error> {
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("member", self.member.as_str())];
        out.gauges("hypercache_build_info", "What runs here; always 1", None, [(labels, 1.0)])?;
        let seconds = self.started_at_ms as f64 / 1e3;
        out.gauge(
            "hypercache_process_start_time",
            "When the process started, since the Unix epoch",
            Some(Unit::Seconds),
            seconds,
        )
    }

    fn encode_server(&self, out: &mut Out<'_>) -> Result<(), Error> {
        let s = &self.server;
        out.gauge(
            "hypercache_connected_clients",
            "RESP connections that are open",
            None,
            s.connected_clients as f64,
        )?;
        for (name, help, unit, value) in [
            (
                "hypercache_connections_received",
                "RESP connections that were accepted",
                None,
                s.connections_received,
            ),
            (
                "hypercache_rejected_connections",
                "RESP connections that were refused at max_connections",
                None,
                s.rejected_connections,
            ),
            (
                "hypercache_net_input",
                "Bytes from RESP clients",
                Some(Unit::Bytes),
                s.net_input_bytes,
            ),
            (
                "hypercache_net_output",
                "Bytes to RESP clients",
                Some(Unit::Bytes),
                s.net_output_bytes,
            ),
            (
                "hypercache_protocol_errors",
                "Connections that a malformed frame ended",
                None,
                s.protocol_errors,
            ),
            (
                "hypercache_forwarded_requests",
                "Commands that another member was asked to answer",
                None,
                s.forwarded_requests,
            ),
            (
                "hypercache_forward_errors",
                "Forwarded commands that no answer came for",
                None,
                s.forward_errors,
            ),
            (
                "hypercache_slow_subscribers_closed",
                "Subscribers that were closed because they read too slowly",
                None,
                s.slow_subscribers_closed,
            ),
            (
                "hypercache_published_dropped",
                "Published messages that did not reach another member",
                None,
                s.published_dropped,
            ),
            ("hypercache_error_replies", "Replies that were errors", None, s.error_replies),
        ] {
            out.counters(name, help, unit, [(NO_LABELS, value as f64)])?;
        }
        // A command that was never called would only be a zero among hundreds.
        let calls = s.calls_by_command.iter().filter(|(_, calls)| *calls > 0);
        out.counters(
            "hypercache_commands",
            "Commands that were run, by name",
            None,
            calls.map(|(name, calls)| ([("command", *name)], *calls as f64)),
        )
    }

    fn encode_stores(&self, out: &mut Out<'_>) -> Result<(), Error> {
        type Read = fn(&StoreStats) -> Option<u64>;
        let gauges: [(&str, &str, Option<Unit>, Read); 4] = [
            ("hypercache_store_keys", "Keys on this member", None, |s| Some(s.keys)),
            ("hypercache_store_keys_with_ttl", "Keys here that expire", None, |s| {
                Some(s.keys_with_ttl)
            }),
            ("hypercache_store_memory", "What the keys here cost", Some(Unit::Bytes), |s| {
                Some(s.used_memory_bytes)
            }),
            (
                "hypercache_store_max_memory",
                "The budget on each member; absent when there is none",
                Some(Unit::Bytes),
                |s| s.max_memory_bytes,
            ),
        ];
        for (name, help, unit, read) in gauges {
            let stores = self.stores.iter().filter_map(|s| Some((s.name.as_str(), read(s)?)));
            out.gauges(name, help, unit, stores.map(|(s, n)| ([("store", s)], n as f64)))?;
        }
        let counters: [(&str, &str, Read); 5] = [
            ("hypercache_store_hits", "Reads here that found their key", |s| Some(s.hits)),
            ("hypercache_store_misses", "Reads here that found no key", |s| Some(s.misses)),
            ("hypercache_store_evicted_keys", "Keys that left for the budget", |s| {
                Some(s.evicted_keys)
            }),
            ("hypercache_store_expired_keys", "Keys whose time was over", |s| Some(s.expired_keys)),
            ("hypercache_store_oom_errors", "Writes that were refused for the budget", |s| {
                Some(s.oom_errors)
            }),
        ];
        for (name, help, read) in counters {
            let stores = self.stores.iter().filter_map(|s| Some((s.name.as_str(), read(s)?)));
            out.counters(name, help, None, stores.map(|(s, n)| ([("store", s)], n as f64)))?;
        }
        Ok(())
    }

    fn encode_filters(&self, out: &mut Out<'_>) -> Result<(), Error> {
        type Read = fn(&FilterStats) -> u64;
        let of = |read: Read| {
            self.filters.iter().map(move |(s, f)| ([("store", s.as_str())], read(f) as f64))
        };
        out.gauges(
            "hypercache_store_filter",
            "What the store's cuckoo filter costs here, a part of the store's memory",
            Some(Unit::Bytes),
            of(|f| f.bytes),
        )?;
        out.gauges(
            "hypercache_store_filter_keys",
            "Keys that it knows here",
            None,
            of(|f| f.keys),
        )?;
        let counters: [(&str, &str, Read); 3] = [
            ("hypercache_store_filter_checks", "Look-ups here that asked it", |f| f.checks),
            (
                "hypercache_store_filter_negatives",
                "Look-ups here to which it said that the key is surely absent",
                |f| f.negatives,
            ),
            (
                "hypercache_store_filter_false_positives",
                "Look-ups here that it let through although the key was absent",
                |f| f.false_positives,
            ),
        ];
        for (name, help, read) in counters {
            out.counters(name, help, None, of(read))?;
        }
        Ok(())
    }

    fn encode_memory(&self, out: &mut Out<'_>) -> Result<(), Error> {
        let m = &self.memory;
        out.gauge(
            "hypercache_memory_limit",
            "What this member may have: of its control group, its configuration or the machine; 0 when nobody says",
            Some(Unit::Bytes),
            m.limit_bytes as f64,
        )?;
        out.gauge(
            "hypercache_memory_working_set",
            "What counts against that limit",
            Some(Unit::Bytes),
            m.working_set_bytes as f64,
        )?;
        out.gauge(
            "hypercache_memory_stage",
            "How far memory has run out: 0 there is room, 1 expired keys are looked for harder, 2 stores evict, 3 writes are refused as well",
            None,
            f64::from(m.stage as u8),
        )?;
        out.gauge(
            "hypercache_memory_frees_pending",
            "Keys that are gone and whose memory waits to be given back",
            None,
            m.frees_pending as f64,
        )?;
        for (name, help, unit, value) in [
            (
                "hypercache_memory_relieved",
                "What stores evicted because this member's memory ran out",
                Some(Unit::Bytes),
                m.relieved_bytes,
            ),
            (
                "hypercache_memory_purges",
                "How often free pages were given back to the system",
                None,
                m.purges,
            ),
            (
                "hypercache_memory_moves",
                "How often all keys' blocks were moved together",
                None,
                m.moves,
            ),
            (
                "hypercache_memory_freed_keys",
                "Keys whose memory was given back in the background",
                None,
                m.freed,
            ),
        ] {
            out.counters(name, help, unit, [(NO_LABELS, value as f64)])?;
        }
        Ok(())
    }

    fn encode_cluster(&self, out: &mut Out<'_>) -> Result<(), Error> {
        let c = &self.cluster;
        out.gauges(
            "hypercache_cluster_members",
            "Members of the cluster, by how they seem to this one",
            None,
            c.members_by_state.iter().map(|(state, n)| ([("state", *state)], *n as f64)),
        )?;
        for (name, help, value) in [
            (
                "hypercache_cluster_quorum",
                "1 if a majority of voters stands behind this member",
                u64::from(c.quorum),
            ),
            ("hypercache_cluster_leader", "1 if this member leads", u64::from(c.is_leader)),
            ("hypercache_cluster_epoch", "The epoch of the cluster's table", c.epoch),
            ("hypercache_cluster_slots_owned", "Slots that this member owns", c.slots_owned),
            (
                "hypercache_cluster_slots_assigned",
                "Slots that any member owns, of 16384",
                c.slots_assigned,
            ),
        ] {
            out.gauge(name, help, None, value as f64)?;
        }
        Ok(())
    }
}

fn encode_process(out: &mut Out<'_>) -> Result<(), Error> {
    let (user, system) = process::cpu_seconds();
    out.counters(
        "hypercache_process_cpu",
        "CPU time of the process, in its own code and in the system's",
        Some(Unit::Seconds),
        [([("mode", "user")], user), ([("mode", "system")], system)],
    )?;
    out.gauge(
        "hypercache_process_resident_memory",
        "Memory that the process holds",
        Some(Unit::Bytes),
        process::resident_bytes() as f64,
    )?;
    out.gauge(
        "hypercache_process_allocated_memory",
        "Memory that the program has allocated",
        Some(Unit::Bytes),
        process::allocated_bytes() as f64,
    )?;
    out.gauge(
        "hypercache_process_open_fds",
        "Open file descriptors",
        None,
        process::open_fds() as f64,
    )
}

const NO_LABELS: [(&str, &str); 0] = [];

/// Writes metrics of one value or of one for each of some labels; one without values not at all.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        value: f64,
    ) -> Result<(), Error> {
        self.gauges(name, help, unit, [(NO_LABELS, value)])
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        values: impl IntoIterator<Item = (L, f64)>,
    ) -> Result<(), Error> {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        values: impl IntoIterator<Item = (L, f64)>,
    ) -> Result<(), Error> {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut metric =
            self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }

    /// `buckets`: upper bounds, and how many are in each and in none before.
    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        sum: f64,
        buckets: &[(f64, u64)],
    ) -> Result<(), Error> {
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut metric =
            self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ..StoreStats::default()
        };
        let default = StoreStats { name: "default".into(), ..StoreStats::default() };
        Snapshot {
            member: "demo-0".into(),
            started_at_ms: 1_500,
            server: StatsSnapshot {
                connected_clients: 4,
                net_input_bytes: 99,
                calls_by_command: vec![("get", 5), ("set", 0)],
                ..StatsSnapshot::default()
            },
            stores: vec![default, store],
            filters: vec![(
                "page_cache".into(),
                FilterStats { bytes: 9, checks: 8, negatives: 7, ..FilterStats::default() },
            )],
            backups: crate::backup::Status {
                url: Some("/backups".into()),
                failed: 2,
                ..crate::backup::Status::default()
            },
            disk: disk_stats(),
            memory: memory::Snapshot { limit_bytes: 640, ..memory::Snapshot::default() },
            cluster: ClusterSnapshot {
                members_by_state: vec![("alive", 2), ("suspect", 0), ("down", 1)],
                quorum: true,
                slots_owned: 5461,
                slots_assigned: 16384,
                ..ClusterSnapshot::default()
            },
            replication: ReplicationSnapshot {
                links: vec![(
                    "demo-1".into(),
                    crate::replica::LinkFigures {
                        behind_bytes: 12,
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
            "hypercache_store_filter_bytes{store=\"page_cache\"} 9",
            "hypercache_store_filter_checks_total{store=\"page_cache\"} 8",
            "hypercache_store_filter_negatives_total{store=\"page_cache\"} 7",
            "hypercache_store_filter_false_positives_total{store=\"page_cache\"} 0",
            "hypercache_memory_limit_bytes 640",
            "hypercache_replication_slots_under_replicated 3",
            "hypercache_replication_link_behind_bytes{to=\"demo-1\"} 12",
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
