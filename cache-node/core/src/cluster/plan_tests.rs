use super::super::Change;
use super::super::state::tests::{cluster, member};
use super::*;
use crate::store::StorePolicy;

fn seen(id: MemberId, cluster_id: u64) -> Seen {
    Seen { member: member(id), cluster_id, initialised: cluster_id != 0, liveness: Liveness::Alive }
}

fn facts(voters: &[MemberId], others: &[MemberId]) -> Facts {
    Facts {
        me: 1,
        seen: others.iter().map(|id| seen(*id, 5)).collect(),
        voters: voters.iter().copied().collect(),
        ..Facts::default()
    }
}

fn plan(state: &ClusterState, facts: &Facts) -> Vec<Decision> {
    Planner::new().plan(state, facts)
}

fn desire(state: &mut ClusterState, names: &[&str], stores: Vec<StorePolicy>) {
    let members = names.iter().map(|n| (*n).to_owned()).collect();
    let desired = super::super::Desired { generation: 2, members, stores };
    state.apply(&Change::SetDesired { desired, drop: vec![] }).unwrap();
}

#[test]
fn nothing_is_decided_when_all_is_well() {
    assert_eq!(plan(&cluster(&[1, 2, 3]), &facts(&[1, 2, 3], &[2, 3])), []);
}

#[test]
fn a_newcomer_is_added_to_the_table_then_learns_and_slots_are_moved_to_it() {
    let mut state = cluster(&[1]);
    let mut facts = facts(&[1], &[]);
    facts.seen.push(seen(2, 0));
    assert_eq!(plan(&state, &facts), [Decision::AddMember(member(2))]);
    state.apply(&Change::AddMember(member(2))).unwrap();
    let decisions = plan(&state, &facts);
    assert_eq!(decisions[0], Decision::AddLearner(2));
    let Decision::Assign(target) = &decisions[1] else { panic!("{decisions:?}") };
    assert_eq!(target.counts().len(), 2);
}

#[test]
fn a_member_of_another_cluster_is_not_taken_in() {
    let mut facts = facts(&[1], &[]);
    facts.seen.push(seen(2, 6));
    assert_eq!(plan(&cluster(&[1]), &facts), []);
}

#[test]
fn two_members_have_one_voter_and_three_have_three() {
    let mut state = cluster(&[1, 2]);
    let mut facts = facts(&[1], &[2]);
    facts.learners = [2].into();
    facts.caught_up = [2].into();
    assert_eq!(plan(&state, &facts), []);
    state = cluster(&[1, 2, 3]);
    facts.seen.push(seen(3, 5));
    facts.learners = [2, 3].into();
    assert_eq!(plan(&state, &facts), [], "one that has not caught up does not vote");
    facts.caught_up = [2, 3].into();
    assert_eq!(plan(&state, &facts), [Decision::SetVoters([1, 2, 3].into())]);
}

#[test]
fn a_fourth_member_learns() {
    let mut facts = facts(&[1, 2, 3], &[2, 3, 4]);
    facts.learners = [4].into();
    facts.caught_up = [4].into();
    assert_eq!(plan(&cluster(&[1, 2, 3, 4]), &facts), []);
}

#[test]
fn a_voter_that_is_lost_for_long_gives_way_to_a_learner() {
    let mut facts = facts(&[1, 2, 3], &[2, 4]);
    facts.learners = [4].into();
    facts.caught_up = [4].into();
    facts.silent_ms = [(3, VOTER_LOST_AFTER_MS - 1)].into();
    let state = cluster(&[1, 2, 3, 4]);
    assert_eq!(plan(&state, &facts), []);
    facts.silent_ms = [(3, VOTER_LOST_AFTER_MS)].into();
    assert_eq!(plan(&state, &facts), [Decision::SetVoters([1, 2, 4].into())]);
}

#[test]
fn a_silent_voter_with_nobody_to_replace_it_stays() {
    let mut facts = facts(&[1, 2, 3], &[2]);
    facts.silent_ms = [(3, u64::MAX)].into();
    assert_eq!(plan(&cluster(&[1, 2, 3]), &facts), []);
}

#[test]
fn a_member_that_lost_its_disk_takes_its_place_only_after_the_old_one_is_silent_for_long() {
    let state = cluster(&[1, 2, 3]);
    let new = Member { id: 77, ..member(3) };
    let mut facts = facts(&[1, 2, 3], &[2]);
    facts.seen.push(Seen { member: new.clone(), ..seen(77, 0) });
    facts.silent_ms = [(3, REPLACE_AFTER_MS - 1)].into();
    assert_eq!(plan(&state, &facts), []);
    facts.silent_ms = [(3, REPLACE_AFTER_MS)].into();
    assert_eq!(plan(&state, &facts), [Decision::ReplaceMember { old: 3, member: new.clone() }]);
    facts.seen.push(seen(3, 5));
    assert_eq!(plan(&state, &facts), [], "the old one is there");
}

