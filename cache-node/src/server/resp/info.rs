//! INFO, with Redis's sections and field names.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hypercache_core::cluster::SLOTS;

use super::Shared;
use super::clients::Client;
use super::commands::REDIS_VERSION;
use super::pause::Held;
use crate::clock::now_ms;
use crate::memory;
use crate::pubsub::Topic;
use crate::server::stats::{Account, ticks};
use crate::telemetry::process::{self, Allocator};
use hypercache_core::cluster::View;

/// The sections that INFO without arguments shows, and those that must be asked for.
const SECTIONS: [(&str, bool, Section); 14] = [
    ("server", true, server),
    ("clients", true, clients),
    ("memory", true, memory),
    ("persistence", true, super::info_disk::persistence),
    ("stats", true, stats),
    ("replication", true, replication),
    ("cpu", true, cpu),
    ("modules", true, modules),
    ("commandstats", false, commandstats),
    ("errorstats", true, errorstats),
    ("latencystats", false, latencystats),
    ("cluster", true, cluster),
    ("keyspace", true, keyspace),
    ("filters", true, filters),
];

type Section = fn(&mut String, &Shared, &View);

/// The text of the sections that are asked for; of the default ones when none is.
pub(super) fn text(shared: &Shared, view: &View, wanted: &[&[u8]]) -> String {
    let named = |name: &str| wanted.iter().any(|w| w.eq_ignore_ascii_case(name.as_bytes()));
    let everything = named("all") || named("everything");
    let default = wanted.is_empty() || named("default");
    let mut out = String::with_capacity(4096);
    for (name, by_default, section) in SECTIONS {
        if everything || named(name) || (default && by_default) {
            if !out.is_empty() {
                out.push_str("\r\n");
            }
            let mut title = name.to_owned();
            title[..1].make_ascii_uppercase();
            line(&mut out, format_args!("# {}", if name == "cpu" { "CPU" } else { &title }));
            section(&mut out, shared, view);
        }
    }
    out
}

pub(super) fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
    out.push_str("\r\n");
}

macro_rules! fields {
    ($out:expr, $($name:literal: $value:expr),+ $(,)?) => {
        $($crate::server::resp::info::line($out, format_args!("{}:{}", $name, $value));)+
    };
}
pub(super) use fields;

fn server(out: &mut String, shared: &Shared, view: &View) {
    let now_ms = now_ms();
    let uptime_seconds = now_ms.saturating_sub(shared.started_ms) / 1000;
    fields!(out,
        "redis_version": REDIS_VERSION,
        // A build of ours is told by its version.
        "redis_git_sha1": "00000000",
        "redis_git_dirty": 0,
        "hypercache_version": env!("CARGO_PKG_VERSION"),
        "redis_mode": "cluster",
        "os": format_args!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "arch_bits": usize::BITS,
        "multiplexing_api": "epoll",
        "process_id": std::process::id(),
        "run_id": shared.run_id,
        "tcp_port": shared.port,
        "server_time_usec": now_ms * 1000,
        "uptime_in_seconds": uptime_seconds,
        "uptime_in_days": uptime_seconds / 86400,
        "io_threads_active": u8::from(shared.config.node.threads > 1),
        "availability_zone": view.myself().and_then(|me| me.zone.as_deref()).unwrap_or_default(),
    );
}

fn clients(out: &mut String, shared: &Shared, _: &View) {
    let paused = shared.pause.now();
    let held = match paused.map(|paused| paused.held) {
        None => "none",
        Some(Held::Writes) => "write",
        Some(Held::All) => "all",
    };
    let left_ms = paused.map_or(0, |paused| paused.until_ms.saturating_sub(now_ms()));
    fields!(out,
        "connected_clients": shared.clients.len(),
        "cluster_connections": 0,
        "maxclients": shared.tunables.read().max_connections,
        "client_recent_max_input_buffer": largest(shared, |client| &client.input_bytes),
        "client_recent_max_output_buffer": largest(shared, |client| &client.output_bytes),
        "blocked_clients": shared.pause.waiting() + shared.clients.blocked() as u64,
        "tracking_clients": 0,
        "pubsub_clients": shared.pubsub.registry().clients(),
        "watching_clients": watching(shared).0,
        "clients_in_timeout_table": 0,
        "total_watched_keys": watching(shared).1,
        "total_blocking_keys": shared.keyspace().blocking_keys(),
        "total_blocking_keys_on_nokey": 0,
        "paused_reason": if paused.is_some() { "client_pause" } else { "none" },
        "paused_actions": held,
        "paused_timeout_milliseconds": left_ms,
    );
}

