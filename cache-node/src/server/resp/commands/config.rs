//! CONFIG GET and CONFIG SET, for the parameters of Redis's that have a meaning here.

use std::time::Duration;

use hypercache_core::resp::Writer;

use super::glob::matches;
use super::{Context, integer};

/// Every parameter with its value in force, by Redis's names.
fn parameters(context: &Context<'_>) -> Vec<(&'static str, String)> {
    let shared = context.shared;
    let tunables = shared.tunables.read().clone();
    let policies = shared.keyspace().policies();
    let default = policies.iter().find(|p| p.number == 0);
    let policy = match default.map(|p| p.eviction_policy.as_str()) {
        Some("lru") => "allkeys-lru",
        _ => "noeviction",
    };
    let databases = policies.iter().map(|p| p.number).max().unwrap_or(0) + 1;
    let config = &shared.config;
    let dir = config.node.data_dir.as_ref().map(|d| d.display().to_string());
    vec![
        ("appendonly", "no".into()),
        ("bind", config.network.bind.to_string()),
        ("cluster-announce-hostname", config.network.advertise.clone()),
        ("cluster-enabled", "yes".into()),
        ("databases", databases.to_string()),
        ("dir", dir.unwrap_or_default()),
        ("io-threads", config.node.threads.to_string()),
        ("maxclients", tunables.max_connections.to_string()),
        ("maxmemory", default.and_then(|p| p.max_memory_bytes).unwrap_or(0).to_string()),
        ("maxmemory-policy", policy.into()),
        ("port", shared.port.to_string()),
        ("proto-max-bulk-len", context.session.limits.max_bulk_bytes.to_string()),
        ("requirepass", tunables.password.unwrap_or_default()),
        ("save", String::new()),
        ("timeout", tunables.idle_timeout.map_or(0, |t| t.as_secs()).to_string()),
    ]
}

pub(super) fn get(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let patterns: Vec<Vec<u8>> = args[2..].iter().map(|p| p.to_ascii_lowercase()).collect();
    let mut found = parameters(context);
    found.retain(|(name, _)| patterns.iter().any(|p| matches(p, name.as_bytes())));
    out.map(found.len());
    for (name, value) in found {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    }
}

pub(super) fn set(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let pairs = &args[2..];
    if !pairs.len().is_multiple_of(2) {
        return out.error("ERR wrong number of arguments for 'config|set' command");
    }
    // All or nothing: checked on a copy first.
    let mut changed = context.shared.tunables.read().clone();
    for pair in pairs.chunks_exact(2) {
        let name = String::from_utf8_lossy(pair[0]).to_ascii_lowercase();
        let number = |least: i64| {
            integer(pair[1]).filter(|n| *n >= least).ok_or_else(|| {
                format!(
                    "ERR CONFIG SET failed (possibly related to argument '{name}') - argument must be an integer of at least {least}"
                )
            })
        };
        let done = match name.as_str() {
            "maxclients" => number(1).map(|n| changed.max_connections = n as usize),
            "timeout" => number(0).map(|n| {
                changed.idle_timeout = (n > 0).then(|| Duration::from_secs(n as u64));
            }),
            "requirepass" => match std::str::from_utf8(pair[1]) {
                Ok(password) => {
                    changed.password = (!password.is_empty()).then(|| password.to_owned());
                    Ok(())
                }
                Err(_) => Err("ERR CONFIG SET failed (possibly related to argument 'requirepass') - argument must be UTF-8".into()),
            },
            // What clients set to what it is anyway.
            "save" if pair[1].is_empty() => Ok(()),
            "appendonly" if pair[1].eq_ignore_ascii_case(b"no") => Ok(()),
            "maxmemory" | "maxmemory-policy" => Err(format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - a store's policies belong to the whole cluster: PATCH /api/stores/default"
            )),
            _ if parameters(context).iter().any(|(known, _)| *known == name) => Err(format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - can't set immutable config"
            )),
            _ => Err(format!("ERR Unknown option or number of arguments for CONFIG SET - '{}'", name.escape_debug())),
        };
        if let Err(text) = done {
            return out.error(&text);
        }
    }
    *context.shared.tunables.write() = changed;
    out.simple("OK");
}
