//! From the layers to the typed configuration.

use std::net::IpAddr;

use hypercache_core::cluster::PROTOCOLS;
use hypercache_core::keyspace::EventClasses;
use hypercache_trace::Ratio;

use super::source::Source;
use super::units::parse_duration;
use super::{
    Auth, Cluster, Config, Log, Network, Node, Script, SlowLog, Telemetry, stores, values,
};
use crate::backup;

/// Reads everything; whatever is wrong is reported to `source` and stands as its default in what
/// is returned.
pub fn read(source: &mut Source<'_>, host_name: &str, cores: usize) -> Config {
    source.report_unknown_keys();
    let network = network(source, host_name);
    let node = node(source, host_name, cores);
    let cluster = cluster(source);
    let mut policies = vec![stores::read_default(source)];
    let cleanup_interval_ms =
        source.get("cache.cleanup_interval", 100, values::positive_duration(10));
    policies.extend(stores::read(source));
    stores::check_together(source, &policies);
    Config {
        node,
        network,
        cluster,
        stores: policies,
        cleanup_interval_ms,
        keyspace_events: source.get(
            "cache.notify_keyspace_events",
            EventClasses::empty(),
            values::event_classes,
        ),
        backup: backup(source),
        script: Script {
            time_limit_ms: source.get("script.time_limit", 5_000, values::positive_duration(1)),
            memory_bytes: source.get("script.memory_limit", 64 << 20, values::script_memory),
        },
        auth: Auth { password: source.optional("auth.password", values::secret) },
        log: Log { level: source.get("log.level", "info".into(), values::log_level) },
        slowlog: SlowLog {
            slower_than_us: source.get(
                "slowlog.slower_than_us",
                10_000,
                values::number("a number of microseconds (-1 for no slow log)", -1, i64::MAX),
            ),
            max_len: source.get(
                "slowlog.max_len",
                128,
                values::number("a number of commands", 0, 1_000_000),
            ),
            request_larger_than_bytes: source.get(
                "slowlog.request_larger_than_bytes",
                1 << 20,
                values::number("a number of bytes (-1 for no log of requests)", -1, i64::MAX),
            ),
            reply_larger_than_bytes: source.get(
                "slowlog.reply_larger_than_bytes",
                1 << 20,
                values::number("a number of bytes (-1 for no log of replies)", -1, i64::MAX),
            ),
            large_max_len: source.get(
                "slowlog.large_max_len",
                128,
                values::number("a number of commands", 0, 1_000_000),
            ),
            latency_threshold_ms: source.get("slowlog.latency_threshold", 0, parse_duration),
        },
        telemetry: Telemetry {
            otlp_endpoint: source.optional("telemetry.otlp_endpoint", values::endpoint),
            trace_sample_ratio: source.get(
                "telemetry.trace_sample_ratio",
                Ratio::default(),
                str::parse::<Ratio>,
            ),
            otlp_metrics_endpoint: source
                .optional("telemetry.otlp_metrics_endpoint", values::endpoint),
            otlp_metrics_interval_ms: source.get(
                "telemetry.otlp_metrics_interval",
                30_000,
                metrics_interval,
            ),
            service_name: source.get("telemetry.service_name", "hypercache".into(), values::name),
            request_metrics: source.get("telemetry.request_metrics", true, values::boolean),
            exemplars: source.get("telemetry.exemplars", false, values::boolean),
        },
    }
}

fn metrics_interval(text: &str) -> Result<u64, String> {
    match parse_duration(text)? {
        ms @ 1_000..=3_600_000 => Ok(ms),
        _ => Err(format!("'{text}' is not between 1s and 1h")),
    }
}

fn backup(source: &mut Source<'_>) -> Option<backup::Configured> {
    let url = source.optional("backup.url", values::backup_url);
    let recipient = source.optional("backup.recipient", str::parse::<backup::Recipient>);
    let s3_endpoint = source.optional("backup.s3_endpoint", values::s3_endpoint);
    let s3_region = source.optional("backup.s3_region", values::name);
    let Some(url) = url else {
        for path in ["backup.recipient", "backup.s3_endpoint", "backup.s3_region"] {
            if source.text(path).is_some() && source.text("backup.url").is_none() {
                let place = source.place(path);
                source.problem(path, place, "it says nothing without 'backup.url': set that too");
            }
        }
        return None;
    };
    if !url.starts_with("s3://") {
        for path in ["backup.s3_endpoint", "backup.s3_region"] {
            if source.text(path).is_some() {
                let place = source.place(path);
                source.problem(
                    path,
                    place,
                    "it says nothing of a directory: 'backup.url' is none of s3://",
                );
            }
        }
    }
    let destination = backup::Settings { url, s3_endpoint, s3_region };
    Some(backup::Configured { destination, recipient })
}

