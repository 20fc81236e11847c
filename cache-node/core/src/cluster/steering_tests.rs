use super::super::state::tests::cluster;
use super::super::{Change, Refused};
use super::*;

fn steer(state: &mut ClusterState, steer: Steer) -> Result<bool, String> {
    match state.apply(&Change::Steer(steer)) {
        Ok(applied) => Ok(applied.changed),
        Err(Refused::InvalidSteering(invalid)) => {
            Err(format!("{}: {}", invalid.field, invalid.message))
        }
        Err(other) => panic!("{other}"),
    }
}

fn placed(owners: &[MemberId], in_sync: &[MemberId]) -> Placement {
    Placement { owners: owners.into(), in_sync: in_sync.into(), epoch: 3 }
}

#[test]
fn giving_up_takes_those_away_that_are_too_many_and_leaves_the_slot_where_it_is() {
    let after = |owners: &[MemberId], in_sync: &[MemberId], wanted| {
        given_up(&placed(owners, in_sync), wanted, &[])
            .map(|p| (p.owners.to_vec(), p.in_sync.to_vec()))
    };
    assert_eq!(after(&[1, 2], &[1], 1), Some((vec![1], vec![1])), "on its way");
    assert_eq!(after(&[1, 2], &[1, 2], 1), None, "it may have what nobody else has");
    assert_eq!(after(&[1, 2, 3], &[1, 2], 2), Some((vec![1, 2], vec![1, 2])));
    assert_eq!(after(&[1, 2, 3], &[1, 3], 2), Some((vec![1, 3], vec![1, 3])), "2 has nothing");
    assert_eq!(after(&[1, 2], &[1], 2), None, "2 came back, and gets what it missed");
    assert_eq!(after(&[1, 2, 3], &[1], 2), Some((vec![1, 2], vec![1])), "the last one came last");
    assert_eq!(after(&[1, 2], &[1, 2], 2), None);
}

#[test]
fn an_abort_pauses_and_is_done_once() {
    let mut state = cluster(&[1, 2]);
    let half = state.assignment.clone();
    let add = super::super::Step::new(vec![(0, 100)], super::super::Act::AddOwner(2));
    state.apply(&Change::Place(vec![add])).unwrap();
    assert_ne!(state.assignment.owners(0), half.owners(0));
    assert_eq!(steer(&mut state, Steer::Abort), Ok(true));
    assert!(state.assignment.same_owners(&half) && state.steering.paused);
    assert_eq!(steer(&mut state, Steer::Abort), Ok(false));
    assert_eq!(steer(&mut state, Steer::Pause(false)), Ok(true));
}

#[test]
fn weights_are_of_members_and_within_bounds_and_go_with_their_member() {
    let mut state = cluster(&[1, 2]);
    let weights = |name: &str, weight| Steer::Weights([(name.to_owned(), weight)].into());
    assert_eq!(steer(&mut state, weights("demo-1", Some(3))), Ok(true));
    assert_eq!((state.weight(1), state.weight(2)), (3, 1));
    let error = steer(&mut state, weights("demo-9", Some(3))).unwrap_err();
    assert_eq!(error, "weights.demo-9: no member is named 'demo-9'; there are: demo-1, demo-2");
    let error = steer(&mut state, weights("demo-1", Some(101))).unwrap_err();
    assert_eq!(error, "weights.demo-1: 101 is not one of 1 to 100");
    assert_eq!(steer(&mut state, weights("demo-1", None)), Ok(true));
    assert_eq!(state.weight(1), 1);
    steer(&mut state, weights("demo-2", Some(9))).unwrap();
    state.assignment.update(&super::super::state::EVERY_SLOT, |_| Some(placed(&[1], &[1])));
    state.apply(&Change::RemoveMember(2)).unwrap();
    assert_eq!(state.steering, Steering::default());
}

#[test]
fn somebody_is_left_to_own_what_is_drained() {
    let mut state = cluster(&[1, 2]);
    let drain = |name: &str, drained| Steer::Drain { name: name.to_owned(), drained };
    assert_eq!(steer(&mut state, drain("demo-1", true)), Ok(true));
    let error = steer(&mut state, drain("demo-2", true)).unwrap_err();
    assert_eq!(error, "member: nobody would be left to own the slots of 'demo-2'");
    assert_eq!(steer(&mut state, drain("demo-1", true)), Ok(false), "nothing is written twice");
    assert_eq!(steer(&mut state, drain("demo-1", false)), Ok(true));
}

#[test]
fn a_rate_that_would_never_end_is_refused() {
    let mut state = cluster(&[1]);
    assert!(steer(&mut state, Steer::MoveRate(Some(1))).is_err());
    assert_eq!(steer(&mut state, Steer::MoveRate(Some(1 << 20))), Ok(true));
    assert_eq!(steer(&mut state, Steer::MoveRate(None)), Ok(true));
}
