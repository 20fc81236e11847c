//! CONFIG GET and CONFIG SET, for the parameters of Redis's that have a meaning here.

use std::time::Duration;

use hypercache_core::resp::Writer;
use hypercache_core::store::{DEFAULT_STORE, EvictionPolicy, StorePolicy};

use super::{Context, integer};
use crate::config::{Secret, units};
use crate::server::resp::Tunables;
use hypercache_core::command::matches;

/// The bounds of [`crate::pubsub::Outbox`]; the other classes of clients wait for their own replies.
const OUTPUT_LIMITS: &str = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";

/// Every parameter with its value in force, by Redis's names.
fn parameters(context: &Context<'_>) -> Vec<(&'static str, String)> {
    let shared = context.shared;
    let tunables = shared.tunables.read().clone();
    let policies = shared.keyspace().policies();
    let default = policies.iter().find(|p| p.number == 0);
    let policy = default.map_or("noeviction", |p| p.eviction_policy.redis_name());
    let databases = policies.iter().map(|p| p.number).max().unwrap_or(0) + 1;
    let config = &shared.config;
    let dir = config.node.data_dir.as_ref().map(|d| d.display().to_string());
    vec![
        ("appendonly", "no".into()),
        ("busy-reply-threshold", shared.router.scripts().time_limit_ms().to_string()),
        ("bind", config.network.bind.to_string()),
        ("client-output-buffer-limit", OUTPUT_LIMITS.into()),
        ("cluster-announce-hostname", config.network.advertise.clone()),
        ("cluster-enabled", "yes".into()),
        ("databases", databases.to_string()),
        ("dir", dir.unwrap_or_default()),
        ("lua-time-limit", shared.router.scripts().time_limit_ms().to_string()),
        ("io-threads", config.node.threads.to_string()),
        ("maxclients", tunables.max_connections.to_string()),
        ("maxmemory", default.and_then(|p| p.max_memory_bytes).unwrap_or(0).to_string()),
        ("maxmemory-policy", policy.into()),
        ("port", shared.port.to_string()),
        ("proto-max-bulk-len", context.session.limits.max_bulk_bytes.to_string()),
        ("requirepass", tunables.password.map_or_else(String::new, |p| p.expose().to_owned())),
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

/// Whether a CONFIG SET changes a store's policies, which the whole cluster has to agree to.
pub(super) fn set_waits(args: &[&[u8]]) -> bool {
    args[2..].iter().step_by(2).any(|name| {
        name.eq_ignore_ascii_case(b"maxmemory") || name.eq_ignore_ascii_case(b"maxmemory-policy")
    })
}

/// Carries CONFIG SET out: all of it, or nothing.
pub(super) fn set(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    match check(context, args) {
        Ok(changed) => {
            changed.apply(context);
            out.simple("OK");
        }
        Err(text) => out.error(&text),
    }
}

/// As [`set`], and changes the policies of the store `default` in the cluster's table.
pub(super) async fn set_and_wait(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let changed = match check(context, args) {
        Ok(changed) => changed,
        Err(text) => return out.error(&text),
    };
    if let Some(policy) = changed.policy.clone()
        && let Err(error) = context.shared.router.cluster().change_store(policy).await
    {
        return out.error(&format!("ERR CONFIG SET failed - {error}"));
    }
    changed.apply(context);
    out.simple("OK");
}

/// What a CONFIG SET that is in order changes.
struct Changed {
    tunables: Tunables,
    policy: Option<StorePolicy>,
    script_time_limit_ms: Option<u64>,
}

impl Changed {
    /// What is this member's own.
    fn apply(self, context: &Context<'_>) {
        *context.shared.tunables.write() = self.tunables;
        if let Some(limit_ms) = self.script_time_limit_ms {
            context.shared.router.scripts().set_time_limit_ms(limit_ms);
        }
    }
}

/// A policy by Redis's name or by ours.
fn policy_of(word: &[u8]) -> Option<EvictionPolicy> {
    let word = std::str::from_utf8(word).ok()?.to_ascii_lowercase();
    let mut all = EvictionPolicy::ALL.into_iter();
    all.find(|(own, policy)| *own == word || policy.redis_name() == word).map(|(_, policy)| policy)
}

fn check(context: &Context<'_>, args: &[&[u8]]) -> Result<Changed, String> {
    let pairs = &args[2..];
    if !pairs.len().is_multiple_of(2) {
        return Err("ERR wrong number of arguments for 'config|set' command".into());
    }
    let mut tunables = context.shared.tunables.read().clone();
    let default = context.view.state.store_named(DEFAULT_STORE).cloned();
    let mut policy = None;
    let mut script_time_limit_ms = None;
    for pair in pairs.chunks_exact(2) {
        let name = String::from_utf8_lossy(pair[0]).to_ascii_lowercase();
        let refuse = |why: &str| {
            format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
        };
        let number = |least: i64| {
            let least_text = format!("argument must be an integer of at least {least}");
            integer(pair[1]).filter(|n| *n >= least).ok_or_else(|| refuse(&least_text))
        };
        let store = |policy: &mut Option<StorePolicy>| {
            policy
                .take()
                .or_else(|| default.clone())
                .ok_or_else(|| refuse("there is no cluster yet"))
        };
        match name.as_str() {
            "maxclients" => tunables.max_connections = number(1)? as usize,
            "timeout" => {
                let seconds = number(0)? as u64;
                tunables.idle_timeout = (seconds > 0).then(|| Duration::from_secs(seconds));
            }
            "requirepass" => {
                let password =
                    std::str::from_utf8(pair[1]).map_err(|_| refuse("argument must be UTF-8"))?;
                tunables.password = (!password.is_empty()).then(|| Secret::new(password));
            }
            "lua-time-limit" | "busy-reply-threshold" => {
                script_time_limit_ms = Some(number(1)? as u64);
            }
            // What clients set to what it is anyway.
            "save" if pair[1].is_empty() => {}
            "appendonly" if pair[1].eq_ignore_ascii_case(b"no") => {}
            "maxmemory" => {
                let word = String::from_utf8_lossy(pair[1]).into_owned();
                let bytes = units::parse_size(&word)
                    .map_err(|_| refuse("argument must be a memory value"))?;
                let mut changed = store(&mut policy)?;
                changed.max_memory_bytes = (bytes > 0).then_some(bytes);
                changed.validate().map_err(|invalid| refuse(&invalid.message))?;
                policy = Some(changed);
            }
            "maxmemory-policy" => {
                let mut changed = store(&mut policy)?;
                changed.eviction_policy = match policy_of(pair[1]) {
                    Some(policy) => policy,
                    None => {
                        let words = EvictionPolicy::ALL.map(|(_, p)| p.redis_name()).join(", ");
                        let why = format!("argument(s) must be one of the following: {words}");
                        return Err(refuse(&why));
                    }
                };
                policy = Some(changed);
            }
            _ if parameters(context).iter().any(|(known, _)| *known == name) => {
                return Err(refuse("can't set immutable config"));
            }
            _ => {
                let name = name.escape_debug();
                return Err(format!(
                    "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
                ));
            }
        }
    }
    Ok(Changed { tunables, policy, script_time_limit_ms })
}
