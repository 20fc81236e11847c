//! As the leader: another primary for the slots of members that cannot serve any more, and a
//! place for members that were started again.

use super::{
    Handle,
    control::{self, Ask, Said},
    shared::Shared,
};
use hypercache_core::cluster::{
    Act, Away, Change, ClusterState, Liveness, MemberId, Positions, Slot, Step, fail_over,
    still_counted, to_be_asked,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

const TICK: Duration = Duration::from_millis(100);
const POSITIONS_TIMEOUT: Duration = Duration::from_millis(500);
const STEP_TIMEOUT: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(100);

/// What this member did as the leader, since it started.
#[derive(Debug, Default)]
pub struct FailOvers {
    done: AtomicU64,
    promoted_slots: AtomicU64,
    restarted_slots: AtomicU64,
}

/// The same at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FailOverCounts {
    /// How often slots got another primary because theirs could not serve any more.
    pub done: u64,
    /// Slots whose copy took over.
    pub promoted_slots: u64,
    /// Slots that were begun anew, empty.
    pub restarted_slots: u64,
}

impl FailOvers {
    fn note(&self, promoted: u32, restarted: u32) {
        self.done.fetch_add(1, Relaxed);
        self.promoted_slots.fetch_add(promoted.into(), Relaxed);
        self.restarted_slots.fetch_add(restarted.into(), Relaxed);
    }

    /// What was done so far.
    pub fn counts(&self) -> FailOverCounts {
        FailOverCounts {
            done: self.done.load(Relaxed),
            promoted_slots: self.promoted_slots.load(Relaxed),
            restarted_slots: self.restarted_slots.load(Relaxed),
        }
    }
}

/// Fails over, when this member leads, until it stops.
pub async fn drive(shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    let mut table = shared.table.clone();
    let mut gone = shared.deaths.gone();
    let mut changed = shared.changed.subscribe();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = step(&shared) => {}
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            Ok(()) = gone.changed() => {}
            Ok(()) = table.changed() => {}
            Ok(()) = changed.changed() => {}
            _ = tick.tick() => {}
        }
    }
}

async fn step(shared: &Arc<Shared>) {
    if !shared.leads() || !shared.view.load().quorum {
        return;
    }
    let dead = shared.deaths.dead(shared);
    let gone = shared.deaths.gone().borrow().clone();
    let state = shared.table.borrow().clone();
    if dead.is_empty() || !state.assignment.counts().keys().any(|id| dead.contains(id)) {
        return;
    }
    let positions = positions(shared, &state, to_be_asked(&state, &dead, None)).await;
    let alive = alive(shared);
    let away = Away { dead: &dead, gone: &gone, lost: &BTreeSet::new() };
    let decided = fail_over(&state, away, None, &positions, |id| alive.contains(&id));
    if decided.steps.is_empty() {
        return;
    }
    let names: Vec<&str> =
        dead.iter().filter_map(|id| state.members.get(id)).map(|m| m.name.as_str()).collect();
    let promoted = slots_of(&decided.steps, |act| matches!(act, Act::Promote { .. }));
    let begun_anew = slots_of(&decided.steps, |act| matches!(act, Act::Restart { .. }));
    tracing::warn!(
        action = "fail-over",
        names = names.join(" "),
        promoted,
        begun_anew,
        "slots of members that cannot serve get other primaries"
    );
    let deadline = Instant::now() + STEP_TIMEOUT;
    match control::propose(shared, Change::Place(decided.steps), deadline).await {
        Said::Applied(_) => shared.fail_overs.note(promoted, begun_anew),
        other => {
            tracing::warn!(
                action = "fail-over-failed",
                error = ?other,
                "a fail-over was not written"
            );
            sleep(AGAIN).await;
        }
    }
}

/// How many slots steps with such acts are about.
pub(super) fn slots_of(steps: &[Step], is: fn(&Act) -> bool) -> u32 {
    let runs = steps.iter().filter(|step| is(&step.act)).flat_map(|step| &step.runs);
    runs.map(|(first, last)| u32::from(last - first) + 1).sum()
}

