//! What one member sees of the cluster at one moment.

use super::{ClusterState, Liveness, Member, MemberId, Slot};
use std::{collections::BTreeMap, sync::Arc};

/// What one member sees of the cluster at one moment. Cheap to share; made anew at each change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// The member that looks.
    pub me: MemberId,
    /// The table, as far as this member has applied it.
    pub state: Arc<ClusterState>,
    /// Whether a majority of voters stands behind this: without it nothing may be served.
    pub quorum: bool,
    /// Raft's leader, as far as it is known.
    pub leader: Option<MemberId>,
    /// How each member of the table seems to be.
    pub liveness: BTreeMap<MemberId, Liveness>,
    /// The ports on which members send cluster-mode clients to each other, of those that have one and are known to.
    pub cluster_ports: BTreeMap<MemberId, u16>,
    /// Addresses that members were heard from.
    pub addresses: BTreeMap<MemberId, String>,
    /// Raft's term: what Redis calls the current epoch.
    pub term: u64,
    /// Which members vote.
    pub voters: Vec<MemberId>,
}

impl View {
    /// Who answers for a slot.
    pub fn owner(&self, slot: Slot) -> Option<MemberId> {
        self.state.assignment.primary(slot)
    }

    /// Whether this member answers for a slot.
    pub fn is_mine(&self, slot: Slot) -> bool {
        self.owner(slot) == Some(self.me)
    }

    /// Whether there is a table, and this member is not (or no longer) in it. It owns nothing
    /// then, so all that it can do for clients is to ask the owners, who know for themselves
    /// whether they may answer.
    pub fn is_outside(&self) -> bool {
        self.state.exists() && !self.state.members.contains_key(&self.me)
    }

    /// A member of the table.
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        self.state.members.get(&id)
    }

    /// The port on which a member's clients connect: those that are sent to each key's member, if `redirects`, where it has
    /// a port for these.
    pub fn port(&self, member: &Member, redirects: bool) -> u16 {
        let redirecting = self.cluster_ports.get(&member.id).filter(|_| redirects);
        redirecting.copied().unwrap_or(member.resp_port)
    }

    /// This member, once it is in the table.
    pub fn myself(&self) -> Option<&Member> {
        self.member(self.me)
    }

    /// The table's epoch.
    pub fn epoch(&self) -> u64 {
        self.state.epoch
    }

    /// How a member seems to be. A member sees itself alive.
    pub fn liveness(&self, id: MemberId) -> Liveness {
        if id == self.me {
            return Liveness::Alive;
        }
        self.liveness.get(&id).copied().unwrap_or_default()
    }

    /// Whether every slot has an owner and a quorum stands: what Redis calls `cluster_state:ok`.
    pub fn is_ok(&self) -> bool {
        self.quorum && self.state.assignment.assigned() == u32::from(super::SLOTS)
    }
}
