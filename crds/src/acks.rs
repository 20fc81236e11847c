//! How many members have a write before it is answered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::{HyperCacheClusterSpec, StoreSpec};

/// The most members that may hold a key.
pub const MAX_REPLICATION_FACTOR: i32 = 5;

/// How many of a store's members have a write before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Acks {
    /// The primary: a write may be lost with it.
    #[default]
    One,
    /// A majority of the replication factor, the primary counted.
    Quorum,
    /// All owners that are in sync.
    All,
}

impl Acks {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Quorum => "quorum",
            Self::All => "all",
        }
    }
}

impl HyperCacheClusterSpec {
    /// How many members hold each key of a store, and how many have a write before it is
    /// answered: its own word, the cluster's, or one of each. `None`: of the store `default` while
    /// it is not listed.
    pub fn copies(&self, store: Option<&StoreSpec>) -> (i32, Acks) {
        let factor = store.and_then(|store| store.replication_factor);
        let acks = store.and_then(|store| store.acks);
        (factor.or(self.replication_factor).unwrap_or(1), acks.or(self.acks).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_store_s_own_word_comes_before_the_cluster_s() {
        let spec: HyperCacheClusterSpec = serde_json::from_value(json!({
            "replicationFactor": 3,
            "acks": "all",
            "stores": [
                { "name": "a", "number": 1 },
                { "name": "b", "number": 2, "replicationFactor": 2 },
                { "name": "c", "number": 3, "replicationFactor": 1, "acks": "one" },
            ],
        }))
        .unwrap();
        let copies: Vec<_> = spec.stores.iter().map(|store| spec.copies(Some(store))).collect();
        assert_eq!(copies, [(3, Acks::All), (2, Acks::All), (1, Acks::One)]);
        assert_eq!(spec.copies(None), (3, Acks::All));
        let spec: HyperCacheClusterSpec = serde_json::from_value(json!({})).unwrap();
        assert_eq!(spec.copies(None), (1, Acks::One));
    }
}
