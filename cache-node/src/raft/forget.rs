//! As the leader: a member that never comes back is forgotten. Nobody waits for what it alone may have.

use super::{
    control::{self, Said},
    failover,
    shared::Shared,
};
use hypercache_core::cluster::{
    Act, Away, Change, ClusterState, MemberId, SLOTS, Slot, Steer, Step, fail_over, slot_runs,
    to_be_asked,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// Between two looks at what is left to do.
const AGAIN: Duration = Duration::from_millis(100);
/// So long before whoever asked gives up it is told how far it is.
const EARLY: Duration = Duration::from_millis(500);

/// What becomes of slots without a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Forgotten {
    /// Slots that another owner answers for from now on.
    pub promoted: u32,
    /// Slots that begin empty, as nobody else has them.
    pub begun_empty: u32,
    /// Slots that wait for other members all the same.
    pub waiting: u32,
}

/// Forgets a member, or only says what that would do. It is not the primary of any slot, no owner and no
/// member after that.
pub async fn forget(
    shared: &Arc<Shared>,
    member: MemberId,
    dry_run: bool,
    deadline: Instant,
) -> Said {
    if !shared.leads() {
        return Said::NotLeader;
    }
    let deadline = deadline - EARLY;
    let mut done = Forgotten::default();
    let mut is_drained = dry_run;
    while Instant::now() < deadline {
        let state = shared.table.borrow().clone();
        let Some(name) = state.members.get(&member).map(|member| member.name.clone()) else {
            return Said::Forgot(done);
        };
        let dead = shared.deaths.dead(shared);
        if !dead.contains(&member) {
            return Said::Failed(format!("'{name}' is alive: drain it"));
        }
        if !is_drained {
            // It gets no slots meanwhile.
            let drain = Change::Steer(Steer::Drain { name, drained: true });
            match control::propose(shared, drain, deadline).await {
                Said::Applied(_) => is_drained = true,
                other => return other,
            }
            continue;
        }
        let (steps, next) = decide(shared, &state, &dead, member).await;
        done.waiting = next.waiting;
        if dry_run {
            return Said::Forgot(next);
        }
        let change = match steps.is_empty() {
            false => Change::Place(steps),
            true if !state.assignment.owns(member) => Change::RemoveMember(member),
            // Another member has to be forgotten, too; or a primary has yet to let it go.
            true => {
                sleep(AGAIN).await;
                continue;
            }
        };
        match control::propose(shared, change, deadline).await {
            Said::Applied(_) => {
                done.promoted += next.promoted;
                done.begun_empty += next.begun_empty;
            }
            // The table is another one by now.
            Said::Refused(_) => sleep(AGAIN).await,
            other => return other,
        }
    }
    match done.waiting {
        0 => Said::Failed("slots have yet to let it go; ask again".to_owned()),
        _ => Said::Forgot(done),
    }
}

/// What is to be done next, and what that is in slots of the member.
async fn decide(
    shared: &Arc<Shared>,
    state: &ClusterState,
    dead: &BTreeSet<MemberId>,
    member: MemberId,
) -> (Vec<Step>, Forgotten) {
    let gone = shared.deaths.gone().borrow().clone();
    let lost = BTreeSet::from([member]);
    let positions = failover::positions(shared, state, to_be_asked(state, dead, None)).await;
    let alive = failover::alive(shared);
    let away = Away { dead, gone: &gone, lost: &lost };
    let decided = fail_over(state, away, None, &positions, |id| alive.contains(&id));
    let mut steps = decided.steps;
    let next = Forgotten {
        promoted: failover::slots_of(&steps, |act| matches!(act, Act::Promote { .. })),
        begun_empty: failover::slots_of(&steps, |act| matches!(act, Act::Restart { .. })),
        waiting: decided.waiting.iter().map(|waiting| waiting.slots).sum(),
    };
    let is_left = |slot: &Slot| {
        let placement = state.assignment.placement(*slot);
        placement.is_some_and(|p| p.replicas().contains(&member) && !p.is_in_sync(member))
    };
    let left = slot_runs((0..SLOTS).filter(is_left));
    if !left.is_empty() {
        steps.push(Step::new(left, Act::RemoveOwner(member)));
    }
    (steps, next)
}
