//! MEMORY and its subcommands, but for MEMORY USAGE, which is one over a key.

use hypercache_core::resp::Writer;

use super::Context;
use crate::telemetry::process::{self, Allocator};

/// One line of MEMORY STATS.
enum Figure {
    Bytes(u64),
    Signed(i64),
    Ratio(f64),
    Database { main: u64, expires: u64 },
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

pub(super) fn stats(context: &Context<'_>, out: &mut Writer<'_>) {
    use Figure::{Bytes, Database, Ratio, Signed};
    let shared = context.shared;
    let Allocator { allocated, active, resident } = process::allocator();
    let rss = process::resident_bytes();
    let peak = shared.stats.peak_allocated(allocated);
    let stores = shared.keyspace().stats();
    let dataset: u64 = stores.iter().map(|store| store.used_memory_bytes).sum();
    let keys: u64 = stores.iter().map(|store| store.keys).sum();
    let clients: u64 = shared.clients.all().iter().map(|client| client.memory_bytes()).sum();
    let startup = shared.startup_bytes;
    let net = allocated.saturating_sub(startup);
    let difference = |a: u64, b: u64| Signed(a as i64 - b as i64);
    let mut figures = vec![
        ("peak.allocated".to_owned(), Bytes(peak)),
        ("total.allocated".into(), Bytes(allocated)),
        ("startup.allocated".into(), Bytes(startup)),
        ("replication.backlog".into(), Bytes(0)),
        ("clients.slaves".into(), Bytes(0)),
        ("clients.normal".into(), Bytes(clients)),
        ("cluster.links".into(), Bytes(0)),
        ("aof.buffer".into(), Bytes(0)),
        ("lua.caches".into(), Bytes(0)),
        ("functions.caches".into(), Bytes(0)),
    ];
    for store in stores.iter().filter(|store| store.keys > 0) {
        // A store's table is part of what is counted for its keys.
        figures.push((format!("db.{}", store.number), Database { main: 0, expires: 0 }));
    }
    figures.extend([
        ("overhead.total".into(), Bytes(allocated.saturating_sub(dataset))),
        ("keys.count".into(), Bytes(keys)),
        ("keys.bytes-per-key".into(), Bytes(dataset.checked_div(keys).unwrap_or(0))),
        ("dataset.bytes".into(), Bytes(dataset)),
        ("dataset.percentage".into(), Ratio((ratio(dataset, net) * 100.0).min(100.0))),
        ("peak.percentage".into(), Ratio(ratio(allocated, peak) * 100.0)),
        ("allocator.allocated".into(), Bytes(allocated)),
        ("allocator.active".into(), Bytes(active)),
        ("allocator.resident".into(), Bytes(resident)),
        ("allocator-fragmentation.ratio".into(), Ratio(ratio(active, allocated))),
        ("allocator-fragmentation.bytes".into(), difference(active, allocated)),
        ("allocator-rss.ratio".into(), Ratio(ratio(resident, active))),
        ("allocator-rss.bytes".into(), difference(resident, active)),
        ("rss-overhead.ratio".into(), Ratio(ratio(rss, resident))),
        ("rss-overhead.bytes".into(), difference(rss, resident)),
        ("fragmentation".into(), Ratio(ratio(rss, allocated))),
        ("fragmentation.bytes".into(), difference(rss, allocated)),
    ]);
    out.map(figures.len());
    for (name, figure) in figures {
        out.bulk(name.as_bytes());
        match figure {
            Bytes(bytes) => out.integer(i64::try_from(bytes).unwrap_or(i64::MAX)),
            Signed(bytes) => out.integer(bytes),
            Ratio(ratio) => out.double(ratio),
            Database { main, expires } => {
                out.map(2);
                out.bulk(b"overhead.hashtable.main");
                out.integer(main as i64);
                out.bulk(b"overhead.hashtable.expires");
                out.integer(expires as i64);
            }
        }
    }
}

/// Below this there is nothing to say about proportions.
const LITTLE_BYTES: u64 = 64 << 20;
/// Smaller differences are no problem, whatever their proportion.
const MUCH_BYTES: u64 = 10 << 20;

pub(super) fn doctor(context: &Context<'_>, out: &mut Writer<'_>) {
    let shared = context.shared;
    let memory = process::allocator();
    let rss = process::resident_bytes();
    let peak = shared.stats.peak_allocated(memory.allocated);
    let mut found: Vec<String> = Vec::new();
    let much = |more: u64, less: u64, times: f64| {
        more.saturating_sub(less) > MUCH_BYTES && ratio(more, less) > times
    };
    if memory.allocated >= LITTLE_BYTES {
        if much(peak, memory.allocated, 1.5) {
            found.push(format!(
                "More was needed once ({peak} bytes) than is now ({} bytes). What the system still counts \
                 for the process is given back over time, or now by MEMORY PURGE.",
                memory.allocated
            ));
        }
        if much(memory.active, memory.allocated, 1.1) {
            found.push(format!(
                "Pages are not full: {} bytes stand in pages of {} bytes. That comes from values that went \
                 from between others, and goes as new ones take their places.",
                memory.allocated, memory.active
            ));
        }
        if much(memory.resident, memory.active, 1.1) {
            found.push(format!(
                "The allocator keeps {} bytes of pages that it does not need now. It gives them back over \
                 time, or now by MEMORY PURGE.",
                memory.resident.saturating_sub(memory.active)
            ));
        }
        if much(rss, memory.resident, 1.1) {
            found.push(format!(
                "The process holds {} bytes beside the allocator's: stacks, program, and scripts.",
                rss.saturating_sub(memory.resident)
            ));
        }
    }
    let limit = process::memory_limit_bytes();
    if limit > 0 && rss > limit / 10 * 9 {
        found.push(format!(
            "The process holds {rss} of {limit} bytes that it may: lower the stores' budgets (maxmemory), \
             or give it more."
        ));
    }
    for store in shared.keyspace().stats() {
        if store.oom_errors > 0 {
            found.push(format!(
                "Store '{}' refused {} writes because it is full and its policy lets nothing leave.",
                store.name, store.oom_errors
            ));
        }
    }
    let text = match (found.is_empty(), memory.allocated < LITTLE_BYTES) {
        (true, true) => "There is too little in memory to say anything about it.\n".to_owned(),
        (true, false) => "Nothing is wrong with the memory.\n".to_owned(),
        (false, _) => found.iter().map(|line| format!("* {line}\n")).collect(),
    };
    out.verbatim("txt", text.as_bytes());
}

pub(super) fn malloc_stats(out: &mut Writer<'_>) {
    out.verbatim("txt", &process::allocator_report());
}

pub(super) fn purge(out: &mut Writer<'_>) {
    if process::purge() {
        out.simple("OK");
    } else {
        out.error("ERR Error purging dirty pages");
    }
}
