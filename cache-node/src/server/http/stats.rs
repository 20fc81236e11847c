//! Figures of this member: `/stats`, `/api/cache/stats`.

use axum::extract::State as Of;
use axum::response::{IntoResponse, Response};
use hypercache_core::keyspace::StoreStats;
use serde_json::{Value, json};

use super::App;
use crate::clock::now_ms;
use crate::memory;
use crate::telemetry::process;

fn uptime_seconds(app: &App) -> u64 {
    now_ms().saturating_sub(app.started_ms) / 1_000
}

/// The share of reads that found their key; `null` before the first.
fn hit_ratio(hits: u64, misses: u64) -> Option<f64> {
    let reads = hits + misses;
    (reads > 0).then(|| hits as f64 / reads as f64)
}

fn store(stats: &StoreStats) -> Value {
    json!({
        "name": stats.name,
        "number": stats.number,
        "keys": stats.keys,
        "keys_with_ttl": stats.keys_with_ttl,
        "used_memory_bytes": stats.used_memory_bytes,
        "max_memory_bytes": stats.max_memory_bytes,
        "hits": stats.hits,
        "misses": stats.misses,
        "hit_ratio": hit_ratio(stats.hits, stats.misses),
        "evicted_keys": stats.evicted_keys,
        "expired_keys": stats.expired_keys,
        "oom_errors": stats.oom_errors,
    })
}

/// `GET /api/cache/stats`: what each store holds and did on this member.
pub async fn cache(Of(app): Of<App>) -> Response {
    let stores = app.keyspace.stats();
    let sum = |read: fn(&StoreStats) -> u64| stores.iter().map(read).sum::<u64>();
    let (hits, misses) = (sum(|s| s.hits), sum(|s| s.misses));
    let body = json!({
        "member": app.config.node.id,
        "keys": sum(|s| s.keys),
        "used_memory_bytes": sum(|s| s.used_memory_bytes),
        "resident_memory_bytes": process::resident_bytes(),
        "hits": hits,
        "misses": misses,
        "hit_ratio": hit_ratio(hits, misses),
        "evicted_keys": sum(|s| s.evicted_keys),
        "expired_keys": sum(|s| s.expired_keys),
        "stores": stores.iter().map(store).collect::<Vec<_>>(),
    });
    axum::Json(body).into_response()
}

/// `GET /stats`: what this member did and costs.
pub async fn node(Of(app): Of<App>) -> Response {
    let s = app.stats.total();
    let (user, system) = process::cpu_seconds();
    let commands: serde_json::Map<String, Value> = s
        .calls_by_command
        .iter()
        .filter(|(_, calls)| *calls > 0)
        .map(|(name, calls)| ((*name).to_owned(), (*calls).into()))
        .collect();
    let stores = app.keyspace.stats();
    let memory = app.memory.snapshot();
    let body = json!({
        "member": app.config.node.id,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": uptime_seconds(&app),
        "connected_clients": s.connected_clients,
        "connections_received": s.connections_received,
        "rejected_connections": s.rejected_connections,
        "commands_processed": s.commands_processed,
        "error_replies": s.error_replies,
        "protocol_errors": s.protocol_errors,
        "net_input_bytes": s.net_input_bytes,
        "net_output_bytes": s.net_output_bytes,
        "forwarded_requests": s.forwarded_requests,
        "forward_errors": s.forward_errors,
        "calls_by_command": commands,
        "keys": stores.iter().map(|s| s.keys).sum::<u64>(),
        "used_memory_bytes": stores.iter().map(|s| s.used_memory_bytes).sum::<u64>(),
        "resident_memory_bytes": process::resident_bytes(),
        "allocated_memory_bytes": process::allocated_bytes(),
        "cpu_user_seconds": user,
        "cpu_system_seconds": system,
        "open_fds": process::open_fds(),
        "memory_limit_bytes": memory.limit_bytes,
        "memory_working_set_bytes": memory.working_set_bytes,
        "memory_stage": memory::word(memory.stage),
    });
    axum::Json(body).into_response()
}
