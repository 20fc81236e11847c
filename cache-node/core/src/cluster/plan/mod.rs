//! What the leader wants done next: from the table and what is known of the members, to decisions.

mod failover;
mod forecast;
mod members;
mod moves;
mod target;
mod voters;

pub use failover::{
    Away, Failover, Positions, WHOLE_ON_DISK, Waiting, fail_over, still_counted, to_be_asked,
};
pub use forecast::{Forecast, MemberForecast, Move, forecast};
pub use members::bootstrap;
pub use target::target;
pub use voters::MAX_VOTERS;

use super::{
    Assignment, ClusterState, Liveness, Member, MemberId, Protocol, Slot, Step, protocol, slot_runs,
};
use crate::store::StoreNumber;
use std::collections::{BTreeMap, BTreeSet};

/// How long a member must have been silent before one of the same name takes its place: longer
/// than any lease by which the old one might still think that it may serve.
pub const REPLACE_AFTER_MS: u64 = 4_000;

/// How long a voter must have been silent before a learner votes in its place.
pub const VOTER_LOST_AFTER_MS: u64 = 30_000;

/// A member that gossip tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What it says of itself.
    pub member: Member,
    /// The cluster that it belongs to; 0: none yet.
    pub cluster_id: u64,
    /// Whether it has any Raft state: it takes part in making a cluster, or belongs to one.
    pub initialised: bool,
    /// How it seems to be.
    pub liveness: Liveness,
}

/// What the leader knows beside the table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The leader itself.
    pub me: MemberId,
    /// What gossip tells of the others.
    pub seen: Vec<Seen>,
    /// Raft's voters.
    pub voters: BTreeSet<MemberId>,
    /// Raft's learners.
    pub learners: BTreeSet<MemberId>,
    /// Learners that have nearly all of the log.
    pub caught_up: BTreeSet<MemberId>,
    /// How long each member of Raft has not acknowledged anything, in milliseconds.
    pub silent_ms: BTreeMap<MemberId, u64>,
    /// Members that cannot serve any more: their lease is over, or their process is gone.
    pub dead: BTreeSet<MemberId>,
    /// Members that were told to stop: they hand over what they have by themselves, and get nothing.
    pub stopping: BTreeSet<MemberId>,
    /// The hand-overs that primaries were asked for and have not answered yet: from, to.
    pub handing_over: BTreeSet<(MemberId, MemberId)>,
    /// Whether an owner need not be in sync for its primary to be asked for a hand-over: where
    /// nothing is replicated, the primary hands over what is empty.
    pub empty_only: bool,
    /// The newest protocol that each member is known to speak, as far as this leader speaks it too.
    pub protocols: BTreeMap<MemberId, Protocol>,
}

impl Facts {
    fn is_alive(&self, id: MemberId) -> bool {
        id == self.me
            || self.seen.iter().any(|s| s.member.id == id && s.liveness == Liveness::Alive)
    }

    /// Not heard of by gossip, nor by Raft for so long.
    fn is_gone(&self, id: MemberId, after_ms: u64) -> bool {
        let gossip = self.seen.iter().any(|s| s.member.id == id && s.liveness != Liveness::Down);
        let in_raft = self.voters.contains(&id) || self.learners.contains(&id);
        let silent = self.silent_ms.get(&id).is_none_or(|ms| *ms >= after_ms);
        id != self.me && !gossip && (!in_raft || silent)
    }
}

