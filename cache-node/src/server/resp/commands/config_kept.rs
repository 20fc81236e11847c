//! Parameters that tune the inside of Redis and have nothing to tune here. Tools and start scripts
//! set them, so CONFIG SET takes what Redis would take, and CONFIG GET shows it; nothing else follows
//! from it. `docs/compatibility.md` lists them.

/// What a parameter's value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `yes` or `no`.
    YesNo,
    /// A whole number within bounds.
    Number(i64, i64),
    /// A number of bytes, with a unit if it likes.
    Bytes,
    /// One of some words.
    OneOf(&'static [&'static str]),
}

/// A parameter that is kept and changes nothing.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// Its name.
    pub name: &'static str,
    /// Another name for the same.
    pub alias: Option<&'static str>,
    /// What it is before it is set: Redis's default.
    pub default: &'static str,
    /// What it may be.
    pub kind: Kind,
}

const fn kept(name: &'static str, default: &'static str, kind: Kind) -> Kept {
    Kept { name, alias: None, default, kind }
}

const fn aliased(
    name: &'static str,
    alias: &'static str,
    default: &'static str,
    kind: Kind,
) -> Kept {
    Kept { name, alias: Some(alias), default, kind }
}

const COUNT: Kind = Kind::Number(0, i64::MAX);
const PERCENT: Kind = Kind::Number(0, 100);

/// All of them, by name.
pub const ALL: &[Kept] = &[
    // How memory is used: the thresholds of encodings are fixed here.
    kept("active-expire-effort", "1", Kind::Number(1, 10)),
    kept("activedefrag", "no", Kind::YesNo),
    kept("activerehashing", "yes", Kind::YesNo),
    kept("client-query-buffer-limit", "1073741824", Kind::Bytes),
    kept("dynamic-hz", "yes", Kind::YesNo),
    aliased("hash-max-listpack-entries", "hash-max-ziplist-entries", "512", COUNT),
    aliased("hash-max-listpack-value", "hash-max-ziplist-value", "64", COUNT),
    kept("hll-sparse-max-bytes", "3000", COUNT),
    kept("hz", "10", Kind::Number(1, 500)),
    kept("jemalloc-bg-thread", "yes", Kind::YesNo),
    // Large values always go in the background.
    kept("lazyfree-lazy-eviction", "yes", Kind::YesNo),
    kept("lazyfree-lazy-expire", "yes", Kind::YesNo),
    kept("lazyfree-lazy-server-del", "yes", Kind::YesNo),
    kept("lazyfree-lazy-user-del", "yes", Kind::YesNo),
    kept("lazyfree-lazy-user-flush", "yes", Kind::YesNo),
    kept("lfu-decay-time", "1", COUNT),
    kept("lfu-log-factor", "10", COUNT),
    kept("list-compress-depth", "0", COUNT),
    aliased(
        "list-max-listpack-size",
        "list-max-ziplist-size",
        "-2",
        Kind::Number(i32::MIN as i64, i32::MAX as i64),
    ),
    kept("maxmemory-eviction-tenacity", "10", PERCENT),
    kept("maxmemory-samples", "5", Kind::Number(1, 64)),
    kept("sanitize-dump-payload", "no", Kind::OneOf(&["no", "yes", "clients"])),
    kept("set-max-intset-entries", "512", COUNT),
    kept("set-max-listpack-entries", "128", COUNT),
    kept("set-max-listpack-value", "64", COUNT),
    kept("tcp-keepalive", "300", COUNT),
    aliased("zset-max-listpack-entries", "zset-max-ziplist-entries", "128", COUNT),
    aliased("zset-max-listpack-value", "zset-max-ziplist-value", "64", COUNT),
];

/// The parameter of that name or alias.
pub fn find(name: &str) -> Option<&'static Kept> {
    ALL.iter().find(|kept| kept.name == name || kept.alias == Some(name))
}

impl Kept {
    /// The value as it is kept.
    ///
    /// # Errors
    /// What is wrong with it, in Redis's words.
    pub fn read(&self, value: &[u8]) -> Result<String, String> {
        let text = String::from_utf8_lossy(value).to_ascii_lowercase();
        match self.kind {
            Kind::YesNo if matches!(&text[..], "yes" | "no") => Ok(text),
            Kind::YesNo => Err("argument must be 'yes' or 'no'".into()),
            Kind::Number(least, most) => number(value, least, most).map(|n| n.to_string()),
            Kind::Bytes => crate::config::units::parse_size(&text)
                .map(|bytes| bytes.to_string())
                .map_err(|_| "argument must be a memory value".into()),
            Kind::OneOf(words) if words.contains(&&text[..]) => Ok(text),
            Kind::OneOf(words) => {
                Err(format!("argument(s) must be one of the following: {}", words.join(", ")))
            }
        }
    }
}

/// A whole number within bounds.
///
/// # Errors
/// What is wrong with it, in Redis's words.
pub fn number(value: &[u8], least: i64, most: i64) -> Result<i64, String> {
    match super::integer(value) {
        None => Err("argument couldn't be parsed into an integer".into()),
        Some(n) if n >= least && n <= most => Ok(n),
        Some(_) => Err(format!("argument must be between {least} and {most} inclusive")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_and_every_name_is_there_once() {
        let mut names: Vec<&str> =
            ALL.iter().flat_map(|k| [Some(k.name), k.alias]).flatten().collect();
        for kept in ALL {
            assert_eq!(
                kept.read(kept.default.as_bytes()),
                Ok(kept.default.to_owned()),
                "{}",
                kept.name
            );
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn values_that_redis_refuses_are_refused() {
        let read = |name, value: &str| find(name).unwrap().read(value.as_bytes());
        assert_eq!(read("hz", "0").unwrap_err(), "argument must be between 1 and 500 inclusive");
        assert_eq!(read("hz", "x").unwrap_err(), "argument couldn't be parsed into an integer");
        assert_eq!(read("activedefrag", "maybe").unwrap_err(), "argument must be 'yes' or 'no'");
        assert_eq!(read("client-query-buffer-limit", "1mb").unwrap(), "1048576");
        assert_eq!(read("hash-max-ziplist-value", "7").unwrap(), "7");
    }
}
