use super::super::state::tests::{cluster, member};
use super::super::{Act, Change};
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

/// Carries out what is decided about slots, as members that get in sync at once do, until nothing
/// is; tells how often an owner that had nothing got everything.
fn carry_out(state: &mut ClusterState, facts: &Facts) -> usize {
    let mut planner = Planner::new();
    let mut looker = Planner::that_looks();
    let mut copies = 0;
    for round in 0.. {
        assert!(round < 1000, "it ends");
        let mut done = false;
        for decision in planner.plan(state, facts) {
            let change = match decision {
                Decision::Place(steps) => Change::Place(steps),
                Decision::HandOver { to, runs, .. } => Change::Place(hand_over(state, to, &runs)),
                Decision::LetGo { member, runs, .. } => {
                    Change::Place(vec![Step::new(runs, Act::RemoveOwner(member))])
                }
                _ => continue,
            };
            let changed = state.apply(&change).unwrap().changed;
            assert!(changed, "what does nothing is not decided: {change}");
            done = true;
        }
        let synced = get_in_sync(state);
        copies += synced;
        let seen = looker.target(state, |id| facts.is_alive(id)).unwrap();
        if !done && synced == 0 {
            assert!(seen.same_owners(&state.assignment), "who only looks sees that it is done");
            return copies;
        }
    }
    copies
}

fn hand_over(state: &ClusterState, to: MemberId, runs: &[(Slot, Slot)]) -> Vec<Step> {
    let slots = runs.iter().flat_map(|(first, last)| *first..=*last);
    slots
        .map(|slot| {
            let epoch = state.assignment.epoch_of(slot);
            Step::new(vec![(slot, slot)], Act::HandOver { epoch, to })
        })
        .collect()
}

/// Every owner that is there gets in sync; how many did.
fn get_in_sync(state: &mut ClusterState) -> usize {
    let mut steps = Vec::new();
    let mut copies = 0;
    for run in state.assignment.placements() {
        let placement = &run.placement;
        for member in placement.owners.iter().filter(|id| !placement.is_in_sync(**id)) {
            copies += usize::from(run.last - run.first) + 1;
            let incarnation = state.members[member].incarnation;
            let (primary, epoch) = (placement.owners[0], placement.epoch);
            let act = Act::InSync { primary, epoch, member: *member, incarnation, in_sync: true };
            steps.push(Step::new(vec![(run.first, run.last)], act));
        }
    }
    state.apply(&Change::Place(steps)).unwrap();
    copies
}

