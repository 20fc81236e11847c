//! In which version members speak with each other, so that members of two releases work together.
//!
//! One number stands for all that leaves a process and is read by another one: the handshake, requests and replies,
//! gossip, the entries and snapshots of Raft's log, the records that replicas take. A connection uses the newest
//! version that both its ends know. What all members must understand, because it goes into Raft's log, is used once
//! the table says so: the leader raises the table's version when every member has shown on its connection that it
//! knows a newer one. It never falls again, and a member that does not know it is not let in.
//!
//! | version | since | new in it |
//! | ---: | --- | --- |
//! | 2 | 0.1 | |
//! | 3 | 0.1 | [`Act::RemoveOwnerAt`](super::Act::RemoveOwnerAt), [`Change::RaiseProtocol`](super::Change::RaiseProtocol); who holds which stores counts for who is in sync; [`WHOLE_ON_DISK`](super::WHOLE_ON_DISK) |
//! | 4 | 0.1 | replication factors wait for who has to [step aside](super::NextFactors) |

use super::{ClusterState, Decision, Facts, MemberId};
use std::ops::RangeInclusive;

/// A version of what members say to each other.
pub type Protocol = u16;

/// Those that this program speaks. What a version before the last one said may be taken out once no release that is
/// supported speaks it alone.
pub const PROTOCOLS: RangeInclusive<Protocol> = 2..=4;

/// The first in which an owner is removed on condition of its slot's epoch.
pub const REMOVES_BY_EPOCH: Protocol = 3;

/// The first in which steps look at which stores an owner holds: all members have to do the same by them.
pub const LOOKS_AT_STORES: Protocol = 3;

/// The first in which a primary that was started again says whether its disk has all.
pub const TELLS_OF_DISKS: Protocol = 3;

/// The first in which a replication factor that is asked for comes into force once nothing is lost by it.
pub const FACTORS_WAIT: Protocol = 4;

impl ClusterState {
    /// The version that all members know.
    pub fn protocol(&self) -> Protocol {
        self.protocol.max(*PROTOCOLS.start())
    }

    /// Whether all members know that version.
    pub fn speaks(&self, protocol: Protocol) -> bool {
        self.protocol() >= protocol
    }
}

impl Facts {
    /// Whether a member knows the table's version. Every release knows the oldest one.
    pub(super) fn knows(&self, id: MemberId, state: &ClusterState) -> bool {
        state.protocol() == *PROTOCOLS.start()
            || id == self.me
            || self.protocols.get(&id).is_some_and(|newest| *newest >= state.protocol())
    }
}

/// A newer version for the table, once every member knows it.
pub(super) fn raise(state: &ClusterState, facts: &Facts, decisions: &mut Vec<Decision>) {
    let known = state.members.keys().map(|id| facts.protocols.get(id).copied().unwrap_or(0));
    if let Some(all) = known.min().filter(|all| *all > state.protocol()) {
        decisions.push(Decision::RaiseProtocol(all));
    }
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
