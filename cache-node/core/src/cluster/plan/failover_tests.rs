use super::*;
use crate::cluster::state::tests::cluster;
use crate::cluster::{Change, Owners};
use crate::store::Durability;

const A: MemberId = 1;
const B: MemberId = 2;
const C: MemberId = 3;

struct Case {
    state: ClusterState,
    dead: BTreeSet<MemberId>,
    gone: BTreeSet<MemberId>,
    lost: BTreeSet<MemberId>,
    restarted: Option<MemberId>,
    positions: Positions,
}

/// Three members, of which A is the primary of slots 0 to 9, with these in sync, and none is the
/// primary of anything else that matters.
fn case(in_sync: &[MemberId], store: StorePolicy) -> Case {
    let mut state = cluster(&[A, B, C, 4]);
    state.stores = vec![store];
    let rest = Placement::new(Owners::from_slice(&[4]), 1);
    let factor = usize::from(state.stores[0].replication_factor);
    let placement = Placement {
        owners: [A, B, C].into_iter().take(factor.max(in_sync.len())).collect(),
        in_sync: in_sync.into(),
        epoch: 7,
    };
    state.assignment.update(&[(0, SLOTS - 1)], |_| Some(rest.clone()));
    state.assignment.update(&[(0, 9)], |_| Some(placement.clone()));
    Case {
        state,
        dead: [A].into(),
        gone: BTreeSet::new(),
        lost: BTreeSet::new(),
        restarted: None,
        positions: Positions::new(),
    }
}

fn store(factor: u8, acks: Acks, mode: Mode) -> StorePolicy {
    let durability = Durability { mode, ..Durability::default() };
    StorePolicy { replication_factor: factor, acks, durability, ..StorePolicy::new("default", 0) }
}

fn memory(factor: u8) -> StorePolicy {
    store(factor, Acks::One, Mode::Disabled)
}

impl Case {
    /// How far a member is with every slot.
    fn heard(mut self, id: MemberId, epoch: u64, sequence: u64) -> Self {
        self.positions.insert(id, (0..10).map(|slot| (slot, (epoch, sequence))).collect());
        self
    }

    fn dead(mut self, dead: &[MemberId]) -> Self {
        self.dead = dead.iter().copied().collect();
        self
    }

    /// The processes of these are gone.
    fn gone(mut self, gone: &[MemberId]) -> Self {
        self.gone = gone.iter().copied().collect();
        self
    }

    /// These never come back.
    fn lost(mut self, lost: &[MemberId]) -> Self {
        self.lost = lost.iter().copied().collect();
        self
    }

    fn restarted(mut self, id: MemberId) -> Self {
        self.restarted = Some(id);
        self.dead.remove(&id);
        self
    }

    fn decide(&self) -> Failover {
        let away = Away { dead: &self.dead, gone: &self.gone, lost: &self.lost };
        fail_over(&self.state, away, self.restarted, &self.positions, |_| true)
    }

    fn asked(&self) -> Vec<MemberId> {
        let asked = to_be_asked(&self.state, &self.dead, self.restarted);
        assert!(asked.values().all(|runs| *runs == [(0, 9)]), "{asked:?}");
        asked.into_keys().collect()
    }
}

fn act(act: Act) -> Failover {
    Failover { steps: vec![Step::new(vec![(0, 9)], act)], waiting: vec![] }
}

fn promote(to: MemberId) -> Failover {
    act(Act::Promote { epoch: 7, to })
}

fn waits(members: &[MemberId]) -> Failover {
    let waiting = vec![Waiting { members: members.to_vec(), slots: 10 }];
    Failover { steps: vec![], waiting }
}

#[test]
fn nothing_is_done_while_everybody_lives() {
    let case = case(&[A, B, C], memory(3)).dead(&[B, C]);
    assert_eq!((case.asked(), case.decide()), (vec![], Failover::default()));
}

#[test]
fn the_only_one_left_in_sync_is_asked_whether_it_has_forgotten_how_far_it_is() {
    let case = || case(&[A, C], store(3, Acks::Quorum, Mode::Aof));
    assert_eq!(case().asked(), [C]);
    assert_eq!(case().decide(), Failover::default());
    assert_eq!(case().heard(C, 7, 3).decide(), promote(C));
    // A and another one may have acknowledged what is not on its disk.
    assert_eq!(case().forgot(C).decide(), waits(&[A]));
}