pub(super) fn alive(shared: &Shared) -> BTreeSet<MemberId> {
    let rumours = shared.gossip.rumours();
    let rumours = rumours.borrow();
    let seen = rumours.iter().map(|rumour| &rumour.seen);
    let alive = seen.filter(|seen| seen.liveness == Liveness::Alive).map(|seen| seen.member.id);
    alive.chain([shared.me.id]).collect()
}

/// What members say of how far they are; who does not say it in time is not in it.
pub(super) async fn positions(
    shared: &Arc<Shared>,
    state: &ClusterState,
    asked: BTreeMap<MemberId, Vec<(Slot, Slot)>>,
) -> Positions {
    let deadline = Instant::now() + POSITIONS_TIMEOUT;
    let asked = asked.into_iter().map(|(id, runs)| async move {
        let member = shared.reach(state.members.get(&id)?);
        match control::ask(shared, &member, Ask::Positions(runs), deadline).await {
            Ok(Said::Positions(slots)) => {
                let slots = slots.into_iter().map(|(slot, epoch, at)| (slot, (epoch, at)));
                Some((id, slots.collect()))
            }
            _ => None,
        }
    });
    futures::future::join_all(asked).await.into_iter().flatten().collect()
}

/// Before the table knows of a member's new process: where it was the primary and others are in
/// sync, who is furthest ahead of all of them is the primary, and in sync alone.
///
/// # Errors
/// What has to be waited for.
pub async fn let_in(shared: &Arc<Shared>, member: MemberId) -> Result<(), String> {
    for _ in 0..3 {
        let state = shared.table.borrow().clone();
        let mut dead = shared.deaths.dead(shared);
        dead.remove(&member);
        let gone = shared.deaths.gone().borrow().clone();
        let asked = to_be_asked(&state, &dead, Some(member));
        if asked.is_empty() {
            return match still_counted(&state, member) {
                0 => Ok(()),
                slots => Err(format!(
                    "{slots} slots count on what it had before, and have yet to go on without it"
                )),
            };
        }
        let positions = positions(shared, &state, asked).await;
        let away = Away { dead: &dead, gone: &gone, lost: &BTreeSet::new() };
        let decided = fail_over(&state, away, Some(member), &positions, |_| false);
        if decided.steps.is_empty() {
            let slots: u32 = decided.waiting.iter().map(|waiting| waiting.slots).sum();
            return Err(match slots {
                0 => "other owners of its slots have yet to say how far they are".to_owned(),
                slots => format!("{slots} slots wait for other owners, who may have more of them"),
            });
        }
        let deadline = Instant::now() + STEP_TIMEOUT;
        match control::propose(shared, Change::Place(decided.steps), deadline).await {
            Said::Applied(_) => {}
            other => return Err(format!("{other:?}")),
        }
    }
    Err("its slots have yet to get other primaries".to_owned())
}

/// Tells the table of this process, until it knows: nothing is served before (L25).
pub async fn tell_of_restart(shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    let mut table = shared.table.clone();
    let handle = Handle { shared: shared.clone() };
    loop {
        let unknown = {
            let state = table.borrow_and_update();
            let known = state.members.get(&shared.me.id);
            known.is_some_and(|known| known.incarnation != shared.me.incarnation)
        };
        if unknown && shared.view.load().quorum {
            let (member, incarnation) = (shared.me.id, shared.me.incarnation);
            let change = Change::Restarted { member, incarnation };
            let told = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                told = handle.propose(change) => told,
            };
            if let Err(error) = told {
                tracing::info!(
                    action = "start-not-known-yet",
                    %error,
                    "this start is not in the cluster's table yet"
                );
            }
        }
        let wait = if unknown { AGAIN } else { Duration::from_secs(3600) };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            Ok(()) = table.changed() => {}
            () = sleep(wait) => {}
        }
    }
}
