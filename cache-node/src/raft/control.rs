//! What members ask of each other beside Raft's own messages: proposals, counts, hand-overs.

use super::{Error, Forgotten, failover, shared::Shared};
use crate::peer::{Answer, Handler, Kind};
use bytes::{Bytes, BytesMut};
use futures::{FutureExt, future::BoxFuture};
use hypercache_core::{
    cluster::{Applied, Change, Desired, MAX_MEMBERS, Member, MemberId, Refused, Slot, slots_in},
    keyspace::{FilterStats, Verdict},
    store::StoreNumber,
};
use openraft::{
    async_runtime::watch::WatchReceiver,
    errors::{ClientWriteError, RaftError},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

/// The longest that a member works on what another one asked.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long another leader may take.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(3);

/// What a member asks another one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Ask {
    /// Of the leader: change the table.
    Propose(Change),
    /// Of the leader: the operator's desired state.
    SetDesired(Desired),
    /// Of the leader: how far the log is decided.
    Decided,
    /// What its stores hold.
    Stats,
    /// How many keys are in runs of slots.
    Keys(Vec<(Slot, Slot)>),
    /// How far it is with runs of slots.
    Positions(Vec<(Slot, Slot)>),
    /// To hand runs of slots over, of which it is the primary, by the table of an epoch or later.
    HandOver { epoch: u64, runs: Vec<(Slot, Slot)>, to: MemberId },
    /// What a store's filter is and did.
    FilterStats(StoreNumber),
    /// What a store's filter says of a key.
    FilterCheck { store: StoreNumber, key: Vec<u8> },
    /// To say when it has applied the table of this epoch.
    Reached(u64),
    /// To let an owner go of runs of slots, of which it is the primary, by the table of an epoch or later.
    LetGo { epoch: u64, runs: Vec<(Slot, Slot)>, member: MemberId },
    /// What it holds of groups of runs of slots.
    Weigh(Vec<Vec<(Slot, Slot)>>),
    /// Of the leader: to let another voter lead.
    TransferLeader(MemberId),
    /// Of the leader: to forget a member that never comes back, or to say what that would do.
    Forget { member: MemberId, dry_run: bool },
    /// To give nothing more to a member, whose process stops.
    Stops { member: MemberId, incarnation: u64 },
    /// On which port it sends cluster-mode clients to each key's member.
    ClusterPort,
}

/// What comes back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Said {
    Applied(Applied),
    /// One more than the number of the last entry that is decided.
    Decided(u64),
    Stats(MemberStats),
    Keys(u64),
    /// Slots, epochs and sequences.
    Positions(Vec<(Slot, u64, u64)>),
    /// The hand-over was proposed, or that an owner goes; what became of it is in the table.
    HandedOver,
    /// The asked member does not lead; nothing was done.
    NotLeader,
    Refused(Refused),
    /// It was not done, or nobody knows whether it was.
    Failed(String),
    /// `None`: there is no such store (yet).
    FilterStats(Option<FilterStats>),
    /// `None`: there is no such store (yet).
    FilterCheck(Option<Verdict>),
    Reached,
    /// Keys and bytes of each group.
    Weighed(Vec<(u64, u64)>),
    /// Who was named leads.
    Leads,
    /// What became of its slots, or would.
    Forgot(Forgotten),
    /// `None`: on none.
    ClusterPort(Option<u16>),
}

/// What a member's stores hold: number → keys, bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MemberStats {
    pub stores: BTreeMap<StoreNumber, (u64, u64)>,
}

impl MemberStats {
    /// The keys of all stores.
    pub fn keys(&self) -> u64 {
        self.stores.values().map(|(keys, _)| keys).sum()
    }
}

/// Asks a member; itself without a detour.
pub async fn ask(
    shared: &Arc<Shared>,
    member: &Member,
    ask: Ask,
    deadline: Instant,
) -> Result<Said, Error> {
    if member.id == shared.me.id {
        return Ok(carry_out(shared, ask, deadline).await);
    }
    let payload = postcard::to_stdvec(&ask).map_err(|e| Error::Failed(e.to_string()))?;
    let peers = &shared.links.peers;
    let reply = peers.call(member, Kind::Control, payload.into(), deadline).await?;
    decode(&reply)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    postcard::from_bytes(bytes).map_err(|error| Error::Failed(format!("a damaged reply: {error}")))
}

