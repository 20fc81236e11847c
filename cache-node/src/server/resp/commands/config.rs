//! CONFIG GET and CONFIG SET, for the parameters of Redis's that have a meaning here.

use std::sync::Arc;
use std::time::Duration;

use hypercache_core::keyspace::EventClasses;
use hypercache_core::resp::Writer;
use hypercache_core::store::{DEFAULT_STORE, EvictionPolicy, StorePolicy};

use super::Context;
use super::config_disk;
use super::config_kept::{self, number};
use crate::config::{Secret, log_level, units};
use crate::server::resp::Tunables;
use hypercache_core::command::matches;

/// Every parameter with its value in force, by Redis's names.
fn parameters(context: &Context<'_>) -> Vec<(&'static str, String)> {
    let mut all = own_parameters(context);
    let tunables = context.shared.tunables.read();
    for kept in config_kept::ALL {
        let value =
            tunables.kept.get(kept.name).cloned().unwrap_or_else(|| kept.default.to_owned());
        if let Some(alias) = kept.alias {
            all.push((alias, value.clone()));
        }
        all.push((kept.name, value));
    }
    all.sort_unstable_by_key(|(name, _)| *name);
    all
}

/// Those that have a meaning here.
fn own_parameters(context: &Context<'_>) -> Vec<(&'static str, String)> {
    let shared = context.shared;
    let tunables = shared.tunables.read().clone();
    let policies = shared.keyspace().policies();
    let default = policies.iter().find(|p| p.number == 0);
    let policy = default.map_or("noeviction", |p| p.eviction_policy.redis_name());
    let databases = policies.iter().map(|p| p.number).max().unwrap_or(0) + 1;
    let config = &shared.config;
    let dir = config.node.data_dir.as_ref().map(|d| d.display().to_string());
    let durability = default.map(|policy| policy.durability.clone()).unwrap_or_default();
    let mut all = config_disk::parameters(&durability).to_vec();
    all.extend([
        ("busy-reply-threshold", shared.router.scripts().time_limit_ms().to_string()),
        ("bind", config.network.bind.to_string()),
        ("client-output-buffer-limit", output_limits(context)),
        ("cluster-announce-hostname", config.network.advertise.clone()),
        ("cluster-enabled", "yes".into()),
        ("commandlog-execution-slower-than", or_minus_one(tunables.thresholds.slowlog_us)),
        ("commandlog-large-reply-max-len", tunables.thresholds.reply_entries.to_string()),
        ("commandlog-large-request-max-len", tunables.thresholds.request_entries.to_string()),
        ("commandlog-reply-larger-than", or_minus_one(tunables.thresholds.reply_bytes)),
        ("commandlog-request-larger-than", or_minus_one(tunables.thresholds.request_bytes)),
        ("commandlog-slow-execution-max-len", tunables.thresholds.slowlog_entries.to_string()),
        ("daemonize", "no".into()),
        ("databases", databases.to_string()),
        ("dir", dir.unwrap_or_default()),
        ("loglevel", level_word(shared.levels.level())),
        ("lua-time-limit", shared.router.scripts().time_limit_ms().to_string()),
        ("io-threads", config.node.threads.to_string()),
        ("latency-monitor-threshold", tunables.thresholds.latency_ms.to_string()),
        ("latency-tracking", yes_no(tunables.thresholds.spread)),
        ("latency-tracking-info-percentiles", tunables.percentiles.join(" ")),
        ("maxclients", tunables.max_connections.to_string()),
        ("maxmemory", default.and_then(|p| p.max_memory_bytes).unwrap_or(0).to_string()),
        ("maxmemory-policy", policy.into()),
        ("notify-keyspace-events", tunables.keyspace_events.letters()),
        ("port", shared.port.to_string()),
        ("proto-max-bulk-len", tunables.max_bulk_bytes.to_string()),
        // Who replicates what is the cluster's to assign.
        ("replicaof", String::new()),
        ("requirepass", tunables.password.map_or_else(String::new, |p| p.expose().to_owned())),
        ("slaveof", String::new()),
        ("slowlog-log-slower-than", or_minus_one(tunables.thresholds.slowlog_us)),
        ("slowlog-max-len", tunables.thresholds.slowlog_entries.to_string()),
        ("timeout", tunables.idle_timeout.map_or(0, |t| t.as_secs()).to_string()),
    ]);
    all
}

/// A threshold, or Redis's word for none.
fn or_minus_one(threshold: Option<u64>) -> String {
    threshold.map_or(-1, |n| n as i64).to_string()
}

fn yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

