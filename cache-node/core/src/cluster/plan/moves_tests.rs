use super::super::{Liveness, Seen};
use super::*;
use crate::cluster::state::tests::{cluster, member};
use crate::cluster::{Change, Step};

/// A cluster of four in which slot 0 is placed as said, and where it should be; all else is well.
fn slot(
    owners: &[MemberId],
    in_sync: &[MemberId],
    wanted: &[MemberId],
) -> (ClusterState, Assignment) {
    let mut state = cluster(&[1, 2, 3, 4]);
    state.stores[0].replication_factor = wanted.len() as u8;
    let placement = Placement { owners: owners.into(), in_sync: in_sync.into(), epoch: 1 };
    state.assignment.update(&[(0, 0)], |_| Some(placement.clone()));
    let mut target = state.assignment.clone();
    target.update(&[(0, 0)], |_| Some(Placement::new(wanted.into(), 0)));
    (state, target)
}

fn facts() -> Facts {
    let seen = |id| Seen {
        member: member(id),
        cluster_id: 5,
        initialised: true,
        liveness: Liveness::Alive,
    };
    Facts { me: 1, seen: (2..=4).map(seen).collect(), ..Facts::default() }
}

fn decided((state, target): &(ClusterState, Assignment), facts: &Facts) -> Vec<Decision> {
    let mut decisions = Vec::new();
    moves(state, target, facts, &mut decisions);
    decisions
}

fn place(acts: &[Act]) -> Vec<Decision> {
    let steps = acts.iter().map(|act| Step::new(vec![(0, 0)], *act)).collect();
    vec![Decision::Place(steps)]
}

fn hand_over(from: MemberId, to: MemberId) -> Vec<Decision> {
    vec![Decision::HandOver { from, to, runs: vec![(0, 0)] }]
}

fn let_go(from: MemberId, member: MemberId) -> Vec<Decision> {
    vec![Decision::LetGo { from, member, runs: vec![(0, 0)] }]
}

/// An owner that is not in sync goes.
fn goes(member: MemberId) -> Vec<Decision> {
    place(&[Act::RemoveOwner(member), Act::Keep { epoch: 1 }])
}

#[test]
fn a_move_is_an_owner_more_in_sync_handed_over_to_and_one_less() {
    let facts = facts();
    assert_eq!(decided(&slot(&[1], &[1], &[2]), &facts), place(&[Act::AddOwner(2)]));
    assert_eq!(decided(&slot(&[1, 2], &[1], &[2]), &facts), [], "it is not in sync yet");
    assert_eq!(decided(&slot(&[1, 2], &[1, 2], &[2]), &facts), hand_over(1, 2));
    assert_eq!(decided(&slot(&[2, 1], &[2, 1], &[2]), &facts), let_go(2, 1));
    assert_eq!(decided(&slot(&[2, 1], &[2], &[2]), &facts), goes(1));
    assert_eq!(decided(&slot(&[2], &[2], &[2]), &facts), []);
}

#[test]
fn a_primary_is_asked_once_at_a_time() {
    let asked = Facts { handing_over: [(1, 2)].into(), ..facts() };
    assert_eq!(decided(&slot(&[1, 2], &[1, 2], &[2]), &asked), []);
    assert_eq!(decided(&slot(&[1, 2], &[1, 2], &[1]), &asked), []);
}

#[test]
fn where_nothing_is_replicated_a_primary_is_asked_to_hand_over_what_is_empty() {
    let empty = Facts { empty_only: true, ..facts() };
    assert_eq!(decided(&slot(&[1, 2], &[1], &[2]), &empty), hand_over(1, 2));
    let extra = slot(&[2, 1], &[2, 1], &[2]);
    assert_eq!(decided(&extra, &empty), place(&[Act::RemoveOwner(1)]));
}

#[test]
fn nobody_goes_before_all_that_should_be_owners_are_in_sync() {
    let facts = facts();
    let two = slot(&[1, 2, 3], &[1, 2], &[1, 3]);
    assert_eq!(decided(&two, &facts), []);
    let other = slot(&[1, 2, 3], &[1, 2, 3], &[1, 4]);
    assert_eq!(decided(&other, &facts), let_go(1, 3), "two are left, and there is room for 4");
    let two = slot(&[1, 2, 3], &[1, 2, 3], &[1, 3]);
    assert_eq!(decided(&two, &facts), let_go(1, 2));
    let useless = slot(&[1, 2, 3], &[1, 3], &[1, 3]);
    assert_eq!(decided(&useless, &facts), goes(2), "2 has nothing");
    let both = slot(&[1, 2, 3], &[1], &[1]);
    let acts = [Act::RemoveOwner(2), Act::RemoveOwner(3), Act::Keep { epoch: 1 }];
    assert_eq!(decided(&both, &facts), place(&acts), "one new epoch does");
    let handed = slot(&[1, 2, 3], &[1, 3], &[3]);
    assert_eq!(decided(&handed, &facts), hand_over(1, 3), "a new epoch would end it");
}

