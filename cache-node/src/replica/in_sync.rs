//! Who is in sync, as the primary finds it: what is to be so by the table is proposed, and until its end is
//! known nobody is answered by it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::*;
use std::time::Duration;

use hypercache_core::cluster::{
    Act, Change, ClusterState, MemberId, REMOVES_BY_EPOCH, SLOTS, Slot, Step, slot_runs,
};
use hypercache_core::keyspace::{Keyspace, Leaving};
use hypercache_core::replica::{Link, Owner};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::Context;
use super::handle::LinkState;
use crate::raft;

/// How long an owner that is in sync may not confirm, or not have what it should, before it leaves.
const PATIENCE: Duration = Duration::from_millis(1000);
/// How long an owner that joins may take to confirm what was there when it had everything.
const CONFIRMS: Duration = Duration::from_secs(2);
/// How long those that have everything wait for others of which that is so soon.
const GATHERS: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(50);
/// Between two looks whether something is confirmed.
const LOOK: Duration = Duration::from_millis(2);
/// While slots wait for others, it is looked more seldom: a look is one at all slots.
const LOOK_WHILE_GATHERING: Duration = Duration::from_millis(10);
/// Between two attempts to end what was proposed.
const RETRY: Duration = Duration::from_millis(200);

/// The owners at the other end of a link, kept in sync or not as they are, until the member stops.
pub(super) async fn keep(context: Arc<Context>, link: Arc<Link>) {
    let mut stop = context.stop.clone();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let state = context.handle.state_of(link.member());
    let mut keeper = Keeper {
        context: context.clone(),
        link,
        state,
        whole_at: Instant::now(),
        joining_since: None,
        looked: None,
        shared: (0, vec![]),
    };
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = keeper.step() => {}
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = tick.tick() => {}
            () = attended(&keeper.state, keeper.pace()) => {}
        }
    }
}

/// Something is there, and what comes at the same time: much changes at once, mostly.
async fn attended(state: &LinkState, pace: Duration) {
    state.attend.notified().await;
    sleep(pace).await;
}

struct Keeper {
    context: Arc<Context>,
    link: Arc<Link>,
    state: Arc<LinkState>,
    /// When all owners that are in sync had last what they should.
    whole_at: Instant,
    /// Since when some have everything and are not in sync.
    joining_since: Option<Instant>,
    looked: Option<Looked>,
    /// The slots that this member is the primary of and the other an owner, by the table of an epoch.
    shared: (u64, Vec<Shared>),
}

/// Why an owner leaves the in-sync set.
#[derive(Debug, Clone, Copy)]
enum Why {
    /// It does not do as it should.
    Fails,
    /// For a replication factor.
    MakesWay,
}

/// A slot of this member with another owner, by the table.
struct Shared {
    slot: Slot,
    /// The other one is in sync.
    is_in_sync: bool,
    /// It leaves now, or may not join, until a replication factor that is asked for is in force.
    steps_aside: bool,
    /// No majority of its owners is in sync: it refuses writes.
    is_urgent: bool,
}

/// What a look at all shared slots found.
struct Looked {
    /// The epoch of the table, how often the link's owners had changed, and its session: while these are the
    /// same, so is the rest.
    at: (u64, u64, u64),
    /// Slots in which the member is in sync.
    in_sync: Vec<Slot>,
    /// Of these, those of which it has not what it should.
    lacks: Vec<Slot>,
    /// Of the others, those that it leaves for a replication factor that is asked for.
    aside: Vec<Slot>,
    /// Slots of which it has everything, and is not in sync.
    joins: Vec<Slot>,
    /// How many slots are on their way to it.
    comes: usize,
    /// Some that it may join have no majority of their owners in sync: they refuse writes.
    is_urgent: bool,
}

impl Keeper {
    /// How long what comes at the same time is waited for.
    fn pace(&self) -> Duration {
        if self.joining_since.is_some() { LOOK_WHILE_GATHERING } else { LOOK }
    }

    async fn step(&mut self) {
        let context = self.context.clone();
        if !context.cluster.view().quorum || context.stops.load(Acquire) {
            return;
        }
        let is_up = self.state.is_up.load(Acquire);
        let mut looked = self.look();
        if looked.lacks.is_empty() {
            self.whole_at = Instant::now();
        }
        let is_gone = self.state.is_gone.load(Acquire);
        let is_silent = self.state.unwell() >= PATIENCE;
        if looked.joins.is_empty() {
            self.joining_since = None;
        }
        let must_leave = std::mem::take(&mut *self.state.must_leave.lock());
        if (is_gone || is_silent) && !looked.in_sync.is_empty() {
            self.leave(looked.in_sync, Why::Fails).await;
        } else if !looked.lacks.is_empty() && self.whole_at.elapsed() >= PATIENCE {
            self.leave(looked.lacks, Why::Fails).await;
        } else if looked.lacks.iter().any(|slot| must_leave.contains(slot)) {
            // The others are on their way.
            looked.lacks.retain(|slot| must_leave.contains(slot));
            self.leave(looked.lacks, Why::Fails).await;
        } else if !looked.aside.is_empty() {
            self.leave(looked.aside, Why::MakesWay).await;
        } else if is_up && !is_silent && !looked.joins.is_empty() {
            // One change of the table for many.
            let since = *self.joining_since.get_or_insert_with(Instant::now);
            if looked.comes == 0 || looked.is_urgent || since.elapsed() >= GATHERS {
                self.joining_since = None;
                self.join(looked.joins).await;
            } else {
                self.looked = Some(looked);
            }
        } else {
            self.looked = Some(looked);
        }
    }

