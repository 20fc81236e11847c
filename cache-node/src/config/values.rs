//! How single values are read. Each function's error says what would be right.

use std::net::IpAddr;
use std::path::PathBuf;

use hypercache_core::cluster::{MIN_MOVE_BYTES_PER_SECOND, PROTOCOLS, Protocol};
use hypercache_core::keyspace::EventClasses;
use hypercache_core::store::{Acks, EvictionPolicy, FilterRate};

use super::error::nearest;
use super::secret::{HIDDEN, Secret};
use super::units::parse_duration;

/// A whole number within bounds.
pub fn number<T>(what: &'static str, min: T, max: T) -> impl Fn(&str) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    move |text| match text.parse::<T>() {
        Ok(n) if n >= min && n <= max => Ok(n),
        _ => Err(format!("'{text}' is not {what}: write a whole number from {min} to {max}")),
    }
}

/// A port; 0 lets the system pick a free one.
pub fn port(text: &str) -> Result<u16, String> {
    number("a port", 0, u16::MAX)(text)
}

/// A port, or `none`.
pub fn port_or_none(text: &str) -> Result<Option<u16>, String> {
    match text {
        "none" => Ok(None),
        _ => port(text).map(Some).map_err(|error| format!("{error}, or 'none'")),
    }
}

/// `true` or `false`.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("'{text}' is neither true nor false")),
    }
}

/// An IP address to listen on.
pub fn address(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| {
        format!(
            "'{text}' is not an IP address: write 127.0.0.1 for this machine only, 0.0.0.0 or '::' for every interface"
        )
    })
}

/// Classes of keyspace events, by Redis's letters.
pub fn event_classes(text: &str) -> Result<EventClasses, String> {
    EventClasses::parse(text).ok_or_else(|| {
        format!(
            "'{text}' has a letter that names no class of events: write some of 'Ag$lshzxeKEtmdn'"
        )
    })
}

/// A name of a member or cluster: what fits in a host name, a label and a log line.
pub fn name(text: &str) -> Result<String, String> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if first && text.len() <= 253 && text.bytes().all(inner) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "'{text}' is not a name: a letter or digit, then letters, digits, '-', '_', '.'; 253 at most"
        ))
    }
}

/// A host name or an IP address, without a port.
pub fn host(text: &str) -> Result<String, String> {
    if let Ok(ip) = address(text) {
        if ip.is_unspecified() {
            return Err(format!(
                "'{text}' is no address that others can reach: write this member's own"
            ));
        }
        return Ok(ip.to_string());
    }
    name(text).map_err(|_| {
        format!("'{text}' is not a host: write a name or an IP address, without a port")
    })
}

/// `HOST:PORT`, an IPv6 address in brackets.
pub fn host_and_port(text: &str) -> Result<String, String> {
    let wrong = || format!("'{text}' is not HOST:PORT, such as demo-0.demo:7946 or [::1]:7946");
    let (name, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bracketed = name.starts_with('[') && name.ends_with(']');
    if (name.contains(':') && !bracketed) || host(name).is_err() {
        return Err(wrong());
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(text.to_owned()),
        _ => Err(wrong()),
    }
}

/// A directory.
pub fn directory(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        return Err("is not a directory's path: leave the key out to keep nothing on disk".into());
    }
    Ok(PathBuf::from(text))
}

/// The memory of a script; enough for the interpreter to work in.
pub fn script_memory(text: &str) -> Result<usize, String> {
    const LEAST: u64 = 1 << 20;
    const MOST: u64 = 4 << 30;
    match super::units::parse_size(text)? {
        bytes @ LEAST..=MOST => Ok(bytes as usize),
        _ => Err(format!("'{text}' is not a script's memory: write a size from 1MB to 4GB")),
    }
}

/// A duration that must not be zero.
pub fn positive_duration(min_ms: u64) -> impl Fn(&str) -> Result<u64, String> {
    move |text| {
        let ms = parse_duration(text)?;
        let least = super::units::format_duration(min_ms);
        (ms >= min_ms)
            .then_some(ms)
            .ok_or_else(|| format!("'{text}' is too short: {least} at least"))
    }
}