#[test]
fn of_several_the_one_that_is_furthest_ahead_is_promoted() {
    let three = || case(&[A, B, C], memory(3));
    assert_eq!(three().asked(), [B, C]);
    assert_eq!(three().heard(B, 7, 5).heard(C, 7, 6).decide(), promote(C));
    assert_eq!(three().heard(B, 7, 5).heard(C, 6, 9).decide(), promote(B), "a newer epoch");
    assert_eq!(three().heard(B, 7, 5).heard(C, 7, 5).decide(), promote(B), "the first of equals");
}

#[test]
fn who_is_there_is_waited_for_until_it_answers_or_is_dead() {
    let case = case(&[A, B, C], memory(3)).heard(B, 7, 5);
    assert_eq!(case.decide(), Failover::default());
    assert_eq!(case.dead(&[A, C]).decide(), promote(B));
}

#[test]
fn an_owner_of_fewer_stores_comes_after_one_of_more() {
    let mut case = case(&[A, B, C], memory(3)).heard(B, 7, 5).heard(C, 7, 6);
    case.state.stores.push(StorePolicy { number: 1, name: "two".into(), ..memory(2) });
    assert_eq!(case.decide(), promote(B), "C has nothing of the store of two owners");
}

#[test]
fn o_a_quorum_that_may_come_back_from_its_disks_is_waited_for() {
    let quorum = |mode| case(&[A, B, C], store(3, Acks::Quorum, mode)).dead(&[A, B]).heard(C, 7, 1);
    assert_eq!(quorum(Mode::Aof).decide(), waits(&[A, B]));
    assert_eq!(quorum(Mode::Aof).gone(&[A, B]).decide(), waits(&[A, B]), "their disks come back");
    let memory = || quorum(Mode::Disabled);
    assert_eq!(memory().gone(&[A, B]).decide(), promote(C), "they come back with nothing");
    let all = case(&[A, B, C], store(3, Acks::All, Mode::Aof)).dead(&[A, B]);
    assert_eq!(all.heard(C, 7, 1).decide(), promote(C), "whoever is in sync has all");
    let one_dead = case(&[A, B, C], store(3, Acks::Quorum, Mode::Aof));
    assert_eq!(one_dead.heard(B, 7, 1).heard(C, 7, 2).decide(), promote(C));
}

#[test]
fn a_majority_in_memory_that_is_silent_may_be_cut_off_and_is_waited_for() {
    let quorum = || case(&[A, B, C], store(3, Acks::Quorum, Mode::Disabled)).heard(C, 7, 1);
    assert_eq!(quorum().dead(&[A, B]).decide(), waits(&[A, B]));
    assert_eq!(quorum().dead(&[A, B]).gone(&[A]).decide(), waits(&[B]), "B may have all of A's");
    let restarted = || quorum().heard(A, 0, 0).dead(&[B]).restarted(A);
    assert_eq!(restarted().decide(), waits(&[B]), "A has lost what B may have");
    assert_eq!(restarted().gone(&[B]).decide(), promote(C), "nobody has it any more");
    assert_eq!(quorum().heard(B, 7, 2).decide(), promote(B), "one of three is missing");
}

#[test]
fn a_store_that_nobody_who_is_heard_holds_is_waited_for() {
    for acks in [Acks::All, Acks::One] {
        let of_two = || {
            let mut case = case(&[A, B, C], memory(3)).heard(C, 7, 1);
            let two = store(2, acks, Mode::Disabled);
            case.state.stores.push(StorePolicy { number: 1, name: "two".into(), ..two });
            case
        };
        assert_eq!(of_two().dead(&[A, B]).decide(), waits(&[A, B]), "C has none of it");
        assert_eq!(of_two().dead(&[A, B]).gone(&[A]).decide(), waits(&[B]));
        assert_eq!(of_two().dead(&[A, B]).gone(&[A, B]).decide(), promote(C), "it is lost");
        assert_eq!(of_two().heard(B, 7, 1).decide(), promote(B));
    }
}

