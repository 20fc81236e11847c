use super::super::protocol::LOOKS_AT_STORES;
use super::super::state::tests::{cluster, member};
use super::super::{Change, ClusterState, Member, SLOTS};
use super::*;
use proptest::prelude::*;

const ALL: (Slot, Slot) = (0, SLOTS - 1);

/// Slots 0 to 9 of a cluster of four, placed as said at the epoch 1.
fn placed(owners: &[MemberId], in_sync: &[MemberId]) -> ClusterState {
    let mut state = cluster(&[1, 2, 3, 4]);
    let placement = Placement { owners: owners.into(), in_sync: in_sync.into(), epoch: 1 };
    assert!(placement.is_sound());
    state.assignment.update(&[(0, 9)], |_| Some(placement.clone()));
    state
}

/// What becomes of slot 3 by an act, when it becomes another one.
fn after(state: &ClusterState, act: Act) -> Option<Placement> {
    let mut next = state.clone();
    let step = Step::new(vec![(2, 5)], act);
    let applied = next.apply(&Change::Place(vec![step])).unwrap();
    let (before, after) = (state.assignment.placement(3), next.assignment.placement(3));
    assert_eq!(applied.changed, before != after);
    assert_eq!(state.assignment.placement(6), next.assignment.placement(6), "not in the run");
    after.filter(|_| before != after).cloned()
}

fn place(owners: &[MemberId], in_sync: &[MemberId], epoch: u64) -> Option<Placement> {
    Some(Placement { owners: owners.into(), in_sync: in_sync.into(), epoch })
}

fn in_sync(primary: MemberId, epoch: u64, member: MemberId, in_sync: bool) -> Act {
    Act::InSync { primary, epoch, member, incarnation: 0, in_sync }
}

#[test]
fn an_owner_is_added_last_and_not_in_sync_and_once() {
    let state = placed(&[1, 2], &[1]);
    assert_eq!(after(&state, Act::AddOwner(3)), place(&[1, 2, 3], &[1], 1));
    assert_eq!(after(&state, Act::AddOwner(2)), None);
    assert_eq!(after(&state, Act::AddOwner(9)), None, "no member");
}

#[test]
fn an_owner_is_removed_but_never_the_primary() {
    let state = placed(&[1, 2, 3], &[1, 3]);
    assert_eq!(after(&state, Act::RemoveOwner(2)), place(&[1, 3], &[1, 3], 1));
    assert_eq!(after(&state, Act::RemoveOwner(1)), None);
    assert_eq!(after(&state, Act::RemoveOwner(4)), None);
}

#[test]
fn an_owner_in_sync_is_not_removed_while_too_few_others_are() {
    let factor = |factor, mut state: ClusterState| {
        state.stores[0].replication_factor = factor;
        state
    };
    let state = placed(&[1, 2, 3], &[1, 3]);
    assert_eq!(after(&factor(1, state.clone()), Act::RemoveOwner(3)), place(&[1, 2], &[1], 1));
    assert_eq!(after(&factor(2, state), Act::RemoveOwner(3)), None, "2 has not caught up");
    let two = placed(&[1, 3], &[1, 3]);
    assert_eq!(after(&factor(2, two), Act::RemoveOwner(3)), place(&[1], &[1], 1), "nobody is left");
}

#[test]
fn only_the_primary_of_the_epoch_says_who_is_in_sync() {
    let state = placed(&[1, 2, 3], &[1, 3]);
    assert_eq!(after(&state, in_sync(1, 1, 2, true)), place(&[1, 2, 3], &[1, 2, 3], 1));
    assert_eq!(after(&state, in_sync(1, 1, 3, false)), place(&[1, 2, 3], &[1], 1));
    assert_eq!(after(&state, in_sync(3, 1, 2, true)), None, "3 is not the primary");
    assert_eq!(after(&state, in_sync(1, 0, 2, true)), None, "an old epoch");
    assert_eq!(after(&state, in_sync(1, 1, 4, true)), None, "4 is no owner");
    assert_eq!(after(&state, in_sync(1, 1, 1, false)), None, "the primary itself");
}

#[test]
fn l25_an_owner_whose_process_is_another_one_by_now_is_not_in_sync() {
    let mut state = placed(&[1, 2], &[1]);
    state.apply(&Change::Restarted { member: 2, incarnation: 7 }).unwrap();
    assert_eq!(after(&state, in_sync(1, 1, 2, true)), None);
    let late = Act::InSync { primary: 1, epoch: 1, member: 2, incarnation: 7, in_sync: true };
    assert_eq!(after(&state, late), place(&[1, 2], &[1, 2], 1));
}

#[test]
fn a_promoted_owner_was_in_sync_and_is_so_alone_at_a_new_epoch() {
    let state = placed(&[1, 2, 3], &[1, 3]);
    let promote = |epoch, to| Act::Promote { epoch, to };
    assert_eq!(after(&state, promote(1, 3)), place(&[3, 2, 1], &[3], 2));
    assert_eq!(after(&state, promote(1, 2)), None, "not in sync");
    assert_eq!(after(&state, promote(0, 3)), None, "an old epoch");
    assert_eq!(after(&state, promote(1, 1)), None, "it is the primary");
}