/// How many connections watch keys, and how many keys.
fn watching(shared: &Shared) -> (usize, u64) {
    let watched = shared.clients.all();
    let watched = watched.iter().map(|client| u64::from(client.watched.load(Relaxed)));
    watched.filter(|keys| *keys > 0).fold((0, 0), |(n, sum), keys| (n + 1, sum + keys))
}

/// The most that any connection has of something.
fn largest(shared: &Shared, of: fn(&Client) -> &AtomicU64) -> u64 {
    shared.clients.all().iter().map(|client| of(client).load(Relaxed)).max().unwrap_or(0)
}

fn memory(out: &mut String, shared: &Shared, _: &View) {
    let scripts = shared.router.scripts().facts();
    let stores = shared.keyspace().stats();
    let dataset: u64 = stores.iter().map(|s| s.used_memory_bytes).sum();
    let Allocator { allocated, active, resident: held } = process::allocator();
    let resident = process::resident_bytes();
    let peak = shared.stats.peak_allocated(allocated);
    let startup = shared.startup_bytes;
    let limit = process::memory_limit_bytes();
    let clients: u64 = shared.clients.all().iter().map(|client| client.memory_bytes()).sum();
    let ratio = |a: u64, b: u64| a as f64 / b.max(1) as f64;
    let known = shared.memory.snapshot();
    // Of all stores together; as in Redis, 0 is no bound.
    let budget = stores.iter().map(|s| s.max_memory_bytes).sum::<Option<u64>>().unwrap_or(0);
    let policies = shared.keyspace().policies();
    let policy = policies
        .iter()
        .find(|p| p.number == 0)
        .map_or("noeviction", |p| p.eviction_policy.redis_name());
    fields!(out,
        "used_memory": allocated,
        "used_memory_human": human(allocated),
        "used_memory_rss": resident,
        "used_memory_rss_human": human(resident),
        "used_memory_peak": peak,
        "used_memory_peak_human": human(peak),
        "used_memory_peak_perc": format_args!("{:.2}%", ratio(allocated, peak) * 100.0),
        "used_memory_overhead": allocated.saturating_sub(dataset),
        "used_memory_startup": startup,
        "used_memory_dataset": dataset,
        "used_memory_dataset_perc": format_args!(
            "{:.2}%",
            (ratio(dataset, allocated.saturating_sub(startup)) * 100.0).min(100.0)
        ),
        "allocator_allocated": allocated,
        "allocator_active": active,
        "allocator_resident": held,
        "total_system_memory": limit,
        "total_system_memory_human": human(limit),
        "used_memory_scripts_eval": scripts.bytes,
        "number_of_cached_scripts": scripts.cached,
        "used_memory_scripts": scripts.bytes,
        "used_memory_scripts_human": human(scripts.bytes as u64),
        "maxmemory": budget,
        "maxmemory_human": human(budget),
        "maxmemory_policy": policy,
        "allocator_frag_ratio": format_args!("{:.2}", ratio(active, allocated)),
        "allocator_frag_bytes": active.saturating_sub(allocated),
        "allocator_rss_ratio": format_args!("{:.2}", ratio(held, active)),
        "allocator_rss_bytes": held.saturating_sub(active),
        "rss_overhead_ratio": format_args!("{:.2}", ratio(resident, held)),
        "rss_overhead_bytes": resident as i64 - held as i64,
        "mem_fragmentation_ratio": format_args!("{:.2}", ratio(resident, allocated)),
        "mem_fragmentation_bytes": resident as i64 - allocated as i64,
        "mem_clients_normal": clients,
        "mem_allocator": "jemalloc",
        "lazyfree_pending_objects": known.frees_pending,
        "lazyfreed_objects": known.freed,
        "memory_limit": known.limit_bytes,
        "memory_working_set": known.working_set_bytes,
        "memory_stage": memory::word(known.stage),
        "memory_relieved_bytes": known.relieved_bytes,
        "memory_moves": known.moves,
    );
}

