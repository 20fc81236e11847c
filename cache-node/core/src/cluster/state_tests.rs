use super::*;
use crate::cluster::{Ring, target};

pub(crate) fn member(id: MemberId) -> Member {
    Member {
        id,
        name: format!("demo-{id}"),
        host: format!("demo-{id}.demo"),
        resp_port: 8080,
        http_port: 9080,
        gossip_port: 7946,
        zone: None,
        weight: 1,
        incarnation: 0,
    }
}

pub(crate) fn cluster(ids: &[MemberId]) -> ClusterState {
    let members: Vec<Member> = ids.iter().copied().map(member).collect();
    let assignment = target(&members, 1, &Assignment::default());
    let mut state = ClusterState::default();
    state.apply(&Change::Init { cluster_id: 5, members, assignment, stores: vec![] }).unwrap();
    state
}

fn ring(ids: &[MemberId]) -> Assignment {
    let members: Vec<Member> = ids.iter().copied().map(member).collect();
    Ring::new(&members).assign(0, 1)
}

fn store(name: &str, number: StoreNumber) -> StorePolicy {
    StorePolicy::new(name, number)
}

fn desired(names: &[&str], stores: Vec<StorePolicy>) -> Change {
    let members = names.iter().map(|n| (*n).to_owned()).collect();
    Change::SetDesired { desired: Desired { generation: 1, members, stores }, drop: vec![] }
}

#[test]
fn the_first_table_has_members_slots_and_the_default_store() {
    let state = cluster(&[1, 2, 3]);
    assert_eq!(state.assignment.assigned(), 16384);
    assert_eq!(state.stores, [store("default", 0)]);
    assert_eq!(state.epoch, 1);
}

#[test]
fn nothing_can_be_changed_before_the_first_table_and_it_is_made_once() {
    let add = Change::AddMember(member(4));
    let refused = ClusterState::default().apply(&add);
    assert_eq!(refused, Err(Refused::Existence { exists: false }));
    let again = Change::Init {
        cluster_id: 6,
        members: vec![member(1)],
        assignment: ring(&[1]),
        stores: vec![],
    };
    assert_eq!(cluster(&[1]).apply(&again), Err(Refused::Existence { exists: true }));
}

#[test]
fn a_refused_change_changes_nothing() {
    let mut state = cluster(&[1, 2]);
    let before = state.clone();
    assert_eq!(
        state.apply(&Change::RemoveMember(1)),
        Err(Refused::MemberOwnsSlots("demo-1".into()))
    );
    let twin = Member { id: 9, ..member(2) };
    assert_eq!(state.apply(&Change::AddMember(twin)), Err(Refused::NameTaken("demo-2".into())));
    assert_eq!(state, before);
}

#[test]
fn the_first_assignment_names_members_only_and_every_slot() {
    for assignment in [ring(&[1, 2]), Assignment::default()] {
        let members = vec![member(1)];
        let init = Change::Init { cluster_id: 5, members, assignment, stores: vec![] };
        let refused = ClusterState::default().apply(&init);
        assert!(matches!(refused, Err(Refused::InvalidAssignment(_))), "{refused:?}");
    }
}

#[test]
fn a_member_that_lost_its_disk_takes_over_its_slots_at_a_new_epoch() {
    let mut state = cluster(&[1, 2]);
    let slots = state.assignment.runs_of(2);
    let epoch = state.epoch;
    let new = Member { id: 77, ..member(2) };
    state.apply(&Change::ReplaceMember { old: 2, member: new.clone() }).unwrap();
    assert_eq!(state.assignment.runs_of(77), slots);
    assert_eq!(state.assignment.runs_of(2), []);
    assert!(state.epoch > epoch);
    assert_eq!(state.assignment.epoch, state.epoch);
    assert_eq!(state.members.keys().copied().collect::<Vec<_>>(), [1, 77]);
}

#[test]
fn l27_desired_stores_come_into_force_and_keep_their_numbers() {
    let mut state = cluster(&[1]);
    state.apply(&desired(&["demo-1"], vec![store("sessions", 1), store("default", 0)])).unwrap();
    assert!(state.store_named("sessions").unwrap().managed);
    assert!(state.store_named("default").unwrap().managed);
    let refused = state.apply(&desired(&["demo-1"], vec![store("sessions", 2)])).unwrap_err();
    let Refused::InvalidStore(invalid) = refused else { panic!("{refused}") };
    assert_eq!(invalid.field, "stores[0].number");
}

#[test]
fn the_same_desired_state_again_changes_nothing() {
    let mut state = cluster(&[1]);
    let change = desired(&["demo-1"], vec![store("sessions", 1)]);
    assert!(state.apply(&change).unwrap().changed);
    let epoch = state.epoch;
    assert!(!state.apply(&change).unwrap().changed);
    assert_eq!(state.epoch, epoch);
}

#[test]
fn two_desired_stores_of_one_number_are_refused_by_the_second_ones_field() {
    let refused =
        cluster(&[1]).apply(&desired(&["demo-1"], vec![store("a", 1), store("b", 1)])).unwrap_err();
    let Refused::InvalidStore(invalid) = refused else { panic!("{refused}") };
    assert_eq!(invalid.field, "stores[1].number");
}

#[test]
fn a_store_that_is_no_longer_listed_stays_until_it_is_dropped() {
    let mut state = cluster(&[1]);
    state.apply(&Change::CreateStore(store("by_hand", 7))).unwrap();
    state.apply(&desired(&["demo-1"], vec![store("a", 1), store("b", 2)])).unwrap();
    state.apply(&desired(&["demo-1"], vec![])).unwrap();
    let unlisted: Vec<_> = state.unlisted_stores().map(|s| s.number).collect();
    assert_eq!(unlisted, [1, 2]);
    let Change::SetDesired { desired, .. } = desired(&["demo-1"], vec![store("new_a", 1)]) else {
        unreachable!()
    };
    state.apply(&Change::SetDesired { desired, drop: vec![1, 7, 0] }).unwrap();
    let names: Vec<_> = state.stores.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["default", "new_a", "b", "by_hand"]);
}

#[test]
fn an_empty_or_doubled_list_of_members_is_refused() {
    for names in [&[][..], &["a", "a"], &[""]] {
        let refused = cluster(&[1]).apply(&desired(names, vec![]));
        assert!(matches!(refused, Err(Refused::InvalidDesired(_))), "{refused:?}");
    }
}

#[test]
fn stores_are_created_changed_and_dropped_by_name_and_number() {
    let mut state = cluster(&[1]);
    state.apply(&Change::CreateStore(store("a", 1))).unwrap();
    assert!(state.apply(&Change::CreateStore(store("b", 1))).is_err());
    let bounded = StorePolicy { max_memory_bytes: Some(1 << 20), ..store("a", 1) };
    state.apply(&Change::ChangeStore(bounded.clone())).unwrap();
    assert_eq!(state.store_named("a"), Some(&bounded));
    assert!(state.apply(&Change::ChangeStore(store("a", 2))).is_err());
    assert!(state.apply(&Change::ChangeStore(store("c", 3))).is_err());
    assert!(state.apply(&Change::DropStore(0)).is_err());
    state.apply(&Change::DropStore(1)).unwrap();
    assert_eq!(state.apply(&Change::DropStore(1)), Err(Refused::NoSuchStore("1".into())));
}