fn node(source: &mut Source<'_>, host_name: &str, cores: usize) -> Node {
    let id = source.optional("node.id", values::name).unwrap_or_else(|| {
        values::name(host_name).unwrap_or_else(|message| {
            let message = format!("the host name cannot be this member's name: {message}");
            source.problem("node.id", super::Place::Default, message);
            String::new()
        })
    });
    Node {
        id,
        data_dir: source.optional("node.data_dir", values::directory),
        zone: source.optional("node.zone", values::name),
        weight: source.get("node.weight", 1, values::number("a weight", 1u32, 100)),
        threads: source.get("node.threads", cores, values::number("a number of threads", 1, 1024)),
        memory_limit_bytes: source.get("node.memory_limit", None, values::memory_limit),
    }
}

fn network(source: &mut Source<'_>, host_name: &str) -> Network {
    let bind = source.get("network.bind", IpAddr::from([127, 0, 0, 1]), values::address);
    let advertise = source.optional("network.advertise", values::host);
    let network = Network {
        bind,
        advertise: advertise.unwrap_or_else(|| match bind.is_unspecified() {
            true => host_name.to_owned(),
            false => bind.to_string(),
        }),
        resp_port: source.get("network.resp_port", 8080, values::port),
        cluster_port: source.get("network.cluster_port", None, values::port_or_none),
        http_port: source.get("network.http_port", 9080, values::port),
        gossip_port: source.get("network.gossip_port", 7946, values::port),
        max_connections: source.get(
            "network.max_connections",
            10_000,
            values::number("a number of connections", 1, 1_000_000),
        ),
        idle_timeout_ms: source.get("network.idle_timeout", 0, parse_duration),
        request_timeout_ms: source.get(
            "network.request_timeout",
            5_000,
            values::positive_duration(1),
        ),
    };
    let ports = [
        ("network.resp_port", network.resp_port),
        ("network.cluster_port", network.cluster_port.unwrap_or(0)),
        ("network.http_port", network.http_port),
        ("network.gossip_port", network.gossip_port),
    ];
    for (i, (path, port)) in ports.iter().enumerate() {
        for (other, other_port) in &ports[..i] {
            if port == other_port && *port != 0 {
                let place = match source.place(path) {
                    super::Place::Default => source.place(other),
                    place => place,
                };
                source.problem(
                    path,
                    place,
                    format!("{port} is {other} as well: each port needs its own"),
                );
            }
        }
    }
    network
}

fn cluster(source: &mut Source<'_>) -> Cluster {
    let mut join = Vec::new();
    for text in source.list("cluster.join") {
        match values::host_and_port(&text.text) {
            Ok(member) => join.push(member),
            Err(message) => source.problem("cluster.join", text.place, message),
        }
    }
    let path = "cluster.bootstrap_members";
    let read = source.optional(path, values::number("a number of members", 0u32, 1000));
    let alone = source.list("cluster.join").is_empty();
    match read {
        None if !alone && source.text(path).is_none() => {
            let place = source.place("cluster.join");
            let message = "missing, and 'join' needs it: how many members make a new cluster together, or 0 to only join one that exists";
            source.problem(path, place, message);
        }
        Some(n) if alone && n != 1 => {
            let place = source.place(path);
            let message =
                format!("{n} members need to find each other: list some in 'cluster.join'");
            source.problem(path, place, message);
        }
        _ => {}
    }
    Cluster {
        name: source.get("cluster.name", "hypercache".into(), values::name),
        join,
        bootstrap_members: read.unwrap_or(1),
        move_bytes_per_second: source.get("cluster.move_rate", 48 << 20, values::move_rate),
        check_interval_ms: source.get("cluster.check_interval", 3_600_000, values::check_interval),
        max_protocol: source.get("cluster.max_protocol", *PROTOCOLS.end(), values::protocol),
        secret: source.optional("cluster.secret", values::secret),
    }
}
