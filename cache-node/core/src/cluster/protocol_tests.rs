use super::super::plan::Planner;
use super::super::state::tests::{cluster, member};
use super::super::{Change, Liveness, Refused, Seen};
use super::*;

const OLDEST: Protocol = *PROTOCOLS.start();
const NEWEST: Protocol = *PROTOCOLS.end();

fn seen(id: MemberId) -> Seen {
    let liveness = Liveness::Alive;
    Seen { member: member(id), cluster_id: 5, initialised: true, liveness }
}

fn facts(spoken: &[(MemberId, Protocol)], others: &[MemberId]) -> Facts {
    Facts {
        me: 1,
        seen: others.iter().map(|id| seen(*id)).collect(),
        voters: [1, 2, 3].into(),
        protocols: spoken.iter().copied().collect(),
        ..Facts::default()
    }
}

fn raised(state: &mut ClusterState, to: Protocol) -> Result<bool, Refused> {
    state.apply(&Change::RaiseProtocol(to)).map(|applied| applied.changed)
}

#[test]
fn a_newer_protocol_is_spoken_once_every_member_knows_it() {
    let state = cluster(&[1, 2, 3]);
    assert!(state.speaks(OLDEST) && !state.speaks(NEWEST));
    let decided = |spoken: &[(MemberId, Protocol)]| {
        let decisions = Planner::new().plan(&state, &facts(spoken, &[2, 3]));
        decisions.contains(&Decision::RaiseProtocol(NEWEST))
    };
    assert!(!decided(&[(1, NEWEST), (2, NEWEST)]), "of one nothing is known");
    assert!(!decided(&[(1, NEWEST), (2, NEWEST), (3, OLDEST)]));
    assert!(decided(&[(1, NEWEST), (2, NEWEST), (3, NEWEST)]));
}

#[test]
fn a_protocol_is_raised_once_and_never_falls_and_none_is_taken_that_is_not_known() {
    let mut state = cluster(&[1, 2, 3]);
    assert_eq!(raised(&mut state, NEWEST), Ok(true));
    assert_eq!(raised(&mut state, NEWEST), Ok(false));
    assert!(state.speaks(NEWEST));
    for wanted in [OLDEST, NEWEST + 1] {
        let refused = Refused::InvalidProtocol { wanted, now: NEWEST };
        assert_eq!(raised(&mut state, wanted), Err(refused));
    }
    let decisions =
        Planner::new().plan(&state, &facts(&[(1, NEWEST), (2, NEWEST), (3, NEWEST)], &[2, 3]));
    assert!(!decisions.iter().any(|d| matches!(d, Decision::RaiseProtocol(_))));
}

#[test]
fn what_all_first_members_speak_may_be_said_before_the_first_table() {
    let mut state = ClusterState::default();
    assert_eq!(raised(&mut state, NEWEST), Ok(true));
    let assignment = cluster(&[1]).assignment;
    let init = Change::Init { cluster_id: 5, members: vec![member(1)], assignment, stores: vec![] };
    assert_eq!(state.apply(&init).unwrap().epoch, 1);
    assert!(state.exists() && state.speaks(NEWEST));
}

#[test]
fn who_comes_is_let_in_if_it_knows_what_all_others_speak() {
    let mut state = cluster(&[1, 2, 3]);
    let is_let_in = |state: &ClusterState, spoken: &[(MemberId, Protocol)]| {
        let decisions = Planner::new().plan(state, &facts(spoken, &[2, 3, 4]));
        decisions.contains(&Decision::AddMember(member(4)))
    };
    assert!(is_let_in(&state, &[]), "every release knows the oldest");
    raised(&mut state, NEWEST).unwrap();
    assert!(!is_let_in(&state, &[]), "it was not asked yet");
    assert!(!is_let_in(&state, &[(4, OLDEST)]));
    assert!(is_let_in(&state, &[(4, NEWEST)]));
}