/// Something that the leader does. Each is carried out, or fails, alone; what is still wanted is
/// decided again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Take a member into the table.
    AddMember(Member),
    /// Write a member's new addresses, zone or weight into the table.
    UpdateMember(Member),
    /// Put a member in the place of one of the same name that is gone.
    ReplaceMember {
        /// Who is gone.
        old: MemberId,
        /// Who came.
        member: Member,
    },
    /// Take a member out of the table.
    RemoveMember(MemberId),
    /// Let a member of the table learn Raft's log.
    AddLearner(MemberId),
    /// Let exactly these members vote.
    SetVoters(BTreeSet<MemberId>),
    /// Take members that are not in the table out of Raft.
    RemoveFromRaft(BTreeSet<MemberId>),
    /// Add and remove owners.
    Place(Vec<Step>),
    /// Ask a primary to hand slots over.
    HandOver {
        /// The primary.
        from: MemberId,
        /// Who shall be it.
        to: MemberId,
        /// The slots.
        runs: Vec<(Slot, Slot)>,
    },
    /// Ask a primary to let an owner go that is in sync: only it knows that those who stay have what a
    /// majority confirmed.
    LetGo {
        /// The primary.
        from: MemberId,
        /// Who shall be owner no more.
        member: MemberId,
        /// The slots.
        runs: Vec<(Slot, Slot)>,
    },
    /// Drop a store that the operator no longer lists, if it holds no data.
    DropStore(StoreNumber),
    /// Let members say what is new in a version.
    RaiseProtocol(Protocol),
}

/// Makes decisions. It remembers where slots should be, so that it wants the same until members,
/// weights, zones or replication factors change.
#[derive(Debug, Default)]
pub struct Planner {
    target: Option<(Vec<Member>, usize, Assignment)>,
    /// Of one that only looks: the table's epoch that its target was made for.
    looked_at: Option<u64>,
}

impl Planner {
    /// A planner that remembers nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A planner of a member that need not lead. Which slots go where depends on where they were when
    /// that was decided: what this one wanted of an older table is not what the leader carries out.
    pub fn that_looks() -> Self {
        Self { looked_at: Some(0), ..Self::default() }
    }

    /// What shall be done, the most important first. Nothing when all is well. Fail-over is not
    /// among it: see [`fail_over`].
    pub fn plan(&mut self, state: &ClusterState, facts: &Facts) -> Vec<Decision> {
        if !state.exists() {
            return Vec::new();
        }
        let mut decisions = Vec::new();
        members::arrivals(state, facts, &mut decisions);
        voters::raft(state, facts, &mut decisions);
        members::departures(state, &mut decisions);
        protocol::raise(state, facts, &mut decisions);
        if let Some(target) = self.target(state, |id| facts.is_alive(id)) {
            moves::moves(state, target, facts, &mut decisions);
        }
        decisions.extend(state.unlisted_stores().map(|store| Decision::DropStore(store.number)));
        decisions
    }

    /// Where slots should be: with the members that may own slots and either do or are alive. `None`
    /// when there are none.
    pub fn target(
        &mut self,
        state: &ClusterState,
        alive: impl Fn(MemberId) -> bool,
    ) -> Option<&Assignment> {
        let owners: BTreeSet<MemberId> = state
            .assignment
            .placements()
            .into_iter()
            .flat_map(|run| run.placement.owners)
            .collect();
        let members: Vec<Member> = state
            .members
            .values()
            .filter(|m| state.may_own(&m.name) && (owners.contains(&m.id) || alive(m.id)))
            .map(|m| Member {
                host: String::new(),
                resp_port: 0,
                http_port: 0,
                gossip_port: 0,
                incarnation: 0,
                weight: state.weight(m.id),
                ..m.clone()
            })
            .collect();
        if members.is_empty() {
            return None;
        }
        let factor = state.replication_factor();
        let known = |(m, f, _): &(Vec<Member>, usize, Assignment)| *m == members && *f == factor;
        let is_old = self.looked_at.is_some_and(|epoch| epoch != state.epoch);
        if is_old || !self.target.as_ref().is_some_and(known) {
            self.looked_at = self.looked_at.map(|_| state.epoch);
            let wanted = target(&members, factor, &state.assignment);
            self.target = Some((members, factor, wanted));
        }
        self.target.as_ref().map(|(_, _, target)| target)
    }
}

/// Slots by what is done with them, as steps.
fn steps(acts: BTreeMap<super::Act, Vec<Slot>>) -> Vec<Step> {
    acts.into_iter().map(|(act, slots)| Step::new(slot_runs(slots), act)).collect()
}

#[cfg(test)]
mod tests;
