//! What the leader wants done next: from the table and what is known of the members, to decisions.

use super::{Assignment, ClusterState, Liveness, Member, MemberId, Ring};
use crate::store::StoreNumber;
use std::collections::{BTreeMap, BTreeSet};

/// How many voters there are at most.
pub const MAX_VOTERS: usize = 3;

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
    /// The move of slots that this leader carries out right now.
    pub move_in_hand: Option<u64>,
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
    /// Close a move that an earlier leader left open.
    CloseMove(u64),
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
    /// Assign slots anew, if none that moves holds data.
    Assign(Assignment),
    /// Drop a store that the operator no longer lists, if it holds no data.
    DropStore(StoreNumber),
}

/// Makes decisions. It remembers the last ring, because that takes a millisecond to compute.
#[derive(Debug, Default)]
pub struct Planner {
    ring: Option<(Vec<Member>, Assignment)>,
}

impl Planner {
    /// A planner that remembers nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What shall be done, the most important first. Nothing when all is well.
    pub fn plan(&mut self, state: &ClusterState, facts: &Facts) -> Vec<Decision> {
        if !state.exists() {
            return Vec::new();
        }
        let mut decisions = Vec::new();
        if let Some(open) = state.open_move
            && facts.move_in_hand != Some(open)
        {
            decisions.push(Decision::CloseMove(open));
        }
        arrivals(state, facts, &mut decisions);
        raft(state, facts, &mut decisions);
        departures(state, &mut decisions);
        if let Some(target) = self.target(state, |id| facts.is_alive(id))
            && !target.same_owners(&state.assignment)
        {
            decisions.push(Decision::Assign(target));
        }
        decisions.extend(state.unlisted_stores().map(|store| Decision::DropStore(store.number)));
        decisions
    }

    /// The assignment that the ring gives to the members that stay and either own slots or are
    /// alive. `None` when nobody stays.
    pub fn target(
        &mut self,
        state: &ClusterState,
        alive: impl Fn(MemberId) -> bool,
    ) -> Option<Assignment> {
        let owners = state.assignment.counts();
        let members: Vec<Member> = state
            .members
            .values()
            .filter(|m| !state.is_leaving(&m.name) && (owners.contains_key(&m.id) || alive(m.id)))
            .map(|m| Member {
                host: String::new(),
                resp_port: 0,
                http_port: 0,
                gossip_port: 0,
                incarnation: 0,
                ..m.clone()
            })
            .collect();
        if members.is_empty() {
            return None;
        }
        match &self.ring {
            Some((known, target)) if *known == members => Some(target.clone()),
            _ => {
                let target = Ring::new(&members).assign(0, 1);
                self.ring = Some((members, target.clone()));
                Some(target)
            }
        }
    }
}

/// Who comes, comes back, or changed.
fn arrivals(state: &ClusterState, facts: &Facts, decisions: &mut Vec<Decision>) {
    let mut seen: Vec<&Seen> = facts
        .seen
        .iter()
        .filter(|s| s.liveness == Liveness::Alive)
        .filter(|s| s.cluster_id == 0 || s.cluster_id == state.cluster_id)
        .collect();
    seen.sort_by(|a, b| (&a.member.name, a.member.id).cmp(&(&b.member.name, b.member.id)));
    let mut taken = BTreeSet::new();
    for Seen { member, .. } in seen {
        if let Some(known) = state.members.get(&member.id) {
            let member = Member { incarnation: known.incarnation, ..member.clone() };
            if *known != member
                && state.member_named(&member.name).is_none_or(|m| m.id == member.id)
            {
                decisions.push(Decision::UpdateMember(member));
            }
            continue;
        }
        if state.is_leaving(&member.name) || !taken.insert(&member.name) {
            continue;
        }
        match state.member_named(&member.name) {
            None => decisions.push(Decision::AddMember(member.clone())),
            Some(old) if facts.is_gone(old.id, REPLACE_AFTER_MS) => {
                decisions.push(Decision::ReplaceMember { old: old.id, member: member.clone() });
            }
            Some(_) => {}
        }
    }
}