/// Does what was asked.
pub async fn carry_out(shared: &Arc<Shared>, ask: Ask, deadline: Instant) -> Said {
    match ask {
        Ask::Propose(Change::Restarted { member, incarnation }) => {
            let change = Change::Restarted { member, incarnation };
            let known = shared.table.borrow().members.get(&member).cloned();
            let other = known.is_some_and(|known| known.incarnation != incarnation);
            if other && let Err(reason) = let_in(shared.clone(), member).await {
                return Said::Failed(reason);
            }
            propose(shared, change, deadline).await
        }
        Ask::Propose(change @ Change::Steer(_)) => {
            propose_what_changes(shared, change, deadline).await
        }
        Ask::Propose(change) => propose(shared, change, deadline).await,
        Ask::SetDesired(desired) => set_desired(shared, desired, deadline).await,
        Ask::Decided if shared.leads() => {
            Said::Decided(super::observer::decided(&shared.metrics()))
        }
        Ask::Decided => Said::NotLeader,
        Ask::Stats => Said::Stats(stats(shared)),
        Ask::Keys(runs) => {
            Said::Keys(shared.serving.slots().keys_in_slots(&slots_in(&runs).collect::<Vec<_>>()))
        }
        Ask::Weigh(groups) => Said::Weighed(weigh(shared, &groups)),
        Ask::TransferLeader(to) => transfer_leader(shared, to, deadline).await,
        Ask::Forget { member, dry_run } => forget(shared.clone(), member, dry_run, deadline).await,
        Ask::Reached(epoch) => reached(shared, epoch, deadline).await,
        Ask::Positions(runs) => {
            Said::Positions(shared.copies().positions(slots_in(&runs).collect()).await)
        }
        Ask::HandOver { epoch, runs, to } => {
            let done = || shared.copies().hand_over(runs, to);
            as_primary(shared, epoch, deadline, done).await
        }
        Ask::LetGo { epoch, runs, member } => {
            let done = || shared.copies().let_go(runs, member);
            as_primary(shared, epoch, deadline, done).await
        }
        Ask::Stops { member, incarnation } => {
            shared.stopping.add(&shared.table.borrow(), member, incarnation);
            Said::Reached
        }
        Ask::ClusterPort => Said::ClusterPort(shared.cluster_port),
        Ask::FilterStats(store) => Said::FilterStats(shared.serving.slots().filter_stats(store)),
        Ask::FilterCheck { store, key } => {
            Said::FilterCheck(shared.serving.slots().filter_check(store, &key))
        }
    }
}

/// What a primary is asked for by a table that it must have first.
async fn as_primary(
    shared: &Shared,
    epoch: u64,
    deadline: Instant,
    done: impl FnOnce() -> BoxFuture<'static, Result<(), String>>,
) -> Said {
    if let failed @ Said::Failed(_) = reached(shared, epoch, deadline).await {
        return failed;
    }
    match timeout_at(deadline, done()).await {
        Ok(Ok(())) => Said::HandedOver,
        Ok(Err(reason)) => Said::Failed(reason),
        Err(_) => Said::Failed("it takes longer".to_owned()),
    }
}

/// Boxed, as it asks members in turn.
fn forget(
    shared: Arc<Shared>,
    member: MemberId,
    dry_run: bool,
    deadline: Instant,
) -> BoxFuture<'static, Said> {
    async move { super::forget::forget(&shared, member, dry_run, deadline).await }.boxed()
}

/// Boxed, as it asks members in turn.
fn let_in(shared: Arc<Shared>, member: MemberId) -> BoxFuture<'static, Result<(), String>> {
    async move {
        if !shared.leads() {
            return Ok(()); // it is refused anyway
        }
        failover::let_in(&shared, member).await
    }
    .boxed()
}

fn stats(shared: &Shared) -> MemberStats {
    let stores = shared.serving.slots().stats().into_iter();
    MemberStats { stores: stores.map(|s| (s.number, (s.keys, s.used_memory_bytes))).collect() }
}

/// Writes a change into Raft's log, as the leader.
pub async fn propose(shared: &Shared, change: Change, deadline: Instant) -> Said {
    match timeout_at(deadline, shared.raft.client_write(change)).await {
        Ok(Ok(written)) => match written.data.0 {
            Some(Ok(applied)) => Said::Applied(applied),
            Some(Err(refused)) => Said::Refused(refused),
            None => Said::Failed("Raft answered for another entry".to_owned()),
        },
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => Said::NotLeader,
        Ok(Err(error)) => Said::Failed(error.to_string()),
        Err(_) => Said::Failed("no majority of voters took it in time".to_owned()),
    }
}

/// The operator's desired state: nothing is written when nothing changes (O9).
async fn set_desired(shared: &Arc<Shared>, desired: Desired, deadline: Instant) -> Said {
    let state = shared.table.borrow().clone();
    let listed = |name: &str| desired.stores.iter().any(|store| store.name == name);
    let unlisted: Vec<StoreNumber> = state
        .stores
        .iter()
        .filter(|store| store.managed && store.number != 0 && !listed(&store.name))
        .map(|store| store.number)
        .collect();
    let mut drop = Vec::new();
    if !unlisted.is_empty() {
        let said = gather(shared, Instant::now() + Duration::from_secs(1)).await;
        drop.extend(unlisted.into_iter().filter(|number| is_empty(&said, *number)));
    }
    propose_what_changes(shared, Change::SetDesired { desired, drop }, deadline).await
}