#[test]
fn o3_new_addresses_are_written_into_the_table() {
    let moved = Member { host: "10.0.0.9".into(), gossip_port: 1234, ..member(2) };
    let mut facts = facts(&[1, 2, 3], &[3]);
    facts.seen.push(Seen { member: moved.clone(), ..seen(2, 5) });
    assert_eq!(plan(&cluster(&[1, 2, 3]), &facts), [Decision::UpdateMember(moved)]);
}

#[test]
fn a_member_that_is_not_desired_is_not_taken_in() {
    let mut state = cluster(&[1]);
    desire(&mut state, &["demo-1"], vec![]);
    let mut facts = facts(&[1], &[]);
    facts.seen.push(seen(2, 0));
    assert_eq!(plan(&state, &facts), []);
}

#[test]
fn o1_a_member_that_leaves_first_gives_its_slots_to_all_that_stay() {
    let mut state = cluster(&[1, 2, 3, 4]);
    desire(&mut state, &["demo-1", "demo-2", "demo-3"], vec![]);
    let mut facts = facts(&[1, 2, 3], &[2, 3, 4]);
    facts.learners = [4].into();
    let decisions = plan(&state, &facts);
    let [Decision::Assign(target)] = &decisions[..] else { panic!("{decisions:?}") };
    let before = state.assignment.counts();
    let after = target.counts();
    assert_eq!(after.len(), 3);
    assert!(after.iter().all(|(id, count)| *count > before[id]), "{before:?} {after:?}");
    let move_id = state.apply(&Change::OpenMove).unwrap().move_id.unwrap();
    let assignment = target.clone();
    state.apply(&Change::Assign { move_id, assignment }).unwrap();
    assert_eq!(plan(&state, &facts), [Decision::RemoveMember(4)]);
    state.apply(&Change::RemoveMember(4)).unwrap();
    assert_eq!(plan(&state, &facts), [Decision::RemoveFromRaft([4].into())]);
}

#[test]
fn going_from_three_to_two_members_leaves_one_voter_that_stays() {
    let mut state = cluster(&[1, 2, 3]);
    desire(&mut state, &["demo-2", "demo-3"], vec![]);
    let decisions = plan(&state, &facts(&[1, 2, 3], &[2, 3]));
    assert_eq!(decisions[0], Decision::SetVoters([2].into()));
}

#[test]
fn names_that_nobody_has_make_nobody_leave() {
    let mut state = cluster(&[1, 2, 3]);
    desire(&mut state, &["other-0"], vec![]);
    let decisions = plan(&state, &facts(&[1, 2, 3], &[2, 3]));
    assert_eq!(decisions, []);
}

#[test]
fn a_move_that_an_earlier_leader_left_open_is_closed_before_anything_else() {
    let mut state = cluster(&[1, 2, 3]);
    let id = state.apply(&Change::OpenMove).unwrap().move_id.unwrap();
    let mut facts = facts(&[1, 2, 3], &[2, 3]);
    assert_eq!(plan(&state, &facts), [Decision::CloseMove(id)]);
    facts.move_in_hand = Some(id);
    assert_eq!(plan(&state, &facts), []);
}

#[test]
fn a_store_that_is_no_longer_listed_shall_be_dropped() {
    let mut state = cluster(&[1]);
    desire(&mut state, &["demo-1"], vec![StorePolicy::new("a", 1)]);
    desire(&mut state, &["demo-1"], vec![]);
    assert_eq!(plan(&state, &facts(&[1], &[])), [Decision::DropStore(1)]);
}

#[test]
fn l20_the_lowest_name_makes_the_cluster_once_enough_are_seen() {
    let others = [seen(2, 0), seen(3, 0)];
    assert_eq!(bootstrap(&member(1), &others, 3), Some(vec![1, 2, 3]));
    assert_eq!(bootstrap(&member(1), &others[..1], 3), None, "one is missing");
    assert_eq!(bootstrap(&member(2), &[seen(1, 0), seen(3, 0)], 3), None, "1 does it");
    assert_eq!(bootstrap(&member(1), &[seen(2, 0), seen(3, 5)], 3), None, "3 has a cluster");
    assert_eq!(bootstrap(&member(1), &[], 1), Some(vec![1]));
    assert_eq!(bootstrap(&member(1), &others[..1], 2), Some(vec![1]), "two have one voter");
    let many: Vec<Seen> = (2..=5).map(|id| seen(id, 0)).collect();
    assert_eq!(bootstrap(&member(1), &many, 5), Some(vec![1, 2, 3]));
}

#[test]
fn two_members_of_one_name_count_once() {
    let twin = Seen { member: Member { name: "demo-2".into(), ..member(9) }, ..seen(9, 0) };
    assert_eq!(bootstrap(&member(1), &[seen(2, 0), twin], 3), None);
}