/// Raft's voters and learners as the table has members.
fn raft(state: &ClusterState, facts: &Facts, decisions: &mut Vec<Decision>) {
    for id in state.members.keys() {
        if !facts.voters.contains(id) && !facts.learners.contains(id) && facts.is_alive(*id) {
            decisions.push(Decision::AddLearner(*id));
        }
    }
    let voters = voters(state, facts);
    if voters != facts.voters && !voters.is_empty() {
        decisions.push(Decision::SetVoters(voters));
    }
    let strangers: BTreeSet<MemberId> = facts
        .voters
        .union(&facts.learners)
        .copied()
        .filter(|id| !state.members.contains_key(id) && !facts.voters.contains(id))
        .collect();
    if !strangers.is_empty() {
        decisions.push(Decision::RemoveFromRaft(strangers));
    }
}

/// Who should vote: three when there are three that can, else one. Those that vote already and
/// answer stay; the leader first.
fn voters(state: &ClusterState, facts: &Facts) -> BTreeSet<MemberId> {
    let stays = |id: &MemberId| state.members.get(id).is_some_and(|m| !state.is_leaving(&m.name));
    let lost = |id: &MemberId| facts.is_gone(*id, VOTER_LOST_AFTER_MS);
    let mut order: Vec<MemberId> = Vec::new();
    if stays(&facts.me) {
        order.push(facts.me);
    }
    order.extend(facts.voters.iter().filter(|id| **id != facts.me && stays(id) && !lost(id)));
    let mut ready: Vec<&Member> = facts
        .learners
        .iter()
        .filter(|id| stays(id) && facts.caught_up.contains(id) && facts.is_alive(**id))
        .filter_map(|id| state.members.get(id))
        .collect();
    ready.sort_by(|a, b| a.name.cmp(&b.name));
    order.extend(ready.iter().map(|member| member.id));
    // Silent voters still count, rather than to fall to one voter because of a long restart.
    order.extend(facts.voters.iter().filter(|id| **id != facts.me && stays(id) && lost(id)));
    let staying = state.members.keys().filter(|id| stays(id)).count();
    if order.len() < MAX_VOTERS && staying >= MAX_VOTERS {
        return facts.voters.clone(); // the third is on its way: no step down meanwhile
    }
    order.truncate(if order.len() >= MAX_VOTERS { MAX_VOTERS } else { 1 });
    order.into_iter().collect()
}

/// Who goes: those that the operator does not list and that own nothing.
fn departures(state: &ClusterState, decisions: &mut Vec<Decision>) {
    let stays = state.members.values().any(|member| !state.is_leaving(&member.name));
    for member in state.members.values() {
        if stays && state.is_leaving(&member.name) && !state.assignment.owns(member.id) {
            decisions.push(Decision::RemoveMember(member.id));
        }
    }
}

/// Whether this member makes the cluster, and with which first voters: when `wanted` members are
/// seen (itself among them), none of them has a cluster, and its name is the lowest.
pub fn bootstrap(me: &Member, seen: &[Seen], wanted: usize) -> Option<Vec<MemberId>> {
    let alive = || seen.iter().filter(|s| s.liveness != Liveness::Down && s.member.id != me.id);
    if alive().any(|s| s.cluster_id != 0 || s.initialised) {
        return None;
    }
    let mut members: Vec<(&str, MemberId)> = alive()
        .filter(|s| s.liveness == Liveness::Alive)
        .map(|s| (s.member.name.as_str(), s.member.id))
        .chain([(me.name.as_str(), me.id)])
        .collect();
    members.sort_unstable();
    members.dedup_by(|a, b| a.0 == b.0);
    if members.len() < wanted.max(1) || members.first() != Some(&(me.name.as_str(), me.id)) {
        return None;
    }
    let voters = if members.len() >= MAX_VOTERS { MAX_VOTERS } else { 1 };
    Some(members[..voters].iter().map(|(_, id)| *id).collect())
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
