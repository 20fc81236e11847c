//! How many members have a write before it is answered.

use serde::{Deserialize, Serialize};

/// The most members that may hold a key.
pub const MAX_REPLICATION_FACTOR: u8 = 5;

/// How many of a store's members have a write before it is answered. What each promises is in
/// docs/guarantees.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acks {
    /// The primary: a write may be lost with it.
    #[default]
    One,
    /// A majority of the store's replication factor, the primary counted.
    Quorum,
    /// All owners that are in sync.
    All,
}

impl Acks {
    /// Each by its word in configuration, HTTP and custom resources.
    pub const ALL: [(&'static str, Self); 3] =
        [("one", Self::One), ("quorum", Self::Quorum), ("all", Self::All)];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Quorum => "quorum",
            Self::All => "all",
        }
    }

    /// What a word names, if it names one.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == word).map(|(_, acks)| *acks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_are_known_by_their_words() {
        for (word, acks) in Acks::ALL {
            assert_eq!(acks.as_str(), word);
            assert_eq!(Acks::parse(word), Some(acks));
        }
        assert_eq!(Acks::parse("two"), None);
    }
}
