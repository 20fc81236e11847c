//! A store: a named database with policies of its own, and a number that `SELECT` takes.

mod acks;
mod durability;
mod durability_setting;
mod filter_rate;
mod kept;

pub use acks::{Acks, MAX_REPLICATION_FACTOR};
pub use durability::{Durability, Fsync, Mode};
pub use durability_setting::{DurabilityFields, DurabilitySetting};
pub use filter_rate::{FilterRate, FilterSetting, filter_setting};

use serde::{Deserialize, Serialize};

/// The number of a store, as `SELECT` takes it. Store 0 is `default` and always exists.
pub type StoreNumber = u16;

/// The name of store 0.
pub const DEFAULT_STORE: &str = "default";

/// The highest number that a store may have.
pub const MAX_STORE_NUMBER: StoreNumber = 1023;

/// What a store does when it is at its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EvictionPolicy {
    /// The least recently used key leaves first (as Redis's `allkeys-lru`).
    Lru,
    /// Nothing leaves: writes that need memory are answered `OOM`.
    NoEviction,
    /// The least frequently used key leaves first (as Redis's `allkeys-lfu`).
    Lfu,
    /// Keys of one session live and leave together; the session that was idle for longest leaves
    /// first. The store's default lifetime is a session's idle lifetime: every read or write of
    /// one of its keys extends it for all.
    Session,
    /// Any key leaves (as Redis's `allkeys-random`).
    Random,
    /// The key that ends soonest leaves first; where none ends, the least recently used one.
    Ttl,
    /// Keys that are used often stay, and newcomers must show that they are used more often than
    /// who is there: W-TinyLFU with a window that adapts to the load. Right for most stores.
    #[default]
    WTinyLfu,
}

impl EvictionPolicy {
    /// Every policy that works, by the word that configuration, HTTP and custom resources use.
    pub const ALL: [(&'static str, Self); 7] = [
        ("wtinylfu", Self::WTinyLfu),
        ("lru", Self::Lru),
        ("lfu", Self::Lfu),
        ("session", Self::Session),
        ("random", Self::Random),
        ("ttl", Self::Ttl),
        ("noeviction", Self::NoEviction),
    ];

    /// The name of Redis's `maxmemory-policy` that comes closest; those that Redis does not have
    /// keep their own.
    pub fn redis_name(self) -> &'static str {
        match self {
            Self::Lru => "allkeys-lru",
            Self::Lfu => "allkeys-lfu",
            Self::Random => "allkeys-random",
            Self::Ttl => "volatile-ttl",
            Self::Session | Self::WTinyLfu | Self::NoEviction => self.as_str(),
        }
    }

    /// The word for this policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lru => "lru",
            Self::NoEviction => "noeviction",
            Self::Lfu => "lfu",
            Self::Session => "session",
            Self::Random => "random",
            Self::Ttl => "ttl",
            Self::WTinyLfu => "wtinylfu",
        }
    }

    /// The policy that a word names, if there is one.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == word).map(|(_, policy)| *policy)
    }
}

/// The policies of one store: what the cluster's table holds and every member runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorePolicy {
    /// `[a-z][a-z0-9_-]{0,62}`, unique in the cluster.
    pub name: String,
    /// 0 to [`MAX_STORE_NUMBER`], unique in the cluster.
    pub number: StoreNumber,
    /// The budget on each member in bytes; `None` is unbounded.
    pub max_memory_bytes: Option<u64>,
    /// The lifetime of keys that are created without one, in milliseconds; `None` is for ever.
    pub default_ttl_ms: Option<u64>,
    /// What happens at the budget.
    pub eviction_policy: EvictionPolicy,
    /// Keys of database 0 that start with one of these belong to this store.
    pub key_prefixes: Vec<String>,
    /// The rate of false positives of the store's filter; `None`: it has no filter.
    pub filter: Option<FilterRate>,
    /// What of it is on disk.
    pub durability: Durability,
    /// How many members hold each key, 1 to [`MAX_REPLICATION_FACTOR`].
    pub replication_factor: u8,
    /// How many of them have a write before it is answered.
    pub acks: Acks,
    /// Made by the desired state that an operator sent, and kept as that says.
    pub managed: bool,
}