/// The loads of primaries and of replicas: the greatest against the least.
fn spread(assignment: &Assignment) -> (f64, f64) {
    let (mut primaries, mut replicas) = (BTreeMap::new(), BTreeMap::new());
    for slot in 0..crate::cluster::SLOTS {
        for (i, id) in assignment.owners(slot).iter().enumerate() {
            let of = if i == 0 { &mut primaries } else { &mut replicas };
            *of.entry(*id).or_insert(0u32) += 1;
        }
    }
    let ratio = |of: &BTreeMap<MemberId, u32>| {
        let (min, max) = (of.values().min(), of.values().max());
        min.zip(max).map_or(1.0, |(min, max)| f64::from(*max) / f64::from(*min))
    };
    (ratio(&primaries), ratio(&replicas))
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
    let Decision::Place(steps) = &decisions[1] else { panic!("{decisions:?}") };
    assert!(steps.iter().all(|step| step.act == Act::AddOwner(2)), "{steps:?}");
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
    let before = state.assignment.counts();
    carry_out(&mut state, &facts);
    let after = state.assignment.counts();
    assert_eq!(after.len(), 3);
    assert!(after.iter().all(|(id, count)| *count > before[id]), "{before:?} {after:?}");
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

fn everybody(ids: &[MemberId]) -> Facts {
    facts(&[1, 2, 3], ids)
}

#[test]
fn from_three_to_five_to_three_members_hardly_more_moves_than_must() {
    for factor in [1u8, 2] {
        let mut state = cluster(&[1, 2, 3]);
        let store = StorePolicy { replication_factor: factor, ..StorePolicy::new("default", 0) };
        state.apply(&Change::ChangeStore(store)).unwrap();
        carry_out(&mut state, &everybody(&[2, 3]));
        for id in [4, 5] {
            state.apply(&Change::AddMember(member(id))).unwrap();
        }
        let before = state.assignment.clone();
        let copies = carry_out(&mut state, &everybody(&[2, 3, 4, 5]));
        // Each of five holds a fifth of all copies; two of them had nothing.
        let least = f64::from(crate::cluster::SLOTS) * f64::from(factor) * 2.0 / 5.0;
        assert!(copies as f64 <= least * 1.1, "factor {factor}: {copies} copies, {least} must be");
        let changed = |a: &Assignment, b: &Assignment| {
            (0..crate::cluster::SLOTS).filter(|s| a.primary(*s) != b.primary(*s)).count() as f64
        };
        let handed = changed(&before, &state.assignment);
        let least = f64::from(crate::cluster::SLOTS) * 2.0 / 5.0;
        assert!(handed <= least * 1.1, "factor {factor}: {handed} hand-overs, {least} must be");
        let (primaries, replicas) = spread(&state.assignment);
        assert!(primaries <= 1.1 && replicas <= 1.1, "factor {factor}: {primaries} {replicas}");

        let lost = (0..crate::cluster::SLOTS)
            .map(|s| state.assignment.owners(s).iter().filter(|id| **id > 3).count())
            .sum::<usize>() as f64;
        let stores = state.stores.clone();
        desire(&mut state, &["demo-1", "demo-2", "demo-3"], stores);
        let copies = carry_out(&mut state, &everybody(&[2, 3, 4, 5])) as f64;
        assert!(copies <= lost * 1.1, "factor {factor}: {copies} copies, {lost} must be");
        let (primaries, replicas) = spread(&state.assignment);
        assert!(primaries <= 1.1 && replicas <= 1.1, "factor {factor}: {primaries} {replicas}");
        assert!(!state.assignment.owns(4) && !state.assignment.owns(5));
        assert!(state.assignment.runs().len() < 500, "{} runs", state.assignment.runs().len());
    }
}

#[test]
fn a_member_that_is_drained_gives_all_away_and_stays_and_gets_its_share_again() {
    let mut state = cluster(&[1, 2, 3]);
    let facts = facts(&[1, 2, 3], &[2, 3]);
    let drain =
        |drained| Change::Steer(crate::cluster::Steer::Drain { name: "demo-2".into(), drained });
    state.apply(&drain(true)).unwrap();
    assert_eq!(carry_out(&mut state, &facts), 5461);
    assert!(!state.assignment.owns(2) && state.members.contains_key(&2));
    assert_eq!(plan(&state, &facts), []);
    state.apply(&drain(false)).unwrap();
    carry_out(&mut state, &facts);
    assert_eq!(state.assignment.counts()[&2], 5461);
}

#[test]
fn a_weight_that_the_operator_gives_goes_before_the_members_own() {
    let mut state = cluster(&[1, 2, 3]);
    let weights = [("demo-3".to_owned(), Some(2))].into();
    state.apply(&Change::Steer(crate::cluster::Steer::Weights(weights))).unwrap();
    carry_out(&mut state, &facts(&[1, 2, 3], &[2, 3]));
    assert_eq!(state.assignment.counts(), [(1, 4096), (2, 4096), (3, 8192)].into());
}

#[test]
fn what_is_paused_or_given_up_half_way_stays_until_it_is_resumed_and_then_ends_right() {
    use crate::cluster::Steer;
    let mut state = cluster(&[1, 2]);
    state.apply(&Change::AddMember(member(3))).unwrap();
    let facts = facts(&[1, 2, 3], &[2, 3]);
    let Some(Decision::Place(steps)) =
        plan(&state, &facts).into_iter().find(|d| matches!(d, Decision::Place(_)))
    else {
        panic!("nothing begins")
    };
    let before = state.assignment.clone();
    state.apply(&Change::Place(steps)).unwrap();
    for steer in [Steer::Pause(true), Steer::Abort] {
        state.apply(&Change::Steer(steer)).unwrap();
        let places = plan(&state, &facts);
        let moves = |d: &Decision| matches!(d, Decision::Place(_) | Decision::HandOver { .. });
        assert!(!places.iter().any(moves), "{places:?}");
    }
    assert!(state.assignment.same_owners(&before));
    state.apply(&Change::Steer(Steer::Pause(false))).unwrap();
    assert_eq!(carry_out(&mut state, &facts), 5461);
    assert_eq!(state.assignment.counts()[&3], 5461);
}
