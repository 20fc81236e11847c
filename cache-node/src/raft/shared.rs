//! What the cluster layer's tasks share.

use super::{
    copies::{Copies, EmptyOnly},
    deaths::Deaths,
    failover::FailOvers,
    network::Links,
    serving::Serving,
    stopping::Stopping,
    types::{Metrics, Raft},
};
use crate::{gossip, peer};
use arc_swap::ArcSwap;
use hypercache_core::{
    cluster::{ClusterState, Member, MemberId, Planner, View},
    store::StorePolicy,
};
use openraft::{ServerState, async_runtime::watch::WatchReceiver};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::sync::watch;

/// What the cluster layer's tasks share.
pub struct Shared {
    /// This member, as it describes itself.
    pub me: Member,
    /// Whether others are to be joined.
    pub joins: bool,
    /// How many members make a cluster; `None`: this one only ever joins.
    pub wanted: Option<usize>,
    /// The stores of a new cluster.
    pub stores: Vec<StorePolicy>,
    /// The port on which this member sends cluster-mode clients to each key's member.
    pub cluster_port: Option<u16>,
    /// The same of others, and by which process of them that is known; `None`: it has none.
    pub cluster_ports: Mutex<BTreeMap<MemberId, (u64, Option<u16>)>>,
    /// The bytes of slots on their way to one member in a second, unless the table says others.
    pub move_bytes_per_second: u64,
    pub raft: Raft,
    pub links: Arc<Links>,
    pub identity: Arc<peer::Identity>,
    pub gossip: gossip::Handle,
    pub serving: Arc<Serving>,
    /// Who else answers for this member's copies of slots.
    pub copies: OnceLock<Arc<dyn Copies>>,
    /// Who is gone.
    pub deaths: Deaths,
    /// Who was told to stop.
    pub stopping: Stopping,
    /// What was done about that.
    pub fail_overs: FailOvers,
    /// The leader other than this member that it heard of last, and its term.
    pub last_leader: Mutex<Option<(MemberId, u64)>>,
    /// The table as it is applied here.
    pub table: watch::Receiver<Arc<ClusterState>>,
    pub view: ArcSwap<View>,
    /// Where slots should be, as it is told; the last answer is remembered.
    pub targets: Mutex<Planner>,
    pub changed: watch::Sender<u64>,
    pub stop: watch::Sender<bool>,
    pub stopped: watch::Sender<bool>,
}

impl Shared {
    /// What Raft says of itself.
    pub fn metrics(&self) -> Metrics {
        self.raft.metrics().borrow_watched().clone()
    }

    /// Whether this member leads, and a majority acknowledges it.
    pub fn leads(&self) -> bool {
        let leads = self.raft.metrics().borrow_watched().state == ServerState::Leader;
        leads && self.links.leads.load(std::sync::atomic::Ordering::Acquire)
    }

    /// This member's copies of slots.
    pub fn copies(self: &Arc<Self>) -> Arc<dyn Copies> {
        match self.copies.get() {
            Some(copies) => copies.clone(),
            None => Arc::new(EmptyOnly(Arc::downgrade(self))),
        }
    }

    /// A member of the table with the newest address that is known.
    pub fn reach(&self, member: &Member) -> Member {
        self.links.book.load().get(&member.id).unwrap_or(member).clone()
    }
}

/// The time in Unix milliseconds.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