    /// Looks at all shared slots, unless nothing can have changed since it did so last.
    fn look(&mut self) -> Looked {
        let (context, link) = (&self.context, &self.link);
        let table = context.serving.state();
        // Before it is looked at: what changes meanwhile is looked at again.
        let at = (table.epoch, link.changes(), link.session());
        if let Some(looked) = self.looked.take_if(|looked| looked.at == at) {
            return looked;
        }
        let mut looked = Looked {
            at,
            in_sync: vec![],
            lacks: vec![],
            aside: vec![],
            joins: vec![],
            comes: 0,
            is_urgent: false,
        };
        if self.shared.0 != table.epoch {
            self.shared = (table.epoch, shared(&table, context.me, link.member()));
        }
        for Shared { slot, is_in_sync, steps_aside, is_urgent } in &self.shared.1 {
            let slot = *slot;
            let owner = context.keyspace.feed().look(slot, |feed| feed.owner(link)).flatten();
            let is_whole = owner.is_some_and(|Owner { is_whole, .. }| is_whole);
            match is_in_sync {
                true => {
                    looked.in_sync.push(slot);
                    if !is_whole {
                        looked.lacks.push(slot);
                    } else if *steps_aside {
                        looked.aside.push(slot);
                    }
                }
                false if *steps_aside => {}
                false if is_whole => {
                    looked.joins.push(slot);
                    looked.is_urgent |= is_urgent;
                }
                // Others of its slots may have everything soon.
                false => looked.comes += usize::from(owner.is_some()),
            }
        }
        looked
    }

    /// The owner leaves the in-sync sets of slots, and with it those that have not what it may have alone.
    async fn leave(&mut self, slots: Vec<Slot>, why: Why) {
        let context = &self.context;
        // One after the other: who stays as one leaves does not leave by itself meanwhile.
        let _alone = context.leaving.lock().await;
        let begin = |slot: Slot| Some((slot, context.keyspace.begin_leaving(slot, &self.link)?));
        let begun: Vec<(Slot, Leaving)> = slots.into_iter().filter_map(begin).collect();
        let mut leave = who_leaves(&context.keyspace, begun).await;
        let stays = match why {
            Why::Fails => BTreeMap::new(),
            Why::MakesWay => with_others(&mut leave, self.link.member()),
        };
        let (mut opened, mut steps) = (Vec::new(), Vec::new());
        for (member, slots) in &leave {
            let (some, more) = context.serving.open(slots.iter().copied(), *member, 0, false);
            let name = context.name_of(*member);
            match why {
                Why::Fails => tracing::warn!(
                    action = "replica-out-of-sync",
                    member = name,
                    slots = some.len(),
                    "a replica is no longer in sync"
                ),
                Why::MakesWay => tracing::info!(
                    action = "replica-makes-way",
                    member = name,
                    slots = some.len(),
                    "a replica is out of sync until a replication factor that is asked for is in force"
                ),
            }
            opened.extend(some);
            steps.extend(more);
        }
        // All in one change.
        context.propose(&opened, steps).await;
        for (member, slots) in leave.iter().chain(&stays) {
            context.serving.settle(slots, *member);
        }
    }

    async fn join(&mut self, slots: Vec<Slot>) {
        let member = self.link.member();
        let incarnation = self.state.incarnation.load(Acquire);
        let serving = &self.context.serving;
        let (opened, steps) = serving.open(slots.into_iter(), member, incarnation, true);
        if opened.is_empty() {
            return;
        }
        // Each waits for it from now on. What was written before is in no later cycle.
        let ticket = self.link.ticket();
        let _ = timeout(CONFIRMS, self.link.until_confirmed(ticket)).await;
        let keyspace = &self.context.keyspace;
        let has_all = opened.iter().all(|slot| keyspace.has(*slot, &self.link, ticket))
            && self.state.incarnation.load(Acquire) == incarnation;
        if has_all {
            tracing::info!(
                action = "replica-in-sync",
                member = self.context.name_of(member),
                slots = opened.len(),
                "a replica has everything: it is in sync"
            );
            self.context.propose(&opened, steps).await;
        }
        self.context.serving.settle(&opened, member);
    }
}