/// Bytes as Redis shows them to people.
fn human(bytes: u64) -> String {
    let mut amount = bytes as f64;
    for unit in ["B", "K", "M", "G"] {
        if amount < 1024.0 {
            return if unit == "B" { format!("{bytes}B") } else { format!("{amount:.2}{unit}") };
        }
        amount /= 1024.0;
    }
    format!("{amount:.2}T")
}

/// What all stores of this member have counted. Of dropped stores nothing is left.
#[derive(Debug, Clone, Default)]
pub struct StoreCounts {
    expired: u64,
    evicted: u64,
    hits: u64,
    misses: u64,
}

impl StoreCounts {
    /// The counts at this moment.
    pub fn now(shared: &Shared) -> Self {
        let mut counts = Self::default();
        for store in shared.keyspace().stats() {
            counts.expired += store.expired_keys;
            counts.evicted += store.evicted_keys;
            counts.hits += store.hits;
            counts.misses += store.misses;
        }
        counts
    }
}

fn stats(out: &mut String, shared: &Shared, _: &View) {
    let counted = shared.stats.snapshot();
    let before = shared.counted_before.lock().clone();
    let stores = StoreCounts::now(shared);
    let listened = |topic| shared.pubsub.registry().count(topic);
    fields!(out,
        "total_connections_received": counted.connections_received,
        "total_commands_processed": counted.commands_processed,
        "total_net_input_bytes": counted.net_input_bytes,
        "total_net_output_bytes": counted.net_output_bytes,
        "rejected_connections": counted.rejected_connections,
        "expired_keys": stores.expired.saturating_sub(before.expired),
        "evicted_keys": stores.evicted.saturating_sub(before.evicted),
        "keyspace_hits": stores.hits.saturating_sub(before.hits),
        "keyspace_misses": stores.misses.saturating_sub(before.misses),
        "client_output_buffer_limit_disconnections": counted.slow_subscribers_closed,
        "pubsub_channels": listened(Topic::Channel),
        "pubsub_patterns": listened(Topic::Pattern),
        "pubsubshard_channels": listened(Topic::Shard),
        "pubsub_published_dropped": counted.published_dropped,
        "evicted_scripts": shared.router.scripts().facts().evicted,
        "total_error_replies": counted.error_replies,
        "unexpected_error_replies": 0,
        "forwarded_requests": counted.forwarded_requests,
        "forward_errors": counted.forward_errors,
        "protocol_errors": counted.protocol_errors,
    );
}

fn replication(out: &mut String, shared: &Shared, view: &View) {
    let links: Vec<_> = shared.replicas.links().into_iter().filter(|link| link.is_online).collect();
    let offset = links.iter().map(|link| link.offset).max().unwrap_or(0);
    // A member that is the primary of some slots is told as one; its role in others is in the table.
    let is_primary = (0..SLOTS).any(|slot| view.is_mine(slot));
    let sources = shared.replicas.sources();
    match sources.last() {
        Some(source) if !is_primary => {
            let primary = view.member(source.member);
            let (host, port) = primary.map_or(("?", 0), |m| (m.host.as_str(), m.resp_port));
            fields!(out,
                "role": "slave",
                "master_host": host,
                "master_port": port,
                "master_link_status": "up",
                "master_last_io_seconds_ago": source.ago_ms / 1000,
                "master_sync_in_progress": 0,
                "slave_read_repl_offset": source.bytes,
                "slave_repl_offset": source.bytes,
                "slave_read_only": 1,
            );
        }
        _ => {
            fields!(out, "role": "master");
        }
    }
    fields!(out, "connected_slaves": links.len());
    for (link, n) in links.iter().zip(0..) {
        let member = view.member(link.member);
        let (host, port) = member.map_or(("?", 0), |m| (m.host.as_str(), m.resp_port));
        // As in Redis, the offset is how far the other one is.
        let offset = link.offset.saturating_sub(link.behind_cycles);
        let (behind, lag_s) = (link.behind_bytes, link.lag_ms / 1000);
        line(
            out,
            format_args!(
                "slave{n}:ip={host},port={port},state=online,offset={offset},lag={lag_s},behind_bytes={behind}"
            ),
        );
    }
    let state = shared.replicas.snapshot();
    fields!(out,
        "master_failover_state": "no-failover",
        "master_replid": shared.run_id,
        "master_replid2": "0".repeat(40),
        "master_repl_offset": offset,
        "second_repl_offset": -1,
        "slots_primary": state.slots_primary,
        "slots_under_replicated": state.slots_under_replicated,
    );
    for (source, n) in sources.iter().zip(0..) {
        let name = view.member(source.member).map_or("?", |member| member.name.as_str());
        let (bytes, ago_ms) = (source.bytes, source.ago_ms);
        line(out, format_args!("source{n}:name={name},bytes={bytes},last_ms_ago={ago_ms}"));
    }
}

