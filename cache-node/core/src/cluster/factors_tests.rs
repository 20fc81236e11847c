use super::super::state::tests::{cluster, member};
use super::super::{
    Act, Assignment, Change, FACTORS_WAIT, PROTOCOLS, SLOTS, Slot, Step, slot_runs, target,
};
use crate::store::StorePolicy;
use std::collections::BTreeMap;

use super::*;

/// Three members that own all slots and are in sync, and stores of these factors.
fn three(factors: &[u8]) -> ClusterState {
    let mut state = cluster(&[1, 2, 3]);
    state.apply(&Change::RaiseProtocol(*PROTOCOLS.end())).unwrap();
    let members: Vec<_> = [1, 2, 3].map(member).to_vec();
    state.assignment = target(&members, 3, &Assignment::default());
    let all_in_sync = |slot: &Placement| Placement { in_sync: slot.owners.clone(), ..slot.clone() };
    state.assignment.update(&EVERY_SLOT, |slot| Some(all_in_sync(slot)));
    state.stores = (0..).zip(factors).map(|(number, factor)| store(number, *factor)).collect();
    state
}

fn store(number: u16, replication_factor: u8) -> StorePolicy {
    let name = if number == 0 { "default".to_owned() } else { format!("s{number}") };
    StorePolicy { replication_factor, ..StorePolicy::new(name, number) }
}

fn change(state: &mut ClusterState, number: u16, factor: u8) {
    state.apply(&Change::ChangeStore(store(number, factor))).unwrap();
}

fn factors(state: &ClusterState) -> Vec<u8> {
    state.stores.iter().map(|store| store.replication_factor).collect()
}

/// Primaries say of owners that they are in sync or not; of how many slots.
fn say(state: &mut ClusterState, of: impl Fn(&Placement) -> Owners, in_sync: bool) -> usize {
    let mut acts: BTreeMap<Act, Vec<Slot>> = BTreeMap::new();
    for slot in 0..SLOTS {
        let placement = state.assignment.placement(slot).unwrap();
        of(placement).into_iter().for_each(|member| {
            acts.entry(said(placement, member, in_sync)).or_default().push(slot);
        });
    }
    let count = acts.values().map(Vec::len).sum();
    let steps = acts.into_iter().map(|(act, slots)| Step::new(slot_runs(slots), act)).collect();
    state.apply(&Change::Place(steps)).unwrap();
    count
}

fn said(placement: &Placement, member: MemberId, in_sync: bool) -> Act {
    let (primary, epoch) = (placement.primary().unwrap(), placement.epoch);
    Act::InSync { primary, epoch, member, incarnation: 0, in_sync }
}

/// Every slot's primary says that who may leave does; of how many slots.
fn leave(state: &mut ClusterState) -> usize {
    let before = state.clone();
    let Some(next) = before.next_factors() else { return 0 };
    say(state, |placement| next.leave(placement), false)
}

/// Everybody is in sync again who may be.
fn come_back(state: &mut ClusterState) {
    say(state, |placement| placement.replicas().into(), true);
}

fn least_in_sync(state: &ClusterState) -> usize {
    let runs = state.assignment.placements();
    runs.iter().map(|run| run.placement.in_sync.len()).min().unwrap()
}

#[test]
fn a_factor_is_in_force_once_those_have_left_that_lack_something_by_it() {
    for (from, to) in [([2, 3], 3), ([3, 3], 2)] {
        let mut state = three(&from);
        change(&mut state, 0, to);
        assert_eq!(factors(&state), from, "it waits");
        assert_eq!(state.asked_for(&state.stores[0]).replication_factor, to);
        assert_eq!((state.slots_before_factors(), least_in_sync(&state)), (16384, 3));
        assert_eq!(leave(&mut state), 16384);
        assert_eq!((factors(&state), state.coming.len()), (vec![to, 3], 0));
        assert_eq!(least_in_sync(&state), 2);
        come_back(&mut state);
        assert_eq!(least_in_sync(&state), 3);
    }
}

#[test]
fn who_is_to_be_out_of_sync_does_not_come_back_before_the_factor_is_in_force() {
    let mut state = three(&[2, 3]);
    change(&mut state, 0, 3);
    let placement = state.assignment.placement(5).unwrap().clone();
    let last = placement.owners[2];
    for is in [false, true] {
        let step = Step::new(vec![(5, 5)], said(&placement, last, is));
        state.apply(&Change::Place(vec![step])).unwrap();
        assert!(!state.assignment.placement(5).unwrap().is_in_sync(last), "in sync: {is}");
    }
    assert_eq!(state.slots_before_factors(), 16383);
}