#[test]
fn a_hand_over_leaves_in_sync_who_is_so_and_is_refused_once_the_slot_was_kept() {
    let mut state = placed(&[1, 2, 3], &[1, 3]);
    let hand_over = |epoch, to| Act::HandOver { epoch, to };
    assert_eq!(after(&state, hand_over(1, 3)), place(&[3, 2, 1], &[3, 1], 2));
    assert_eq!(after(&state, hand_over(1, 2)), None, "not in sync");
    let keep = Change::Place(vec![Step::new(vec![ALL], Act::Keep { epoch: 1 })]);
    assert!(state.apply(&keep).unwrap().changed);
    assert_eq!(state.assignment.epoch_of(3), 2);
    assert_eq!(after(&state, hand_over(1, 3)), None);
    assert!(!state.apply(&keep).unwrap().changed, "a step of an old epoch does nothing");
}

#[test]
fn who_holds_which_store_counts_once_all_members_know_that_it_does() {
    let mut state = placed(&[1, 2, 3], &[1, 2, 3]);
    let store = |number, replication_factor| StorePolicy {
        replication_factor,
        ..StorePolicy::new(format!("s{number}"), number)
    };
    state.stores = vec![store(0, 2), store(1, 3)];
    let hand_over = Act::HandOver { epoch: 1, to: 2 };
    assert_eq!(after(&state, hand_over), place(&[2, 3, 1], &[2, 3, 1], 2), "as older ones do");
    state.apply(&Change::RaiseProtocol(LOOKS_AT_STORES)).unwrap();
    assert_eq!(after(&state, hand_over), place(&[2, 1, 3], &[2, 1, 3], 2));
}

#[test]
fn a_slot_that_begins_anew_has_one_owner() {
    let state = placed(&[1, 2], &[1]);
    assert_eq!(after(&state, Act::Restart { epoch: 1, to: 4 }), place(&[4], &[4], 2));
    assert_eq!(after(&state, Act::Restart { epoch: 1, to: 9 }), None, "no member");
    assert_eq!(after(&state, Act::Restart { epoch: 0, to: 4 }), None, "an old epoch");
}

#[test]
fn steps_of_one_change_follow_each_other() {
    let mut state = placed(&[1], &[1]);
    let runs = vec![(0, 9)];
    let steps = [Act::AddOwner(2), in_sync(1, 1, 2, true), Act::HandOver { epoch: 1, to: 2 }];
    let steps = steps.map(|act| Step::new(runs.clone(), act)).to_vec();
    state.apply(&Change::Place(steps)).unwrap();
    assert_eq!(state.assignment.placement(9).cloned(), place(&[2, 1], &[2, 1], 2));
    assert_eq!(state.assignment.epoch, state.epoch);
}

#[test]
fn l25_a_restarted_member_is_in_sync_only_where_it_is_alone() {
    let mut state = placed(&[1, 2, 3], &[1, 2, 3]);
    let alone = state.assignment.slots_of(1).find(|slot| *slot > 9).unwrap();
    let restarted = Change::Restarted { member: 1, incarnation: 5 };
    assert_eq!(state.apply(&restarted).unwrap().epoch, 2);
    assert_eq!(state.assignment.placement(3).cloned(), place(&[2, 3, 1], &[2], 2));
    assert_eq!(state.assignment.placement(alone).cloned(), place(&[1], &[1], 2), "a new epoch");
    assert_eq!(state.members[&1].incarnation, 5);
    assert!(!state.apply(&restarted).unwrap().changed, "the same process");
    let moved = Member { resp_port: 9, incarnation: 6, ..member(1) };
    state.apply(&Change::UpdateMember(moved)).unwrap();
    assert_eq!(state.members[&1].incarnation, 5, "an address says nothing of the process");
    let stranger = Change::Restarted { member: 9, incarnation: 5 };
    assert!(state.apply(&stranger).is_err());
}

#[test]
fn who_takes_the_place_of_a_member_that_lost_its_disk_is_in_sync_only_where_it_is_alone() {
    let mut state = placed(&[1, 2], &[1, 2]);
    let alone = state.assignment.slots_of(1).find(|slot| *slot > 9).unwrap();
    let new = Member { id: 77, ..member(1) };
    state.apply(&Change::ReplaceMember { old: 1, member: new }).unwrap();
    assert_eq!(state.assignment.placement(3).cloned(), place(&[2, 77], &[2], 2));
    assert_eq!(state.assignment.placement(alone).cloned(), place(&[77], &[77], 2));
}

