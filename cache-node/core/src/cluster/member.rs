//! A member: one cache-node process, known by a number that it keeps and a name that it is given.

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

/// A member's number: random, kept on its disk, never 0.
pub type MemberId = u64;

/// The highest weight that a member may have; 1 is usual.
pub const MAX_WEIGHT: u32 = 100;

/// What the cluster knows of a member: who it is and where it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The number that it keeps.
    pub id: MemberId,
    /// The name that it was given (`node.id`), unique in the cluster.
    pub name: String,
    /// The host name or address where the others, and cluster-mode clients, reach it.
    pub host: String,
    /// RESP, TCP.
    pub resp_port: u16,
    /// HTTP, TCP.
    pub http_port: u16,
    /// Gossip over UDP and the member-to-member protocol over TCP.
    pub gossip_port: u16,
    /// The failure zone, if it was told one.
    pub zone: Option<String>,
    /// Its share of slots against the others', 1 to [`MAX_WEIGHT`].
    pub weight: u32,
    /// Its process: random, another one at each start. Whoever has another one than before has
    /// lost what it had in memory.
    pub incarnation: u64,
}

/// The 40 hexadecimal digits by which Redis clients know a member.
pub fn node_id(id: MemberId) -> String {
    use std::fmt::Write;
    let digest = Sha1::new().chain_update(b"hypercache member ").chain_update(id.to_be_bytes());
    digest.finalize().iter().fold(String::with_capacity(40), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// How a member seems to be, by gossip and by Raft's acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Liveness {
    /// It answers.
    Alive,
    /// It did not answer lately.
    Suspect,
    /// It is not heard of.
    #[default]
    Down,
}

impl Liveness {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Down => "down",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_id_is_forty_hexadecimal_digits_and_stays_the_same() {
        let id = node_id(7);
        assert_eq!(id.len(), 40);
        assert!(id.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()));
        assert_eq!(id, node_id(7));
        assert_ne!(id, node_id(8));
    }
}
