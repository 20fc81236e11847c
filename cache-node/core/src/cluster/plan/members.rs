//! Who belongs to the cluster: who comes, comes back, changes and goes; and who makes it.

use super::{ClusterState, Decision, Facts, REPLACE_AFTER_MS, Seen};
use crate::cluster::{Liveness, Member, MemberId};
use std::collections::BTreeSet;

/// How many voters a new cluster begins with.
const FIRST_VOTERS: usize = 3;

/// Who comes, comes back, or changed.
pub(super) fn arrivals(state: &ClusterState, facts: &Facts, decisions: &mut Vec<Decision>) {
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
        let is_unwanted = state.is_leaving(&member.name) || !facts.knows(member.id, state);
        if is_unwanted || !taken.insert(&member.name) {
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

/// Who goes: those that the operator does not list and that own nothing.
pub(super) fn departures(state: &ClusterState, decisions: &mut Vec<Decision>) {
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
    let voters = if members.len() >= FIRST_VOTERS { FIRST_VOTERS } else { 1 };
    Some(members[..voters].iter().map(|(_, id)| *id).collect())
}
