//! From where slots are to where they should be: an owner is added, gets in sync, becomes the
//! primary if it should be, and then those go that should not be owners. Every step leaves a slot
//! as well kept as it was, so a move may stop anywhere, and go on from there or back.
//!
//! Paused, only owners that are missing are added.

use super::{Decision, Facts, steps};
use crate::cluster::{Act, Assignment, ClusterState, MemberId, Placement, SLOTS, Slot, slot_runs};
use std::collections::BTreeMap;

/// How many slots may be on their way at once: owners of them that are there and not in sync.
pub const MAX_IN_FLIGHT: usize = 4096;

/// What of the way to `target` can be done now.
pub(super) fn moves(
    state: &ClusterState,
    target: &Assignment,
    facts: &Facts,
    decisions: &mut Vec<Decision>,
) {
    let there = |id: MemberId| {
        facts.is_alive(id) && !facts.dead.contains(&id) && !facts.stopping.contains(&id)
    };
    let paused = state.steering.paused;
    let mut acts: BTreeMap<Act, Vec<Slot>> = BTreeMap::new();
    let mut hand_overs: BTreeMap<(MemberId, MemberId), Vec<Slot>> = BTreeMap::new();
    let mut let_go: BTreeMap<(MemberId, MemberId), Vec<Slot>> = BTreeMap::new();
    let behind = |p: &Placement| p.owners.iter().any(|id| !p.is_in_sync(*id) && there(*id));
    let runs = state.assignment.placements();
    let mut in_flight: usize = runs
        .iter()
        .filter(|run| behind(&run.placement))
        .map(|run| usize::from(run.last - run.first) + 1)
        .sum();
    for slot in 0..SLOTS {
        let Some(now) = state.assignment.placement(slot) else { continue };
        let (wanted, Some(primary)) = (target.owners(slot), now.primary()) else { continue };
        if !there(primary) || wanted == now.owners.as_slice() {
            continue;
        }
        let flies = behind(now);
        let mut owners = now.owners.len();
        let mut added = false;
        for member in wanted.iter().filter(|id| !now.owns(**id) && there(**id)) {
            // One more than wanted, so that a slot of many replicas changes them one by one.
            let most = wanted.len() + usize::from(!paused);
            let room = owners < most && (flies || added || in_flight < MAX_IN_FLIGHT);
            if room {
                in_flight += usize::from(!flies && !added);
                (owners, added) = (owners + 1, true);
                acts.entry(Act::AddOwner(*member)).or_default().push(slot);
            }
        }
        if paused {
            continue;
        }
        let heir = wanted.first().copied().filter(|heir| *heir != primary && there(*heir));
        let is_ready = |heir| now.is_in_sync(heir) || (facts.empty_only && now.owns(heir));
        let heir = heir.filter(|heir| is_ready(*heir));
        if let Some(heir) = heir
            && !facts.handing_over.contains(&(primary, heir))
        {
            hand_overs.entry((primary, heir)).or_default().push(slot);
        }
        let complete =
            wanted.iter().all(|id| now.is_in_sync(*id) || (facts.empty_only && now.owns(*id)));
        let mut in_sync = now.in_sync.len();
        for extra in now.replicas().iter().rev().filter(|id| !wanted.contains(id)) {
            // Who has nothing yet is of no use to anybody; and more than should be are too many.
            let useless = !now.is_in_sync(*extra);
            if useless || complete || in_sync > wanted.len() {
                in_sync -= usize::from(!useless);
                if facts.empty_only {
                    acts.entry(Act::RemoveOwner(*extra)).or_default().push(slot);
                } else if useless && heir.is_some() {
                    // A hand-over comes first: a new epoch would end it.
                } else if useless {
                    acts.entry(Act::RemoveOwner(*extra)).or_default().push(slot);
                    // Its primary may be saying that it is in sync: should it be wanted again before that arrives, it
                    // would be so with nothing. A new epoch refuses that word.
                    let keep = acts.entry(Act::Keep { epoch: now.epoch }).or_default();
                    if keep.last() != Some(&slot) {
                        keep.push(slot);
                    }
                } else if !facts.handing_over.contains(&(primary, *extra)) {
                    let_go.entry((primary, *extra)).or_default().push(slot);
                }
            }
        }
    }
    if !acts.is_empty() {
        decisions.push(Decision::Place(steps(acts)));
    }
    decisions.extend(hand_overs.into_iter().map(|((from, to), slots)| {
        let runs = slot_runs(slots);
        Decision::HandOver { from, to, runs }
    }));
    decisions.extend(let_go.into_iter().map(|((from, member), slots)| {
        let runs = slot_runs(slots);
        Decision::LetGo { from, member, runs }
    }));
}

#[cfg(test)]
#[path = "moves_tests.rs"]
mod tests;