fn act() -> impl Strategy<Value = Act> {
    let member = || 1u64..6;
    let epoch = || 0u64..12;
    prop_oneof![
        member().prop_map(Act::AddOwner),
        member().prop_map(Act::RemoveOwner),
        (member(), epoch(), member(), 0u64..3, any::<bool>()).prop_map(
            |(primary, epoch, member, incarnation, in_sync)| Act::InSync {
                primary,
                epoch,
                member,
                incarnation,
                in_sync
            }
        ),
        (epoch(), member()).prop_map(|(epoch, to)| Act::Promote { epoch, to }),
        (epoch(), member()).prop_map(|(epoch, to)| Act::HandOver { epoch, to }),
        epoch().prop_map(|epoch| Act::Keep { epoch }),
        (epoch(), member()).prop_map(|(epoch, to)| Act::Restart { epoch, to }),
    ]
}

/// What may be proposed. The conditions of half of the acts are made to fit the slot, so that much of
/// it is done.
#[derive(Debug, Clone)]
enum Move {
    Steps(Vec<(Slot, Act, bool)>),
    Change(Change),
}

fn moves() -> impl Strategy<Value = Move> {
    let steps = prop::collection::vec((0u16..20, act(), any::<bool>()), 1..4);
    prop_oneof![
        6 => steps.prop_map(Move::Steps),
        1 => (1u64..6, 0u64..3).prop_map(|(member, incarnation)| {
            Move::Change(Change::Restarted { member, incarnation })
        }),
        1 => (1u64..6).prop_map(|id| Move::Change(Change::AddMember(member(id)))),
        1 => (1u64..6).prop_map(|id| Move::Change(Change::RemoveMember(id))),
    ]
}

fn fitting(state: &ClusterState, slot: Slot, act: Act) -> Act {
    let placement = state.assignment.placement(slot).unwrap();
    let (fits, by) = (placement.epoch, placement.owners[0]);
    match act {
        Act::InSync { member, in_sync, .. } => {
            let incarnation = state.members.get(&member).map_or(0, |member| member.incarnation);
            Act::InSync { primary: by, epoch: fits, member, incarnation, in_sync }
        }
        Act::Promote { to, .. } => Act::Promote { epoch: fits, to },
        Act::HandOver { to, .. } => Act::HandOver { epoch: fits, to },
        Act::Keep { .. } => Act::Keep { epoch: fits },
        Act::Restart { to, .. } => Act::Restart { epoch: fits, to },
        act => act,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn whatever_is_proposed_every_slot_has_one_primary_that_is_in_sync_and_epochs_never_fall(
        moves in prop::collection::vec(moves(), 1..40)
    ) {
        let mut state = cluster(&[1, 2, 3]);
        for next in moves {
            let before = state.clone();
            let change = match next {
                Move::Change(change) => change,
                Move::Steps(steps) => Change::Place(steps.into_iter().map(|(slot, act, fit)| {
                    let act = if fit { fitting(&state, slot, act) } else { act };
                    Step::new(vec![(slot, slot + 2)], act)
                }).collect()),
            };
            let applied = state.apply(&change);
            prop_assert_eq!(applied.is_ok_and(|applied| applied.changed), state != before);
            prop_assert!(state.epoch >= before.epoch);
            prop_assert_eq!(state.assignment.assigned(), u32::from(SLOTS));
            // Steps are for slots 0 to 21; what a restart does is alike for all.
            for slot in 0..24 {
                let placement = state.assignment.placement(slot);
                prop_assert!(placement.is_some(), "slot {} has no owner", slot);
                let (Some(now), Some(then)) = (placement, before.assignment.placement(slot)) else {
                    continue;
                };
                if now == then {
                    continue;
                }
                prop_assert!(now.is_sound(), "{:?}", now);
                prop_assert!(now.owners.iter().all(|id| state.members.contains_key(id)));
                prop_assert!(now.epoch >= then.epoch && now.epoch <= state.epoch);
                // One primary an epoch.
                prop_assert!(now.primary() == then.primary() || now.epoch == state.epoch);
                prop_assert!(now.epoch == then.epoch || now.epoch > before.epoch);
            }
        }
        let bytes = postcard::to_stdvec(&state).unwrap();
        prop_assert_eq!(&postcard::from_bytes::<ClusterState>(&bytes).unwrap(), &state);
    }
}

#[test]
fn an_owner_that_is_removed_by_epoch_stays_once_the_slot_has_another_epoch() {
    let state = placed(&[1, 2, 3], &[1, 2, 3]);
    let remove = |epoch| Act::RemoveOwnerAt { epoch, member: 3 };
    assert_eq!(after(&state, remove(1)), place(&[1, 2], &[1, 2], 1));
    assert_eq!(after(&state, remove(2)), None);
    let mut kept = state.clone();
    let keep = Step::new(vec![(2, 5)], Act::Keep { epoch: 1 });
    kept.apply(&Change::Place(vec![keep])).unwrap();
    assert_eq!(after(&kept, remove(1)), None, "what was on its way is ended by a new epoch");
    assert_eq!(after(&state, Act::RemoveOwnerAt { epoch: 1, member: 1 }), None, "the primary");
}
