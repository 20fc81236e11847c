//! Who votes in Raft: five, three or one, spread over zones; the rest learn.

use super::{ClusterState, Decision, Facts, VOTER_LOST_AFTER_MS};
use crate::cluster::{Member, MemberId};
use std::collections::BTreeSet;

/// How many voters there are at most.
pub const MAX_VOTERS: usize = 5;

/// Raft's voters and learners as the table has members.
pub(super) fn raft(state: &ClusterState, facts: &Facts, decisions: &mut Vec<Decision>) {
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

/// How many of so many should vote: an odd number, as one more would only make the majority larger.
fn odd(members: usize) -> usize {
    match members {
        0..=2 => 1,
        3..=4 => 3,
        _ => MAX_VOTERS,
    }
}

/// Who should vote. The leader, and then always who is in the zone that has the fewest; of these
/// rather one that votes already. Voters that were silent for long come last; but they still count,
/// rather than to fall to one voter because of a long restart.
fn voters(state: &ClusterState, facts: &Facts) -> BTreeSet<MemberId> {
    let staying = |m: &&Member| !state.is_leaving(&m.name);
    let votes = |m: &Member| facts.voters.contains(&m.id);
    let lost = |m: &Member| facts.is_gone(m.id, VOTER_LOST_AFTER_MS);
    let ready = |m: &Member| {
        facts.learners.contains(&m.id) && facts.caught_up.contains(&m.id) && facts.is_alive(m.id)
    };
    let mut left: Vec<&Member> =
        state.members.values().filter(staying).filter(|m| votes(m) || ready(m)).collect();
    let size = odd(left.len());
    if size < facts.voters.len() && odd(state.members.values().filter(staying).count()) > size {
        return facts.voters.clone(); // the next one is on its way: no step down meanwhile
    }
    let mut chosen: Vec<&Member> = Vec::new();
    while chosen.len() < size {
        let crowd = |m: &Member| match &m.zone {
            Some(_) => chosen.iter().filter(|other| other.zone == m.zone).count(),
            None => 0,
        };
        let rank =
            |m: &&&Member| (m.id != facts.me, lost(m), crowd(m), !votes(m), m.name.clone(), m.id);
        let Some(next) = left.iter().min_by_key(rank).copied() else { break };
        left.retain(|m| m.id != next.id);
        chosen.push(next);
    }
    chosen.into_iter().map(|m| m.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::state::tests::{cluster, member};
    use crate::cluster::{Change, Liveness, plan::Seen};

    /// A cluster of `n`, of which member `i` is in the `i`th of some zones, again and again.
    fn zoned(n: u64, zones: &[&str]) -> ClusterState {
        let ids: Vec<MemberId> = (1..=n).collect();
        let mut state = cluster(&ids);
        for (id, zone) in ids.iter().zip(zones.iter().cycle()) {
            let member = Member { zone: Some((*zone).to_owned()), ..member(*id) };
            state.apply(&Change::UpdateMember(member)).unwrap();
        }
        state
    }

    /// All are there; who does not vote learns and has caught up.
    fn facts(state: &ClusterState, voters: &[MemberId]) -> Facts {
        let seen = |m: &Member| Seen {
            member: m.clone(),
            cluster_id: 5,
            initialised: true,
            liveness: Liveness::Alive,
        };
        let learners: BTreeSet<MemberId> =
            state.members.keys().copied().filter(|id| !voters.contains(id)).collect();
        Facts {
            me: 1,
            seen: state.members.values().map(seen).collect(),
            voters: voters.iter().copied().collect(),
            caught_up: learners.clone(),
            learners,
            ..Facts::default()
        }
    }

    #[test]
    fn one_three_or_five_vote() {
        for (members, expected) in [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (9, 5)] {
            let state = zoned(members, &["a"]);
            assert_eq!(voters(&state, &facts(&state, &[1])).len(), expected, "{members}");
        }
    }

    #[test]
    fn a_zone_without_a_voter_gets_one_and_nothing_changes_after_that() {
        let state = zoned(6, &["a", "a", "a", "b", "c", "c"]);
        let spread = voters(&state, &facts(&state, &[1, 2, 3]));
        assert_eq!(spread, [1, 2, 4, 5, 6].into(), "two, one and two");
        assert_eq!(voters(&state, &facts(&state, &[1, 2, 4, 5, 6])), spread);
        let four = zoned(4, &["a", "a", "b", "c"]);
        assert_eq!(voters(&four, &facts(&four, &[1, 2, 3])), [1, 3, 4].into());
    }

    #[test]
    fn nobody_steps_down_while_the_next_one_is_on_its_way() {
        let state = zoned(5, &["a"]);
        let mut facts = facts(&state, &[1, 2, 3, 4, 5]);
        facts.voters = [1, 2, 3, 4, 9].into(); // 9 was replaced by 5, which has yet to catch up
        facts.learners = [5].into();
        facts.caught_up.clear();
        assert_eq!(voters(&state, &facts), facts.voters);
    }
}
