//! Replication between members: what [`hypercache_core::replica`] decides is carried out here.
//!
//! | file | what it is about |
//! |---|---|
//! | `bells` | who wakes a link's sender |
//! | `wire` | what a primary and a replica say to each other |
//! | `link` | a link's connection: sessions, cycles, confirmations |
//! | `fresh` | how old the copies that clients read are at the most |
//! | `attach` | slots on their way to another owner |
//! | `check` | whether copies hold what this member does |
//! | `in_sync` | who is in sync, as the primary finds it |
//! | `receive` | the replica's side |
//! | `hand_over` | slots that are given away, with everything |
//! | `handle` | what the rest of the member asks |
//!
//! [`Options`] → [`Options::build`] → [`Replication::run`]; the rest of the member asks by [`Handle`].

mod attach;
mod bells;
mod check;
mod fresh;
mod hand_over;
mod handle;
mod in_sync;
mod link;
mod receive;
mod wait;
mod wire;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::time::Duration;

pub use bells::{Bell, Bells};
pub use fresh::Fresh;
use futures::FutureExt;
use futures::future::BoxFuture;
pub use handle::{Handle, LinkCounts, LinkFigures, SourceFigures, timeout};
use hypercache_core::cluster::{
    Member, MemberId, Placement, SLOTS, Slot, TELLS_OF_DISKS, WHOLE_ON_DISK, slots_in,
};
use hypercache_core::keyspace::Keyspace;
pub use receive::Receiver;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout as within};
pub use wait::Written;

use crate::loops::Loops;
use crate::peer;
use crate::raft::{self, Copies, Serving};

/// How often it is looked for links that no change of the table tells of.
const AGAIN: Duration = Duration::from_millis(100);

/// For so long an answer about how far this member is waits for its disk, at the most.
const POSITIONS_ON_DISK: Duration = Duration::from_millis(250);

/// What replication is made of.
pub struct Options {
    /// The keys and values of this member.
    pub keyspace: Arc<Keyspace>,
    /// The cluster's table.
    pub cluster: raft::Handle,
    /// The way to the other members.
    pub peers: peer::Client,
    /// Where the links are served: with their connections, on the loop of the other member's number.
    pub loops: Loops,
    /// Whether all that was forced to this member's disk was read as it started.
    pub is_whole: Arc<dyn Fn() -> bool + Send + Sync>,
    /// In how much time all slots are compared with their copies once; 0: never.
    pub check_interval: Duration,
}

/// What the tasks share.
pub(crate) struct Context {
    me: MemberId,
    keyspace: Arc<Keyspace>,
    cluster: raft::Handle,
    serving: Arc<Serving>,
    peers: peer::Client,
    handle: Handle,
    /// Held while owners leave in-sync sets.
    leaving: Mutex<()>,
    /// This member stops: who is in sync stays so, as it may be the next primary of what comes here yet.
    stops: AtomicBool,
    stop: watch::Receiver<bool>,
    is_whole: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Replication, ready to run.
pub struct Replication {
    context: Arc<Context>,
    loops: Loops,
    check_interval: Duration,
    stop: watch::Sender<bool>,
}

/// Gives slots away, and says how far they are. Cheap to clone.
#[derive(Clone)]
pub struct HandOver(Arc<Context>);

impl Options {
    /// Prepares it. Nothing runs yet.
    pub fn build(self) -> Replication {
        let Self { keyspace, cluster, peers, loops, is_whole, check_interval } = self;
        let (stop, stopping) = watch::channel(false);
        let context = Arc::new(Context {
            me: cluster.me(),
            serving: cluster.serving(),
            handle: Handle::new(keyspace.clone(), cluster.clone(), peers.clone()),
            leaving: Mutex::default(),
            stops: AtomicBool::new(false),
            stop: stopping,
            is_whole,
            keyspace,
            cluster,
            peers,
        });
        Replication { context, loops, check_interval, stop }
    }
}

impl Context {
    fn name_of(&self, member: MemberId) -> String {
        let state = self.serving.state();
        state.members.get(&member).map_or_else(|| format!("{member:016x}"), |m| m.name.clone())
    }

    /// The slots of which the table takes an earlier process of this member for the primary, where all that was
    /// acknowledged of replicated stores is on this member's disk.
    fn whole_on_disk(&self) -> impl Fn(Slot) -> bool + use<> {
        let state = self.serving.state();
        let known = state.members.get(&self.me);
        let is_unknown = known.is_some_and(|me| me.incarnation != self.serving.incarnation());
        let mut replicated = state.stores.iter().filter(|store| store.replication_factor > 1);
        let is_whole = is_unknown
            && state.speaks(TELLS_OF_DISKS)
            && replicated.all(|store| store.durability.awaits_disk())
            && (self.is_whole)();
        let me = self.me;
        move |slot| {
            let placement = state.assignment.placement(slot);
            is_whole && placement.is_some_and(|placement| placement.primary() == Some(me))
        }
    }

    /// A member with the newest address that is known.
    fn reach(&self, member: MemberId) -> Option<Member> {
        self.serving.state().members.get(&member).map(|member| self.cluster.reach(member))
    }
}

impl Replication {
    /// Asks replication.
    pub fn handle(&self) -> Handle {
        self.context.handle.clone()
    }

    /// Takes what other members send.
    pub fn receiver(&self) -> Receiver {
        Receiver::new(self.context.clone())
    }