#[test]
fn a_plain_cache_begins_anew_at_once_and_anything_else_waits() {
    let alone = case(&[A], memory(1)).decide();
    let [step] = &alone.steps[..] else { panic!("{alone:?}") };
    assert!(matches!(step.act, Act::Restart { epoch: 7, to } if to != A), "{step:?}");
    assert_eq!(case(&[A], store(1, Acks::One, Mode::Snapshot)).decide(), waits(&[A]));
    assert_eq!(case(&[A], memory(2)).decide(), waits(&[A]), "what was replicated is kept");
    assert_eq!(case(&[A, B], memory(2)).dead(&[A, B]).decide(), waits(&[A, B]));
}

#[test]
fn nobody_takes_over_where_everybody_is_dead() {
    let all = case(&[A], memory(1)).dead(&[A, B, C, 4]);
    let failover = all.decide();
    assert_eq!(failover.steps, []);
    assert_eq!(failover.waiting.iter().map(|w| w.slots).sum::<u32>(), u32::from(SLOTS));
}

#[test]
fn l25_a_restarted_primary_gives_way_to_one_with_its_memory() {
    let case = || case(&[A, B, C], store(3, Acks::Quorum, Mode::Aof)).restarted(A);
    assert_eq!(case().asked(), [A, B, C]);
    assert_eq!(case().heard(A, 7, 3).heard(B, 7, 4).decide(), Failover::default(), "C is asked");
    assert_eq!(case().heard(A, 7, 4).heard(B, 7, 4).heard(C, 7, 3).decide(), promote(B));
}

#[test]
fn a_restarted_primary_that_has_the_most_on_its_disk_stays_and_is_alone() {
    let case = case(&[A, B], store(2, Acks::All, Mode::Aof)).restarted(A);
    let decided = case.heard(A, 7, 9).heard(B, 7, 4).decide();
    let leaves = Act::InSync { primary: A, epoch: 7, member: B, incarnation: 0, in_sync: false };
    assert_eq!(decided, act(leaves));
}

impl Case {
    /// A member has answered, and remembers nothing: it was started anew.
    fn forgot(mut self, id: MemberId) -> Self {
        self.positions.insert(id, BTreeMap::new());
        self
    }
}

#[test]
fn a_restarted_primary_stays_where_all_others_were_restarted_too() {
    let case = case(&[A, B, C], store(3, Acks::Quorum, Mode::Aof)).restarted(A);
    let decided = case.forgot(A).forgot(B).forgot(C).decide();
    let leaves = |member| {
        let act = Act::InSync { primary: A, epoch: 7, member, incarnation: 0, in_sync: false };
        Step::new(vec![(0, 9)], act)
    };
    assert_eq!(decided, Failover { steps: vec![leaves(B), leaves(C)], waiting: vec![] });
}

#[test]
fn a_restarted_primary_whose_disk_is_whole_stays_where_others_cannot_prove_that_they_have_all() {
    let quorum = || case(&[A, B, C], store(3, Acks::Quorum, Mode::Aof)).restarted(A);
    let whole = || {
        let (epoch, sequence) = WHOLE_ON_DISK;
        quorum().heard(A, epoch, sequence)
    };
    let stays = |decided: Failover| {
        let kept = |step: &Step| matches!(step.act, Act::InSync { primary: A, in_sync: false, .. });
        !decided.steps.is_empty() && decided.steps.iter().all(kept)
    };
    // A may have acknowledged with B what C has not.
    assert!(stays(whole().dead(&[B]).restarted(A).heard(C, 7, 3).decide()));
    assert!(stays(whole().forgot(B).heard(C, 7, 3).decide()));
    assert_eq!(whole().heard(B, 7, 2).heard(C, 7, 3).decide(), promote(C), "one of them has all");
    assert_eq!(quorum().forgot(A).forgot(B).heard(C, 7, 3).decide(), promote(C), "A's was damaged");
    let all = || case(&[A, B, C], store(3, Acks::All, Mode::Aof)).restarted(A);
    assert_eq!(all().heard(A, 0, 1).forgot(B).heard(C, 7, 3).decide(), promote(C));
}