#[test]
fn a_factor_that_rises_by_two_leaves_two_in_sync_all_the_time() {
    let mut state = three(&[1, 3]);
    change(&mut state, 0, 3);
    let mut seen = vec![];
    while state.next_factors().is_some() {
        leave(&mut state);
        assert_eq!(least_in_sync(&state), 2);
        seen.push(factors(&state));
        assert_eq!(leave(&mut state), 0, "the next one waits for the one that is out");
        come_back(&mut state);
    }
    assert_eq!(seen, [[2, 3], [3, 3]]);
    assert_eq!(least_in_sync(&state), 3);
}

#[test]
fn a_factor_waits_for_one_that_is_away_where_too_few_would_be_in_sync() {
    let mut state = three(&[2, 3]);
    state.assignment.update(&EVERY_SLOT, |slot| Some(slot.with_in_sync(slot.owners[1], false)));
    change(&mut state, 0, 3);
    assert_eq!((leave(&mut state), factors(&state)), (0, vec![2, 3]));
    come_back(&mut state);
    assert_eq!((leave(&mut state), factors(&state)), (16384, vec![3, 3]));
}

#[test]
fn a_factor_that_nobody_lacks_anything_by_is_in_force_at_once() {
    for (from, number, to) in [(vec![2, 3], 1, 4), (vec![3, 3], 0, 1), (vec![3], 0, 2)] {
        let mut state = three(&from);
        change(&mut state, number, to);
        let (stored, coming) = (state.stores[usize::from(number)].clone(), &state.coming);
        assert_eq!((stored.replication_factor, coming.len()), (to, 0), "{from:?}");
    }
}

#[test]
fn what_is_asked_for_meanwhile_counts_and_other_policies_are_in_force_at_once() {
    let mut state = three(&[3, 3, 3]);
    change(&mut state, 0, 2);
    let bounded = StorePolicy { max_memory_bytes: Some(1 << 20), ..store(1, 2) };
    state.apply(&Change::ChangeStore(bounded)).unwrap();
    assert_eq!(state.stores[1].max_memory_bytes, Some(1 << 20));
    assert_eq!(state.coming, [(0, 2), (1, 2)].into(), "those that were asked for wait yet");
    change(&mut state, 0, 3);
    assert_eq!(state.coming, [(1, 2)].into(), "it stays as it was");
    state.apply(&Change::DropStore(1)).unwrap();
    assert_eq!((factors(&state), state.coming.len()), (vec![3, 3], 0));
}

#[test]
fn a_new_store_of_fewer_copies_does_not_put_an_owner_before_another_one_at_once() {
    let mut state = three(&[3]);
    state.apply(&Change::CreateStore(store(4, 2))).unwrap();
    assert_eq!((factors(&state), state.coming.clone()), (vec![3, 3], [(4, 2)].into()));
    leave(&mut state);
    assert_eq!(factors(&state), [3, 2]);
    let mut alone = three(&[3]);
    alone.apply(&Change::CreateStore(store(4, 1))).unwrap();
    assert_eq!(factors(&alone), [3, 1], "nobody but the primary has it");
}

#[test]
fn a_hand_over_that_is_on_its_way_is_refused_where_its_heir_holds_less_since() {
    let mut state = three(&[3, 3]);
    let placement = state.assignment.placement(5).unwrap().clone();
    let (epoch, to) = (placement.epoch, placement.owners[1]);
    change(&mut state, 0, 1);
    assert_eq!(factors(&state), [1, 3]);
    let hand_over =
        |epoch| Change::Place(vec![Step::new(vec![(5, 5)], Act::HandOver { epoch, to })]);
    state.apply(&hand_over(epoch)).unwrap();
    let after = state.assignment.placement(5).unwrap().clone();
    assert_eq!((&after.owners, &after.in_sync), (&placement.owners, &placement.owners));
    state.apply(&hand_over(after.epoch)).unwrap();
    assert_eq!(state.assignment.primary(5), Some(to));
}

#[test]
fn members_that_do_not_know_how_to_wait_change_factors_at_once() {
    let mut state = three(&[2, 3]);
    state.protocol = FACTORS_WAIT - 1;
    change(&mut state, 0, 3);
    assert_eq!((factors(&state), least_in_sync(&state)), (vec![3, 3], 2));
}
