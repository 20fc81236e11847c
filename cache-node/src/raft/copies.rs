//! What the cluster asks of a member's copies of slots: how far they are, and to hand them over.

use super::{Handle, shared::Shared};
use futures::{FutureExt, future::BoxFuture};
use hypercache_core::cluster::{
    Act, Change, ClusterState, MemberId, Slot, Step, slot_runs, slots_in,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

const KEEP_AGAIN: Duration = Duration::from_millis(200);

/// What the cluster asks of a member's copies of slots.
pub trait Copies: Send + Sync + 'static {
    /// Whether other owners of a slot get what its primary has. Where they do not, only what is
    /// empty is handed over.
    fn replicate(&self) -> bool;

    /// How far this member's copies are: epoch and sequence of the last record of each slot. A
    /// slot of which it has nothing may be left out. What is said counts as confirmed, so it is on this member's disk
    /// as far as it has to be; where that takes long, nothing is said.
    fn positions(&self, slots: Vec<Slot>) -> BoxFuture<'static, Vec<(Slot, u64, u64)>>;

    /// Hands slots over, of which this member is the primary, to another owner that is in sync:
    /// stops serving them, waits until it has everything, and proposes
    /// [`Act::HandOver`]; where that cannot be it proposes [`Act::Keep`] and serves them again.
    /// Done when the proposal is; what became of each slot is in the table. The future may be
    /// dropped at any time.
    fn hand_over(
        &self,
        runs: Vec<(Slot, Slot)>,
        to: MemberId,
    ) -> BoxFuture<'static, Result<(), String>>;

    /// Lets an owner go that is in sync, of slots of which this member is the primary: proposes that it
    /// leaves the in-sync set and is no owner, once all who stay have what a majority may have confirmed
    /// with it. Done when the proposal is; what became of each slot is in the table.
    fn let_go(&self, _: Vec<(Slot, Slot)>, _: MemberId) -> BoxFuture<'static, Result<(), String>> {
        async { Err("nothing is replicated".to_owned()) }.boxed()
    }
}

/// Copies that nobody replicates: what is empty can be handed over.
pub struct EmptyOnly(pub Weak<Shared>);

impl Copies for EmptyOnly {
    fn replicate(&self) -> bool {
        false
    }

    fn positions(&self, _: Vec<Slot>) -> BoxFuture<'static, Vec<(Slot, u64, u64)>> {
        async { Vec::new() }.boxed()
    }

    fn hand_over(
        &self,
        runs: Vec<(Slot, Slot)>,
        to: MemberId,
    ) -> BoxFuture<'static, Result<(), String>> {
        let shared = self.0.clone();
        async move {
            let Some(shared) = shared.upgrade() else { return Err("it is stopping".to_owned()) };
            // Of its own: what is fenced must be handed over or kept, whoever still waits.
            let done = tokio::spawn(hand_over_empty(shared, runs, to));
            done.await.unwrap_or_else(|error| Err(error.to_string()))
        }
        .boxed()
    }
}

async fn hand_over_empty(
    shared: Arc<Shared>,
    runs: Vec<(Slot, Slot)>,
    to: MemberId,
) -> Result<(), String> {
    let slots: Vec<Slot> = slots_in(&runs).collect();
    let fenced = shared.serving.fence(&slots, to, super::shared::unix_ms());
    if fenced.is_empty() {
        return Err("none of these slots can be handed over: they hold keys".to_owned());
    }
    let handle = Handle { shared: shared.clone() };
    let mut epochs: BTreeMap<u64, Vec<Slot>> = BTreeMap::new();
    for (slot, epoch) in &fenced {
        epochs.entry(*epoch).or_default().push(*slot);
    }
    let state = shared.table.borrow().clone();
    let incarnation = state.members.get(&to).map_or(0, |member| member.incarnation);
    let primary = shared.me.id;
    let steps = epochs.iter().flat_map(|(epoch, slots)| {
        let epoch = *epoch;
        let empty = Act::InSync { primary, epoch, member: to, incarnation, in_sync: true };
        [empty, Act::HandOver { epoch, to }]
            .map(|act| Step::new(slot_runs(slots.iter().copied()), act))
    });
    let done = handle.propose(Change::Place(steps.collect())).await;
    if let Err(error) = &done {
        tracing::warn!(
            action = "hand-over-failed",
            %error,
            slots = fenced.len(),
            "slots were not handed over"
        );
    }
    keep(&shared, &handle, epochs).await;
    done.map(drop).map_err(|error| error.to_string())
}

/// Slots that are fenced and still this member's, as they were, are kept: nobody knows whether the
/// hand-over is on its way, and after this it is refused.
async fn keep(shared: &Arc<Shared>, handle: &Handle, epochs: BTreeMap<u64, Vec<Slot>>) {
    let mut table = shared.table.clone();
    let mut stop = shared.stop.subscribe();
    loop {
        let left = steps_to_keep(&table.borrow_and_update(), shared.me.id, &epochs);
        if left.is_empty() {
            return;
        }
        // Right after a proposal this member may not have seen yet what became of it.
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = tokio::time::timeout(KEEP_AGAIN, table.changed()) => {}
        }
        let left = steps_to_keep(&table.borrow_and_update(), shared.me.id, &epochs);
        if !left.is_empty() {
            let _ = handle.propose(Change::Place(left)).await;
        }
    }
}

fn steps_to_keep(
    state: &ClusterState,
    me: MemberId,
    epochs: &BTreeMap<u64, Vec<Slot>>,
) -> Vec<Step> {
    let steps = epochs.iter().map(|(epoch, slots)| {
        let mine = slots.iter().copied().filter(|slot| {
            let placement = state.assignment.placement(*slot);
            placement.is_some_and(|p| p.epoch == *epoch && p.primary() == Some(me))
        });
        Step::new(slot_runs(mine), Act::Keep { epoch: *epoch })
    });
    steps.filter(|step| !step.runs.is_empty()).collect()
}