#[test]
fn who_was_started_again_still_counts_where_a_majority_on_disks_may_have_been_with_it() {
    let counted = |acks, mode| {
        let case = case(&[A, B, C], store(3, acks, mode));
        [A, B].map(|id| still_counted(&case.state, id))
    };
    assert_eq!(counted(Acks::Quorum, Mode::Aof), [0, 10], "A is the primary of all that it owns");
    assert_eq!(counted(Acks::Quorum, Mode::Disabled), [0, 0], "what B had is lost");
    assert_eq!(counted(Acks::All, Mode::Aof), [0, 0], "whoever is in sync has all");
}

#[test]
fn where_a_majority_is_dead_or_has_forgotten_how_far_it_is_the_dead_are_waited_for() {
    let case = || case(&[A, B, C], store(3, Acks::Quorum, Mode::Aof));
    assert_eq!(case().forgot(B).heard(C, 7, 3).decide(), waits(&[A]));
    assert_eq!(case().heard(B, 7, 4).heard(C, 7, 3).decide(), promote(B));
}

#[test]
fn a_restarted_primary_with_stores_that_nobody_else_has_stays_if_it_has_as_much() {
    let mut case = case(&[A, B], memory(2)).restarted(A).heard(A, 7, 4).heard(B, 7, 4);
    assert_eq!(case.decide(), promote(B));
    let single = store(1, Acks::One, Mode::Aof);
    case.state.stores.push(StorePolicy { number: 1, name: "single".into(), ..single });
    assert!(matches!(case.decide().steps[0].act, Act::InSync { member: B, in_sync: false, .. }));
}

#[test]
fn what_is_decided_does_what_it_says_in_the_table() {
    let mut case = case(&[A, B, C], memory(3)).heard(B, 7, 5).heard(C, 7, 6);
    case.state.apply(&Change::Place(case.decide().steps)).unwrap();
    let placement = case.state.assignment.placement(4).unwrap();
    assert_eq!(
        (placement.owners.as_slice(), placement.in_sync.as_slice()),
        (&[C, B, A][..], &[C][..])
    );
    assert_eq!(case.decide(), Failover::default());
}

#[test]
fn nobody_waits_for_a_member_that_is_lost_and_what_only_it_had_begins_anew() {
    let quorum = store(3, Acks::Quorum, Mode::Aof);
    let silent = || case(&[A, B, C], quorum.clone()).dead(&[A, B]).heard(C, 7, 3);
    assert_eq!(silent().decide().waiting, [Waiting { members: vec![A, B], slots: 10 }]);
    assert_eq!(
        silent().lost(&[A]).decide().waiting,
        [Waiting { members: vec![B], slots: 10 }],
        "the other one may come back"
    );
    assert_eq!(silent().lost(&[A, B]).decide(), promote(C));
    let alone = || case(&[A], store(1, Acks::One, Mode::Aof));
    assert_eq!(alone().decide().waiting, [Waiting { members: vec![A], slots: 10 }]);
    let begun = alone().lost(&[A]).decide();
    assert!(
        matches!(begun.steps[..], [Step { act: Act::Restart { epoch: 7, .. }, .. }]),
        "{begun:?}"
    );
}

#[test]
fn an_owner_more_than_stores_ask_for_holds_all_of_them_and_is_the_next_primary() {
    let mut case = case(&[A, C, 4], store(3, Acks::Quorum, Mode::Disabled));
    let few = StorePolicy { number: 1, name: "few".into(), ..store(2, Acks::All, Mode::Disabled) };
    case.state.stores.push(few);
    let placement = Placement {
        owners: [A, B, C, 4].into_iter().collect(),
        in_sync: [A, C, 4].into_iter().collect(),
        epoch: 7,
    };
    case.state.assignment.update(&[(0, 9)], |_| Some(placement.clone()));
    // Neither of the two that the smaller store asks for is there, and one that holds it is.
    let case = case.gone(&[A]).heard(C, 7, 5).heard(4, 7, 5);
    let none = BTreeSet::new();
    let away = Away { dead: &case.dead, gone: &none, lost: &case.lost };
    let found = fail_over(&case.state, away, None, &case.positions, |_| true);
    let promoted = Step::new(vec![(0, 9)], Act::Promote { epoch: 7, to: 4 });
    assert_eq!((found.steps, found.waiting), (vec![promoted], vec![]));
}