/// Nothing is written when nothing changes.
async fn propose_what_changes(shared: &Arc<Shared>, change: Change, deadline: Instant) -> Said {
    let state = shared.table.borrow().clone();
    match state.as_ref().clone().apply(&change) {
        Err(refused) if state.exists() => Said::Refused(refused),
        Ok(applied) if !applied.changed => match shared.leads() {
            true => Said::Applied(applied),
            false => Said::NotLeader,
        },
        _ => propose(shared, change, deadline).await,
    }
}

/// What this member has of groups of slots: keys, and bytes as many as keys of their stores have here on
/// the average.
fn weigh(shared: &Shared, groups: &[Vec<(Slot, Slot)>]) -> Vec<(u64, u64)> {
    let slots = shared.serving.slots();
    let stores: BTreeMap<StoreNumber, (u64, u64)> =
        slots.stats().into_iter().map(|s| (s.number, (s.keys, s.used_memory_bytes))).collect();
    let of = |runs: &Vec<(Slot, Slot)>| {
        let held = slots.held_in_slots(&slots_in(runs).collect::<Vec<_>>());
        held.into_iter().fold((0, 0), |(keys, bytes), (store, held)| {
            let (all, used) = stores.get(&store).copied().unwrap_or((0, 0));
            let part = u128::from(used) * u128::from(held.min(all)) / u128::from(all.max(1));
            (keys + held, bytes + part as u64)
        })
    };
    groups.iter().take(MAX_MEMBERS).map(of).collect()
}

/// Lets another voter lead, and waits until it does.
pub async fn transfer_leader(shared: &Arc<Shared>, to: MemberId, deadline: Instant) -> Said {
    if shared.metrics().current_leader == Some(to) {
        return Said::Leads;
    }
    if !shared.leads() {
        return Said::NotLeader;
    }
    let mut metrics = shared.raft.metrics();
    let led = async {
        shared.raft.trigger().transfer_leader(to).await.map_err(|error| error.to_string())?;
        while metrics.borrow_watched().current_leader != Some(to) {
            metrics.changed().await.map_err(|_| "this member stops".to_owned())?;
        }
        Ok(())
    };
    match timeout_at(deadline.min(Instant::now() + TRANSFER_TIMEOUT), led).await {
        Ok(Ok(())) => Said::Leads,
        Ok(Err(reason)) => Said::Failed(reason),
        Err(_) => Said::Failed(format!("it does not lead after {TRANSFER_TIMEOUT:?}")),
    }
}

/// Whether every member said that a store holds nothing.
pub fn is_empty(said: &super::status::Said, store: StoreNumber) -> bool {
    said.values().all(|stats| {
        stats.as_ref().is_some_and(|s| s.stores.get(&store).is_none_or(|(keys, _)| *keys == 0))
    })
}

/// What all members of the table hold, as far as they say so in time.
pub async fn gather(shared: &Arc<Shared>, deadline: Instant) -> super::status::Said {
    let state = shared.table.borrow().clone();
    let asked = state.members.values().map(|member| async {
        let stats = match ask(shared, &shared.reach(member), Ask::Stats, deadline).await {
            Ok(Said::Stats(stats)) => Some(stats),
            _ => None,
        };
        (member.id, stats)
    });
    futures::future::join_all(asked).await.into_iter().collect()
}

/// Waits until this member has applied the table of an epoch.
async fn reached(shared: &Shared, epoch: u64, deadline: Instant) -> Said {
    let mut table = shared.table.clone();
    let applied = table.wait_for(|state| state.epoch >= epoch);
    match timeout_at(deadline, applied).await {
        Ok(Ok(_)) => Said::Reached,
        _ => Said::Failed("that table is not known here".to_owned()),
    }
}

/// Answers what other members ask.
#[derive(Default)]
pub struct Answers(pub OnceLock<Weak<Shared>>);

impl Handler for Answers {
    fn call(&self, _: MemberId, payload: Bytes, _: &mut BytesMut) -> Answer {
        let Some(shared) = self.0.get().and_then(Weak::upgrade) else {
            return Answer::Refused("this member is starting or stopping".to_owned());
        };
        let ask: Ask = match decode(&payload) {
            Ok(ask) => ask,
            Err(error) => return Answer::Refused(error.to_string()),
        };
        Answer::Later(
            async move {
                let said = carry_out(&shared, ask, Instant::now() + PATIENCE).await;
                postcard::to_stdvec(&said).map(Bytes::from).map_err(|error| error.to_string())
            }
            .boxed(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_empty_only_when_every_member_says_so() {
        let stats = |keys| Some(MemberStats { stores: [(1, (keys, 0))].into() });
        assert!(is_empty(&[(1, stats(0)), (2, Some(MemberStats::default()))].into(), 1));
        assert!(!is_empty(&[(1, stats(0)), (2, stats(3))].into(), 1));
        assert!(!is_empty(&[(1, stats(0)), (2, None)].into(), 1));
    }
}