#[test]
fn an_owner_that_went_and_is_wanted_again_is_not_in_sync_by_a_word_from_before() {
    let (mut state, target) = slot(&[1, 2], &[1], &[1]);
    let act = Act::InSync { primary: 1, epoch: 1, member: 2, incarnation: 0, in_sync: true };
    let word = Change::Place(vec![Step::new(vec![(0, 0)], act)]);
    let decisions = decided(&(state.clone(), target), &facts());
    let [Decision::Place(steps)] = &decisions[..] else { panic!("{decisions:?}") };
    state.apply(&Change::Place(steps.clone())).unwrap();
    let again = Step::new(vec![(0, 0)], Act::AddOwner(2));
    state.apply(&Change::Place(vec![again])).unwrap();
    assert!(!state.apply(&word).unwrap().changed);
    assert!(!state.assignment.placement(0).unwrap().is_in_sync(2));
}

#[test]
fn replicas_are_changed_one_by_one() {
    let facts = facts();
    let two = slot(&[1, 2], &[1, 2], &[3, 4]);
    assert_eq!(decided(&two, &facts), place(&[Act::AddOwner(3)]));
    let more = slot(&[1], &[1], &[1, 2, 3]);
    assert_eq!(decided(&more, &facts), place(&[Act::AddOwner(2), Act::AddOwner(3)]));
}

#[test]
fn paused_nothing_moves_but_an_owner_that_is_missing_is_brought() {
    let facts = facts();
    let mut paused = slot(&[1], &[1], &[2]);
    paused.0.steering.paused = true;
    assert_eq!(decided(&paused, &facts), []);
    for (owners, in_sync, wanted) in [
        (&[1, 2][..], &[1, 2][..], &[2][..]),
        (&[2, 1], &[2, 1], &[2]),
        (&[1, 2], &[1, 2], &[1, 3]),
    ] {
        let mut paused = slot(owners, in_sync, wanted);
        paused.0.steering.paused = true;
        assert_eq!(decided(&paused, &facts), []);
    }
    let mut missing = slot(&[1], &[1], &[3, 2]);
    missing.0.steering.paused = true;
    assert_eq!(decided(&missing, &facts), place(&[Act::AddOwner(3)]));
}

#[test]
fn nothing_is_brought_to_or_from_members_that_are_not_there() {
    let dead = Facts { dead: [2].into(), ..facts() };
    assert_eq!(decided(&slot(&[1], &[1], &[2]), &dead), []);
    assert_eq!(decided(&slot(&[1, 2], &[1, 2], &[2]), &dead), []);
    assert_eq!(decided(&slot(&[2, 1], &[2, 1], &[1]), &dead), [], "that is a fail-over");
    let mut gone = facts();
    gone.seen.retain(|seen| seen.member.id != 2);
    assert_eq!(decided(&slot(&[1], &[1], &[2]), &gone), []);
}

#[test]
fn few_slots_are_on_their_way_at_once() {
    let mut state = cluster(&[1, 2]);
    let target = Assignment::from_lists(0, (0..SLOTS).map(|_| [2].into_iter().collect()));
    let facts = facts();
    let mut decisions = Vec::new();
    moves(&state, &target, &facts, &mut decisions);
    let [Decision::Place(steps)] = &decisions[..] else { panic!("{decisions:?}") };
    let slots: usize =
        steps.iter().flat_map(|step| &step.runs).map(|(a, b)| usize::from(b - a) + 1).sum();
    assert_eq!(slots, MAX_IN_FLIGHT);
    state.apply(&Change::Place(steps.clone())).unwrap();
    assert_eq!(decided(&(state, target), &facts), [], "until some are in sync");
}

#[test]
fn who_stays_and_is_away_keeps_its_slots() {
    let state = cluster(&[1, 2, 3]);
    let away = Facts { seen: vec![], ..facts() };
    let mut planner = super::super::Planner::new();
    let target = planner.target(&state, |id| away.is_alive(id)).unwrap();
    assert!(target.counts().len() == 3, "a restart moves nothing");
}