    /// Gives slots away, and says how far they are.
    pub fn hand_over(&self) -> HandOver {
        HandOver(self.context.clone())
    }

    /// Serves the links until `stop` is true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        tasks.spawn(self.context.clone().keep_fresh());
        if !self.check_interval.is_zero() {
            tasks.spawn(check::keep(self.context.clone(), self.check_interval));
        }
        let mut linked: HashSet<u16> = HashSet::new();
        let mut changed = self.context.cluster.changed();
        loop {
            for link in self.context.keyspace.feed().links().iter() {
                if linked.insert(link.index()) {
                    let bell = self.context.serving.bells().of(link.member());
                    let loops = &self.loops;
                    let drive = link::drive(self.context.clone(), link.clone(), bell);
                    tasks.spawn_on(drive, &loops.of(link.member()));
                    tasks.spawn(in_sync::keep(self.context.clone(), link.clone()));
                }
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                _ = changed.changed() => {}
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
        self.stop.send_replace(true);
        while tasks.join_next().await.is_some() {}
    }
}

impl Copies for HandOver {
    fn replicate(&self) -> bool {
        true
    }

    fn positions(&self, slots: Vec<Slot>) -> BoxFuture<'static, Vec<(Slot, u64, u64)>> {
        let (keyspace, is_whole) = (Arc::clone(&self.0.keyspace), self.0.whole_on_disk());
        async move {
            let feed = keyspace.feed();
            let of = |slot: &Slot| match feed.position(*slot) {
                at if at.epoch > 0 => Some((*slot, at.epoch, at.sequence)),
                _ => is_whole(*slot).then_some((*slot, WHOLE_ON_DISK.0, WHOLE_ON_DISK.1)),
            };
            let said = slots.iter().filter_map(of).collect();
            let Some(ticket) = keyspace.unforced(slots) else { return said };
            let on_disk = within(POSITIONS_ON_DISK, keyspace.journal().until_durable(ticket));
            if matches!(on_disk.await, Ok(Ok(()))) { said } else { Vec::new() }
        }
        .boxed()
    }

    fn hand_over(
        &self,
        runs: Vec<(Slot, Slot)>,
        to: MemberId,
    ) -> BoxFuture<'static, Result<(), String>> {
        let context = self.0.clone();
        let work = async move { context.hand_over(&slots_in(&runs).collect::<Vec<_>>(), to).await };
        on_its_own(work, "none of these slots could be handed over")
    }

    fn let_go(
        &self,
        runs: Vec<(Slot, Slot)>,
        member: MemberId,
    ) -> BoxFuture<'static, Result<(), String>> {
        let context = self.0.clone();
        let work =
            async move { context.let_go(&slots_in(&runs).collect::<Vec<_>>(), member).await };
        on_its_own(work, "the owner could not go from any of these slots")
    }
}

/// Does something with slots as a task of its own: what is fenced or has begun must be settled, whoever still
/// waits. An error if it was done with none.
fn on_its_own(
    work: impl Future<Output = usize> + Send + 'static,
    of_none: &'static str,
) -> BoxFuture<'static, Result<(), String>> {
    async move {
        match tokio::spawn(work).await {
            Ok(0) => Err(of_none.to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
    .boxed()
}

impl HandOver {
    /// Hands all slots over in which another owner is in sync that seems to be there, within a time. From the first
    /// call on this member takes nobody out of sync, and hands over what is given to it for balance meanwhile.
    pub async fn all(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let context = &self.0;
        context.stops.store(true, Release);
        let view = context.cluster.view();
        let state = context.serving.state();
        let mut heirs: BTreeMap<MemberId, Vec<Slot>> = BTreeMap::new();
        for slot in 0..SLOTS {
            let Some(placement) = state.assignment.placement(slot) else { continue };
            if placement.primary() != Some(context.me) {
                continue;
            }
            let there = |id: &&MemberId| {
                placement.is_in_sync(**id)
                    && view.liveness(**id) == hypercache_core::cluster::Liveness::Alive
                    && !context.cluster.is_stopping(**id)
            };
            if let Some(heir) = placement.replicas().iter().find(there) {
                heirs.entry(*heir).or_default().push(slot);
            }
        }
        let all = async {
            for (heir, slots) in heirs {
                context.hand_over(&slots, heir).await;
            }
        };
        if tokio::time::timeout_at(until, all).await.is_err() {
            tracing::warn!(
                action = "hand-over-not-in-time",
                "not all slots were handed over in time"
            );
        }
    }

    /// Waits until the other owners of this member's slots are enough for a majority without it, as far as there are
    /// so many, within a time: what was handed over just now is with all others a moment later.
    pub async fn not_needed(&self, patience: Duration) {
        let context = &self.0;
        let me = context.me;
        let is_needed = |placement: &Placement| {
            let majority = placement.owners.len() / 2 + 1;
            let others = placement.in_sync.iter().filter(|id| **id != me).count();
            placement.is_in_sync(me) && others < majority && placement.owners.len() > majority
        };
        let until = Instant::now() + patience;
        let mut changed = context.cluster.changed();
        loop {
            let state = context.serving.state();
            let runs = state.assignment.placements();
            if !runs.iter().any(|run| is_needed(&run.placement)) {
                return;
            }
            if !matches!(tokio::time::timeout_at(until, changed.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}