/// A lifetime; zero is none.
pub fn lifetime(text: &str) -> Result<Option<u64>, String> {
    parse_duration(text).map(|ms| (ms > 0).then_some(ms))
}

/// A budget; zero is none.
pub fn budget(text: &str) -> Result<Option<u64>, String> {
    match super::units::parse_size(text)? {
        0 => Ok(None),
        bytes if bytes < 1 << 20 => {
            Err(format!("'{text}' is too small: 1MB at least, or 0 for no bound"))
        }
        bytes => Ok(Some(bytes)),
    }
}

/// What the process may hold; zero: whatever the system allows.
pub fn memory_limit(text: &str) -> Result<Option<u64>, String> {
    match super::units::parse_size(text)? {
        0 => Ok(None),
        bytes if bytes < 64 << 20 => {
            Err(format!("'{text}' is too small: 64MB at least, or 0 for what the system allows"))
        }
        bytes => Ok(Some(bytes)),
    }
}

/// What goes from a member to another one in a second while slots are on their way.
pub fn move_rate(text: &str) -> Result<u64, String> {
    match super::units::parse_size(text)? {
        bytes if bytes < MIN_MOVE_BYTES_PER_SECOND => {
            Err(format!("'{text}' is too small: 64KB a second at least"))
        }
        bytes => Ok(bytes),
    }
}

/// In how much time all slots are compared with their copies once; zero is never.
pub fn check_interval(text: &str) -> Result<u64, String> {
    match parse_duration(text)? {
        1..1000 => Err(format!("'{text}' is too short: 1s at least, or 0 for never")),
        ms => Ok(ms),
    }
}

/// A version in which members speak with each other.
pub fn protocol(text: &str) -> Result<Protocol, String> {
    number("a protocol of this release", *PROTOCOLS.start(), *PROTOCOLS.end())(text)
}

/// An eviction policy that works.
pub fn eviction_policy(text: &str) -> Result<EvictionPolicy, String> {
    if let Some(policy) = EvictionPolicy::parse(text) {
        return Ok(policy);
    }
    let words = EvictionPolicy::ALL.map(|(word, _)| word);
    let known = words.join(", ");
    Err(match nearest(text, words) {
        Some(near) => format!("'{text}' is not an eviction policy; did you mean '{near}'?"),
        None => format!("'{text}' is not an eviction policy; what works: {known}"),
    })
}

/// How many members have a write before it is answered.
pub fn acks(text: &str) -> Result<Acks, String> {
    let words = Acks::ALL.map(|(word, _)| word).join(", ");
    Acks::parse(text).ok_or_else(|| format!("'{text}' is not one of: {words}"))
}

/// A rate of false positives.
pub fn filter_rate(text: &str) -> Result<FilterRate, String> {
    let rate = text.parse().ok().and_then(|rate| FilterRate::new(rate).ok());
    rate.ok_or_else(|| format!("'{text}' is not a rate of false positives: write 0.001 to 0.1"))
}

/// A store's filter in one word: on, off, or on with a rate.
pub fn filter(text: &str) -> Result<Option<FilterRate>, String> {
    match (boolean(text), filter_rate(text)) {
        (Ok(enabled), _) => Ok(enabled.then(FilterRate::default)),
        (_, Ok(rate)) => Ok(Some(rate)),
        _ => Err(format!(
            "'{text}' is no setting of a filter: write true, false or a rate of false positives from 0.001 to 0.1"
        )),
    }
}

/// A password or key.
pub fn secret(text: &str) -> Result<Secret, String> {
    match text {
        "" => Err("is empty: leave the key out to have none".into()),
        HIDDEN => Err(format!(
            "'{HIDDEN}' only stands for a secret in what is shown: write the secret itself"
        )),
        _ => Ok(Secret::new(text)),
    }
}