impl StorePolicy {
    /// A store with a name and number, and nothing bounded.
    pub fn new(name: impl Into<String>, number: StoreNumber) -> Self {
        Self {
            name: name.into(),
            number,
            max_memory_bytes: None,
            default_ttl_ms: None,
            eviction_policy: EvictionPolicy::default(),
            key_prefixes: Vec::new(),
            filter: None,
            durability: Durability::default(),
            replication_factor: 1,
            acks: Acks::default(),
            managed: false,
        }
    }

    /// Checks what one policy alone can get wrong.
    ///
    /// # Errors
    /// The field and what would be right.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut letters = self.name.bytes();
        let first = letters.next().is_some_and(|b| b.is_ascii_lowercase());
        let rest = letters
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
        if !first || !rest || self.name.len() > 63 {
            return Err(Invalid::new(
                "name",
                format!(
                    "'{}' is not a store name: a lower-case letter, then up to 62 of a-z, 0-9, '_' and '-'",
                    self.name
                ),
            ));
        }
        if self.number > MAX_STORE_NUMBER {
            return Err(Invalid::new(
                "number",
                format!("{} is over {MAX_STORE_NUMBER}", self.number),
            ));
        }
        if (self.number == 0) != (self.name == DEFAULT_STORE) {
            return Err(Invalid::new(
                "number",
                format!("number 0 and the name '{DEFAULT_STORE}' belong together"),
            ));
        }
        if self.number == 0 && !self.key_prefixes.is_empty() {
            return Err(Invalid::new(
                "key_prefixes",
                "the default store takes every key that no prefix routes".into(),
            ));
        }
        if self.key_prefixes.iter().any(String::is_empty) {
            return Err(Invalid::new(
                "key_prefixes",
                "an empty prefix would take every key".into(),
            ));
        }
        if self.max_memory_bytes.is_some_and(|b| b < 1024 * 1024) {
            return Err(Invalid::new(
                "max_memory_bytes",
                "a budget is at least 1048576 bytes (1MB)".into(),
            ));
        }
        if self.default_ttl_ms == Some(0) {
            return Err(Invalid::new(
                "default_ttl_ms",
                "a lifetime is at least 1 ms; leave it out for none".into(),
            ));
        }
        if let Some(rate) = self.filter {
            // A rate that was read from elsewhere did not pass `FilterRate::new`.
            FilterRate::new(rate.rate())?;
        }
        self.durability.validate()?;
        if !(1..=MAX_REPLICATION_FACTOR).contains(&self.replication_factor) {
            return Err(Invalid::new(
                "replication_factor",
                format!("{} is not one of 1 to {MAX_REPLICATION_FACTOR}", self.replication_factor),
            ));
        }
        Ok(())
    }
}

/// Checks what several policies can get wrong together: names, numbers and prefixes that are
/// taken twice.
///
/// # Errors
/// The first contradiction, with the field and the stores' names.
pub fn validate_all(policies: &[StorePolicy]) -> Result<(), Invalid> {
    for (i, policy) in policies.iter().enumerate() {
        policy.validate()?;
        for other in &policies[..i] {
            if other.name == policy.name {
                return Err(Invalid::new(
                    "name",
                    format!("two stores are named '{}'", policy.name),
                ));
            }
            if other.number == policy.number {
                return Err(Invalid::new(
                    "number",
                    format!(
                        "stores '{}' and '{}' both have number {}",
                        other.name, policy.name, policy.number
                    ),
                ));
            }
            if let Some(prefix) =
                policy.key_prefixes.iter().find(|p| other.key_prefixes.contains(p))
            {
                return Err(Invalid::new(
                    "key_prefixes",
                    format!(
                        "stores '{}' and '{}' both take prefix '{prefix}'",
                        other.name, policy.name
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// A policy that cannot be, with the field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{field}: {message}")]
pub struct Invalid {
    /// The field's name, as in [`StorePolicy`].
    pub field: String,
    /// What is wrong with it and what would be right.
    pub message: String,
}

impl Invalid {
    fn new(field: &str, message: String) -> Self {
        Self { field: field.into(), message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_known_by_their_words() {
        for (word, policy) in EvictionPolicy::ALL {
            assert_eq!(policy.as_str(), word);
            assert_eq!(EvictionPolicy::parse(word), Some(policy));
        }
        assert_eq!(EvictionPolicy::parse("allkeys-lru"), None);
    }
}