/// The bounds of what waits for subscribers; the other classes of clients wait for their own replies.
fn output_limits(context: &Context<'_>) -> String {
    let limits = &context.shared.tunables.read().output;
    limits
        .iter()
        .map(|(class, [hard, soft, seconds])| format!("{class} {hard} {soft} {seconds}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// CONFIG REWRITE: the file is the operator's or a person's, and what holds for the whole cluster stands
/// in the cluster's table anyway.
pub(super) fn rewrite(out: &mut Writer<'_>) {
    out.error(
        "ERR CONFIG REWRITE is not supported: this member does not write its configuration file. Change the \
         file, or the custom resource; the policies of stores are kept by the cluster",
    );
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
        name.eq_ignore_ascii_case(b"maxmemory")
            || name.eq_ignore_ascii_case(b"maxmemory-policy")
            || config_disk::is_policy(name)
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
    let default = default_store(context);
    if let Some(policy) = changed.policy.clone().filter(|policy| Some(policy) != default.as_ref())
        && let Err(error) = context.shared.router.cluster().change_store(policy).await
    {
        return out.error(&format!("ERR CONFIG SET failed - {error}"));
    }
    changed.apply(context);
    out.simple("OK");
}

/// The policy of the store `default`, as it is asked for; `None`: there is no cluster yet.
fn default_store(context: &Context<'_>) -> Option<StorePolicy> {
    let state = &context.view.state;
    state.store_named(DEFAULT_STORE).map(|store| state.asked_for(store))
}

/// Puts what was set in force.
fn apply(context: &Context<'_>, tunables: Tunables) {
    context.shared.stats.watch.set(tunables.thresholds);
    context.shared.keyspace().notices().set_classes(tunables.keyspace_events);
    if let Some((_, limits)) = tunables.output.iter().find(|(class, _)| *class == "pubsub") {
        context.shared.pubsub.limits().set(*limits);
    }
    *context.shared.tunables.write() = tunables;
}

/// What a CONFIG SET that is in order changes.
struct Changed {
    tunables: Tunables,
    policy: Option<StorePolicy>,
    script_time_limit_ms: Option<u64>,
    log_level: Option<String>,
}

impl Changed {
    /// What is this member's own.
    fn apply(self, context: &Context<'_>) {
        apply(context, self.tunables);
        if let Some(limit_ms) = self.script_time_limit_ms {
            context.shared.router.scripts().set_time_limit_ms(limit_ms);
        }
        if let Some(level) = self.log_level
            && let Err(error) = context.shared.levels.set(&level)
        {
            tracing::error!(action = "log-level-not-set", %error, "the log has its level still");
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
    let default = default_store(context);
    let mut policy = None;
    let (mut script_time_limit_ms, mut log_level) = (None, None);
    let mut names = std::collections::BTreeSet::new();
    for pair in pairs.chunks_exact(2) {
        let name = String::from_utf8_lossy(pair[0]).to_ascii_lowercase();
        let refuse = |why: &str| {
            format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
        };
        if !names.insert(name.clone()) {
            return Err(refuse("duplicate parameter"));
        }
        let whole =
            |least: i64, most: i64| number(pair[1], least, most).map_err(|why| refuse(&why));
        let store = |policy: &mut Option<StorePolicy>| {
            policy
                .take()
                .or_else(|| default.clone())
                .ok_or_else(|| refuse("there is no cluster yet"))
        };
        match name.as_str() {
            "maxclients" => tunables.max_connections = whole(1, 0xffff_ffff)? as usize,
            "slowlog-log-slower-than" | "commandlog-execution-slower-than" => {
                tunables.thresholds.slowlog_us = u64::try_from(whole(-1, i64::MAX)?).ok();
            }
            "slowlog-max-len" | "commandlog-slow-execution-max-len" => {
                tunables.thresholds.slowlog_entries = whole(0, i64::MAX)? as usize;
            }
            "commandlog-request-larger-than" => {
                tunables.thresholds.request_bytes = u64::try_from(whole(-1, i64::MAX)?).ok();
            }
            "commandlog-large-request-max-len" => {
                tunables.thresholds.request_entries = whole(0, i64::MAX)? as usize;
            }
            "commandlog-reply-larger-than" => {
                tunables.thresholds.reply_bytes = u64::try_from(whole(-1, i64::MAX)?).ok();
            }
            "commandlog-large-reply-max-len" => {
                tunables.thresholds.reply_entries = whole(0, i64::MAX)? as usize;
            }
            "latency-monitor-threshold" => {
                tunables.thresholds.latency_ms = whole(0, i64::MAX)? as u64;
            }
            "latency-tracking" => tunables.thresholds.spread = flag(pair[1]).map_err(refuse)?,
            "latency-tracking-info-percentiles" => {
                tunables.percentiles = percentiles(pair[1]).map_err(refuse)?;
            }
            "client-output-buffer-limit" => {
                set_output_limits(&mut tunables.output, pair[1]).map_err(refuse)?;
            }
            "proto-max-bulk-len" => {
                let word = String::from_utf8_lossy(pair[1]).into_owned();
                let bytes = units::parse_size(&word)
                    .map_err(|_| refuse("argument must be a memory value"))?;
                if !(1 << 20..=MOST_BULK_BYTES).contains(&bytes) {
                    return Err(refuse(&format!(
                        "argument must be between {} and {MOST_BULK_BYTES} inclusive",
                        1 << 20
                    )));
                }
                tunables.max_bulk_bytes = bytes as usize;
            }
            "notify-keyspace-events" => {
                let classes = std::str::from_utf8(pair[1]).ok().and_then(EventClasses::parse);
                tunables.keyspace_events = classes.ok_or_else(|| {
                    refuse("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
                })?;
            }
            "timeout" => {
                let seconds = whole(0, i64::from(i32::MAX))? as u64;
                tunables.idle_timeout = (seconds > 0).then(|| Duration::from_secs(seconds));
            }
            "requirepass" => {
                let password =
                    std::str::from_utf8(pair[1]).map_err(|_| refuse("argument must be UTF-8"))?;
                tunables.password = (!password.is_empty()).then(|| Secret::new(password));
            }
            "loglevel" => log_level = Some(level_of(pair[1]).map_err(|why| refuse(&why))?),
            "lua-time-limit" | "busy-reply-threshold" => {
                script_time_limit_ms = Some(whole(1, i64::MAX)? as u64);
            }
            _ if config_disk::is_policy(pair[0]) => {
                let mut changed = store(&mut policy)?;
                let has_directory = context.shared.config.node.data_dir.is_some();
                config_disk::set(&mut changed.durability, &name, pair[1], has_directory)
                    .map_err(|why| refuse(&why))?;
                changed.validate().map_err(|invalid| refuse(&invalid.message))?;
                policy = Some(changed);
            }
            // What clients set to what it is anyway.
            "no-appendfsync-on-rewrite" if pair[1].eq_ignore_ascii_case(b"no") => {}
            // So are these, which only the file can change.
            "bind" | "dir" | "port" | "io-threads" | "cluster-announce-hostname"
                if own_parameters(context)
                    .iter()
                    .any(|(known, value)| *known == name && value.as_bytes() == pair[1]) => {}
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
            _ if let Some(kept) = config_kept::find(&name) => {
                let value = kept.read(pair[1]).map_err(|why| refuse(&why))?;
                let changed = Arc::make_mut(&mut tunables.kept);
                changed.insert(kept.name, value);
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
    Ok(Changed { tunables, policy, script_time_limit_ms, log_level })
}

/// What a bulk string may be at the most: what a request between members holds.
const MOST_BULK_BYTES: u64 = 512 << 20;

/// Redis's words for levels, beside our own.
const LEVELS: [(&str, &str); 3] = [("notice", "info"), ("warning", "warn"), ("nothing", "off")];

/// What a level is in Redis's word for it.
fn level_word(level: String) -> String {
    match LEVELS.iter().find(|(_, own)| *own == level) {
        Some((word, _)) => (*word).to_owned(),
        None => level,
    }
}

/// The level, or levels by part, that a word says.
fn level_of(word: &[u8]) -> Result<String, String> {
    let word = String::from_utf8_lossy(word).to_ascii_lowercase();
    match LEVELS.iter().find(|(of, _)| *of == word) {
        Some((_, own)) => Ok((*own).to_owned()),
        None if word == "verbose" => Ok("debug".to_owned()),
        None => log_level(&word),
    }
}

fn flag(word: &[u8]) -> Result<bool, &'static str> {
    match &word.to_ascii_lowercase()[..] {
        b"yes" => Ok(true),
        b"no" => Ok(false),
        _ => Err("argument must be 'yes' or 'no'"),
    }
}

/// Percentiles as INFO latencystats shows them.
fn percentiles(words: &[u8]) -> Result<Vec<String>, &'static str> {
    const MOST: usize = 32;
    let words = String::from_utf8_lossy(words);
    let read: Option<Vec<String>> = words
        .split_ascii_whitespace()
        .map(|word| {
            let percent: f64 = word.parse().ok()?;
            (0.0..=100.0).contains(&percent).then(|| percent.to_string())
        })
        .collect();
    read.filter(|percents| percents.len() <= MOST)
        .ok_or("latency-tracking-info-percentiles contains a value that is not a percentile from 0.0 to 100.0")
}

/// Limits by class: `class hard soft seconds`, four words for each class that changes.
fn set_output_limits(
    limits: &mut [(&'static str, [u64; 3]); 3],
    words: &[u8],
) -> Result<(), &'static str> {
    let words = String::from_utf8_lossy(words).to_ascii_lowercase();
    let words: Vec<&str> = words.split_ascii_whitespace().collect();
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.");
    }
    for four in words.chunks_exact(4) {
        let class = match four[0] {
            "replica" => "slave",
            class => class,
        };
        let Some((_, limit)) = limits.iter_mut().find(|(name, _)| *name == class) else {
            return Err("Invalid client class specified in buffer limit configuration.");
        };
        let wrong = "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
        let bytes = |word: &str| units::parse_size(word).map_err(|_| wrong);
        *limit = [bytes(four[1])?, bytes(four[2])?, four[3].parse().map_err(|_| wrong)?];
    }
    Ok(())
}