fn cpu(out: &mut String, _: &Shared, _: &View) {
    let (user, system) = process::cpu_seconds();
    fields!(out,
        "used_cpu_sys": format_args!("{system:.6}"),
        "used_cpu_user": format_args!("{user:.6}"),
    );
}

fn modules(_: &mut String, _: &Shared, _: &View) {}

fn commandstats(out: &mut String, shared: &Shared, _: &View) {
    let ns_per_tick = ticks::ns_per_tick();
    for (name, account) in shared.stats.snapshot().work {
        let Account { calls, rejected, failed, .. } = account;
        if calls + rejected + failed == 0 {
            continue;
        }
        let us = (account.ticks as f64 * ns_per_tick / 1000.0) as u64;
        let per_call = if calls == 0 { 0.0 } else { us as f64 / calls as f64 };
        line(
            out,
            format_args!(
                "cmdstat_{name}:calls={calls},usec={us},usec_per_call={per_call:.2},rejected_calls={rejected},\
                 failed_calls={failed}"
            ),
        );
    }
}

fn errorstats(out: &mut String, shared: &Shared, _: &View) {
    for (kind, count) in shared.stats.errors.all() {
        line(out, format_args!("errorstat_{kind}:count={count}"));
    }
}

fn latencystats(out: &mut String, shared: &Shared, _: &View) {
    let ns_per_tick = ticks::ns_per_tick();
    let percentiles = shared.tunables.read().percentiles.clone();
    if percentiles.is_empty() {
        return;
    }
    for (name, account) in shared.stats.snapshot().work.iter().filter(|(_, a)| a.measured() > 0) {
        let shown: Vec<String> = percentiles
            .iter()
            .map(|percent| {
                let ticks = account.percentile(percent.parse().unwrap_or(100.0));
                format!("p{percent}={:.3}", ticks as f64 * ns_per_tick / 1000.0)
            })
            .collect();
        line(out, format_args!("latency_percentiles_usec_{name}:{}", shown.join(",")));
    }
}

fn cluster(out: &mut String, _: &Shared, view: &View) {
    fields!(out,
        "cluster_enabled": 1,
        "cluster_members": view.state.members.len(),
        "cluster_epoch": view.epoch(),
        "cluster_quorum": u8::from(view.quorum),
        "cluster_slots": SLOTS,
    );
}

fn keyspace(out: &mut String, shared: &Shared, _: &View) {
    for store in shared.keyspace().stats().iter().filter(|s| s.keys > 0) {
        line(
            out,
            format_args!(
                "db{}:keys={},expires={},avg_ttl=0",
                store.number, store.keys, store.keys_with_ttl
            ),
        );
    }
}

/// One line for each store with a filter: what it is and did on this member.
fn filters(out: &mut String, shared: &Shared, _: &View) {
    let keyspace = shared.keyspace();
    for policy in keyspace.policies().iter().filter(|policy| policy.filter.is_some()) {
        let Some(filter) = keyspace.filter_stats(policy.number) else { continue };
        let rate = filter.rate.map_or(0.0, hypercache_core::store::FilterRate::rate);
        line(
            out,
            format_args!(
                "filter{}:rate={rate},keys={},bytes={},checks={},negatives={},false_positives={}",
                policy.number,
                filter.keys,
                filter.bytes,
                filter.checks,
                filter.negatives,
                filter.false_positives,
            ),
        );
    }
}