/// The slots of one member that another one owns as well.
fn shared(table: &ClusterState, me: MemberId, member: MemberId) -> Vec<Shared> {
    let majority = table.replication_factor() / 2 + 1;
    let next = table.next_factors();
    let steps_aside =
        |placement| next.as_ref().is_some_and(|next| next.keeps_out(placement, member));
    let slot = |slot| {
        let placement = table.assignment.placement(slot)?;
        let is_shared = placement.primary() == Some(me) && placement.owns(member);
        is_shared.then(|| Shared {
            slot,
            is_in_sync: placement.is_in_sync(member),
            steps_aside: steps_aside(placement),
            is_urgent: placement.in_sync.len() < majority,
        })
    };
    (0..SLOTS).filter_map(slot).collect()
}

/// Takes out the slots in which others would have to leave with an owner that could as well stay.
fn with_others(
    leave: &mut BTreeMap<MemberId, Vec<Slot>>,
    member: MemberId,
) -> BTreeMap<MemberId, Vec<Slot>> {
    let alone = leave.remove(&member).unwrap_or_default();
    let others: BTreeSet<Slot> = leave.values().flatten().copied().collect();
    let (stays, alone) = alone.into_iter().partition(|slot| others.contains(slot));
    let mut all = std::mem::take(leave);
    all.insert(member, stays);
    leave.insert(member, alone);
    all
}

/// Who has to leave with an owner, and of which slots: those who stay have everything by then.
async fn who_leaves(
    keyspace: &Keyspace,
    mut begun: Vec<(Slot, Leaving)>,
) -> BTreeMap<MemberId, Vec<Slot>> {
    let until = Instant::now() + PATIENCE;
    let mut leave: BTreeMap<MemberId, Vec<Slot>> = BTreeMap::new();
    loop {
        let is_late = Instant::now() >= until;
        begun.retain_mut(|(slot, leaving)| {
            if is_late {
                leaving.add_late(keyspace);
            }
            let Some(members) = leaving.ready(keyspace) else { return true };
            members.into_iter().for_each(|id| leave.entry(id).or_default().push(*slot));
            false
        });
        if begun.is_empty() {
            return leave;
        }
        sleep(LOOK).await;
    }
}

impl Context {
    /// Lets an owner go that is not wanted any more, of how many slots. It leaves the in-sync set as one
    /// that fails does, so that what a majority confirmed stays with those who stay; where somebody else
    /// would have to leave with it, it stays.
    pub(super) async fn let_go(&self, slots: &[Slot], member: MemberId) -> usize {
        let Some(link) = self.serving.link(member) else { return 0 };
        let _alone = self.leaving.lock().await;
        if self.stops.load(Acquire) {
            return 0;
        }
        let table = self.serving.state();
        let copies = table.replication_factor();
        let spared = |slot: &Slot| {
            let placement = table.assignment.placement(*slot);
            placement.is_some_and(|p| {
                p.is_in_sync(member) && p.in_sync.len() > copies.min(p.owners.len() - 1)
            })
        };
        let begin = |slot: Slot| Some((slot, self.keyspace.begin_leaving(slot, &link)?));
        let begun: Vec<(Slot, Leaving)> =
            slots.iter().copied().filter(spared).filter_map(begin).collect();
        let mut leave = who_leaves(&self.keyspace, begun).await;
        let stays = with_others(&mut leave, member);
        let going = leave.values().flatten().copied();
        let (opened, mut steps) = self.serving.open(going, member, 0, false);
        if !opened.is_empty() {
            match table.speaks(REMOVES_BY_EPOCH) {
                true => steps.extend(self.serving.remove_owner(&opened, member)),
                false => {
                    let runs = slot_runs(opened.iter().copied());
                    steps.push(Step::new(runs, Act::RemoveOwner(member)));
                }
            }
            self.propose(&opened, steps).await;
        }
        for (other, slots) in leave.iter().chain(&stays) {
            self.serving.settle(slots, *other);
        }
        opened.len()
    }

    /// Proposes steps for slots, and waits until it is known what became of them: the table that is in force here
    /// says it then. Where that cannot be known, the slots get another epoch, so that it is not done any more.
    pub(super) async fn propose(&self, slots: &[Slot], steps: Vec<Step>) {
        let mut steps = steps;
        while !steps.is_empty() {
            match self.cluster.propose(Change::Place(steps)).await {
                Ok(applied) => return self.reached(applied.epoch).await,
                Err(raft::Error::Refused(_)) => return,
                Err(error) => {
                    tracing::debug!(
                        action = "slots-change-doubtful",
                        %error,
                        "a change of slots was proposed, and its end is not known"
                    );
                }
            }
            sleep(RETRY).await;
            steps = self.serving.keep(slots);
        }
    }

    /// Waits until the table of an epoch is in force here.
    async fn reached(&self, epoch: u64) {
        let mut changed = self.cluster.changed();
        while self.serving.state().epoch < epoch {
            tokio::select! {
                _ = changed.changed() => {}
                () = sleep(LOOK) => {}
            }
        }
    }
}