/// A log level, or directives such as `info,hypercache::raft=debug`.
pub fn log_level(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    for directive in text.split(',') {
        let (target, level) =
            directive.rsplit_once('=').map_or((None, directive), |(t, l)| (Some(t), l));
        let target_ok = target.is_none_or(|t| {
            !t.is_empty()
                && t.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'))
        });
        if !target_ok || !LEVELS.contains(&level.trim().to_ascii_lowercase().as_str()) {
            return Err(format!(
                "'{directive}' is not a log level: write {}, or one for a part, such as info,hypercache::raft=debug",
                LEVELS.join(", ")
            ));
        }
    }
    Ok(text.to_owned())
}

/// Where spans or metrics go: an `http` URL.
pub fn endpoint(text: &str) -> Result<String, String> {
    if text.starts_with("https://") {
        return Err("https comes with a later version: send to an http endpoint, such as a collector beside the member".into());
    }
    let host = text.strip_prefix("http://").map(|rest| rest.split('/').next().unwrap_or_default());
    if host.is_none_or(|h| h.is_empty() || text.contains(char::is_whitespace)) {
        return Err(format!(
            "'{text}' is not a URL: write http://HOST:4318, or the whole path that takes them"
        ));
    }
    Ok(text.to_owned())
}

/// Where backups go.
pub fn backup_url(text: &str) -> Result<String, String> {
    crate::backup::Place::parse(text).map(|_| text.to_owned())
}

/// Where object storage answers: a URL without a path.
pub fn s3_endpoint(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let host = host.map(|rest| rest.trim_end_matches('/'));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', ' ', '@']) => Ok(text.to_owned()),
        _ => Err(format!("'{text}' is no address of object storage: write https://HOST[:PORT]")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_hosts_and_ports_are_checked() {
        assert!(address("0.0.0.0").is_ok() && address("::1").is_ok() && address("[::]").is_ok());
        assert!(address("localhost").is_err_and(|e| e.contains("127.0.0.1")));
        assert!(host("0.0.0.0").is_err() && host("demo:1").is_err() && host("").is_err());
        assert_eq!(host("10.0.0.7").as_deref(), Ok("10.0.0.7"));
        for good in ["a:1", "demo-0.demo.default.svc:7946", "[::1]:7946", "10.0.0.1:65535"] {
            assert!(host_and_port(good).is_ok(), "{good}");
        }
        for bad in ["a", "a:", ":1", "a:0", "a:65536", "::1:7946", "a b:1", "http://a:1"] {
            assert!(host_and_port(bad).is_err(), "{bad}");
        }
        assert!(port("0").is_ok() && port("65536").is_err_and(|e| e.contains("65535")));
    }

    #[test]
    fn an_eviction_policy_that_is_none_names_those_that_are_and_a_slip_is_understood() {
        assert!(eviction_policy("session").is_ok() && eviction_policy("wtinylfu").is_ok());
        assert!(eviction_policy("LRU").is_err_and(|e| e.contains("did you mean 'lru'")));
        assert!(eviction_policy("clairvoyant").is_err_and(|e| e.contains("noeviction")));
    }

    #[test]
    fn log_levels_may_differ_by_part() {
        assert!(log_level("info").is_ok() && log_level("info,hypercache::raft=debug").is_ok());
        for bad in ["", "loud", "info,", "=debug", "hypercache::raft"] {
            assert!(log_level(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_hidden_secret_is_not_taken_for_the_secret() {
        assert!(secret("<hidden>").is_err() && secret("").is_err());
        assert_eq!(format!("{:?}", secret("s3cret").unwrap()), "<hidden>");
    }

    #[test]
    fn an_endpoint_is_an_http_url() {
        assert!(endpoint("http://otel:4318").is_ok());
        assert!(endpoint("https://otel:4318").is_err_and(|e| e.contains("later")));
        assert!(endpoint("otel:4318").is_err() && endpoint("http:///x").is_err());
    }
}
