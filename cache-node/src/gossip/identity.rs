//! Who a datagram is from: what SWIM calls an identity.

use hypercache_core::cluster::{Liveness, Member, MemberId, Seen};
use std::net::IpAddr;

/// What a member says of itself. The same member says it anew, with a higher `bump`, when it
/// starts, joins a cluster, or was thought to be down.
#[derive(Debug, Clone)]
pub struct Identity {
    pub member: Member,
    /// 0: none yet.
    pub cluster_id: u64,
    /// Whether it has Raft state.
    pub initialised: bool,
    pub bump: u64,
}

impl Identity {
    /// Somebody of whom only the address is known.
    pub fn unknown(host: String, gossip_port: u16) -> Self {
        let member = Member {
            id: 0,
            name: String::new(),
            host,
            resp_port: 0,
            http_port: 0,
            gossip_port,
            zone: None,
            weight: 1,
            incarnation: 0,
        };
        Self { member, cluster_id: 0, initialised: false, bump: 0 }
    }
}

/// Two are the same when number and bump are: the rest follows from these.
impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.member.id == other.member.id && self.bump == other.bump
    }
}

impl Eq for Identity {}

/// A member's number as SWIM's address. 0 fits any: an announcement goes to whoever is there.
#[derive(Debug, Clone, Copy)]
pub struct Key(MemberId);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.0 == 0 || other.0 == 0
    }
}

impl foca::Identity for Identity {
    type Addr = Key;

    fn renew(&self) -> Option<Self> {
        Some(Self { bump: self.bump.wrapping_add(1), ..self.clone() })
    }

    fn addr(&self) -> Key {
        Key(self.member.id)
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.bump > adversary.bump
    }
}

/// What gossip tells of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rumour {
    /// What it says of itself, and how it seems to be.
    pub seen: Seen,
    /// Where its last datagram came from.
    pub address: Option<IpAddr>,
}

/// SWIM's word for how a member is, in ours.
pub fn liveness(state: foca::State) -> Liveness {
    match state {
        foca::State::Alive => Liveness::Alive,
        foca::State::Suspect => Liveness::Suspect,
        foca::State::Down => Liveness::Down,
    }
}
