//! Raft's messages between members.
//!
//! Beside openraft's message, an append carries whether the leader itself has a quorum: an
//! isolated leader goes on to send, and whoever still hears it must not take it for a majority.

use super::{
    lease::{LEASE, Standing},
    types::{Raft, Snapshot, SnapshotMeta, TypeConfig, Vote},
};
use crate::clock::boot_ms;
use crate::peer::{self, Answer, Handler, Kind};
use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use hypercache_core::cluster::{Member, MemberId};
use openraft::{
    EmptyNode, RPCTypes, RaftNetworkFactory, RaftNetworkV2,
    async_runtime::watch::WatchReceiver,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// Two clocks are so far apart without a sleep of the machine.
const ASLEEP: Duration = Duration::from_millis(20);

/// Where members are, and how this one stands towards the leader.
pub struct Links {
    pub me: MemberId,
    pub peers: peer::Client,
    /// Every member of the table or of gossip, with its newest address.
    pub book: ArcSwap<HashMap<MemberId, Member>>,
    /// Whether this member, as a leader, has a quorum.
    pub leads: AtomicBool,
    /// How long a majority stands behind this member.
    pub standing: Standing,
    /// What the leader answered is decided: one more than the last entry's number. Asked after
    /// this member started or lost its leader, so it covers all that it missed until then; what
    /// an append says may have been on its way for longer.
    pub decided: Mutex<Option<u64>>,
    /// Whether that is being asked.
    pub asking: AtomicBool,
    /// Tells the observer of an answer.
    pub answered: Notify,
    started: Instant,
    incarnation: u64,
    /// What this machine slept until it was looked at last, and when it had just woken from the last time.
    slept: Mutex<(Duration, Option<Instant>)>,
    started_boot_ms: u64,
    /// The term in which this member may have been elected because the leader asked for it, while
    /// voters had heard of that leader just before.
    pub transferred: AtomicU64,
    /// The last stamp that came back from each member, and when it did.
    stamps: Mutex<HashMap<MemberId, (Stamp, Instant)>>,
}

/// When a member answered, by its own clock. The leader sends the last one back: a lease begins
/// at an answer that the leader has, so that the leader knows when the lease is over at the
/// latest, whatever is lost or late on either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    /// The process of which that clock is.
    incarnation: u64,
    /// Milliseconds of it ([`boot_ms`]).
    at_ms: u64,
}

impl Links {
    pub fn new(me: MemberId, incarnation: u64, peers: peer::Client) -> Self {
        Self {
            me,
            incarnation,
            slept: Mutex::default(),
            started_boot_ms: boot_ms(),
            transferred: AtomicU64::new(0),
            stamps: Mutex::default(),
            peers,
            book: ArcSwap::default(),
            leads: AtomicBool::new(false),
            standing: Standing::default(),
            decided: Mutex::new(None),
            asking: AtomicBool::new(false),
            answered: Notify::new(),
            started: Instant::now(),
        }
    }

    fn stamp(&self) -> Stamp {
        Stamp { incarnation: self.incarnation, at_ms: boot_ms() }
    }

    /// A leader with a quorum has this answer of ours.
    fn heard_leader(&self, stamp: Option<Stamp>) {
        if let Some(stamp) = stamp.filter(|stamp| stamp.incarnation == self.incarnation) {
            self.standing.heard(stamp.at_ms.min(boot_ms()));
        }
    }

    /// When this machine had just woken from its last sleep, if it was ever seen to sleep: what Raft's own
    /// clock says of the time before that is too little.
    pub fn woke(&self) -> Option<Instant> {
        let since_start = Duration::from_millis(boot_ms().saturating_sub(self.started_boot_ms));
        let slept = since_start.saturating_sub(self.started.elapsed());
        let mut known = self.slept.lock();
        if slept > known.0 + ASLEEP {
            *known = (slept, Some(Instant::now()));
        }
        known.1
    }

    /// When the last answer of a member to an append came.
    pub fn replied(&self, member: MemberId) -> Option<Instant> {
        self.stamps.lock().get(&member).map(|(_, at)| *at)
    }
}

/// A message of Raft.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
enum Message {
    Append {
        leads: bool,
        /// The last stamp that the leader has from the member that this goes to.
        stamp: Option<Stamp>,
        request: AppendEntriesRequest<TypeConfig>,
    },
    Vote(VoteRequest<TypeConfig>),
    PreVote(VoteRequest<TypeConfig>),
    Snapshot {
        vote: Vote,
        meta: SnapshotMeta,
        bytes: Vec<u8>,
    },
    Transfer(TransferLeaderRequest<TypeConfig>),
}

/// Makes connections for Raft.
pub struct Network(pub Arc<Links>);

/// Raft's way to one member.
pub struct Link {
    links: Arc<Links>,
    target: MemberId,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: MemberId, _: &EmptyNode) -> Link {
        Link { links: self.0.clone(), target }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Reason(String);

type Failed = RPCError<TypeConfig>;

fn unreachable_member(reason: impl Into<String>) -> Failed {
    RPCError::Unreachable(Unreachable::new(&Reason(reason.into())))
}

impl Link {
    async fn ask<T: DeserializeOwned>(
        &self,
        message: &Message,
        action: RPCTypes,
        wait: Duration,
    ) -> Result<T, Failed> {
        let book = self.links.book.load_full();
        let Some(member) = book.get(&self.target) else {
            return Err(unreachable_member("its address is not known yet"));
        };
        let payload = postcard::to_stdvec(message)
            .map_err(|error| RPCError::Network(NetworkError::new(&error)))?;
        let deadline = Instant::now() + wait;
        let asked = self.links.peers.call(member, Kind::Raft, payload.into(), deadline).await;
        match asked {
            Ok(bytes) => postcard::from_bytes(&bytes)
                .map_err(|error| RPCError::Network(NetworkError::new(&error))),
            Err(peer::Error::Deadline { .. }) => Err(RPCError::Timeout(Timeout {
                action,
                id: self.links.me,
                target: self.target,
                timeout: wait,
            })),
            Err(error) => Err(unreachable_member(error.to_string())),
        }
    }
}

/// Raft would wait for one heartbeat's time only; a disk may be slower than that.
fn patient(option: &RPCOption) -> Duration {
    option.hard_ttl().max(Duration::from_secs(2))
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, Failed> {
        let leads = self.links.leads.load(Ordering::Acquire);
        let stamp = self.links.stamps.lock().get(&self.target).map(|(stamp, _)| *stamp);
        let message = Message::Append { leads, stamp, request };
        let (stamp, reply): (Stamp, _) =
            self.ask(&message, RPCTypes::AppendEntries, patient(&option)).await?;
        self.links.stamps.lock().insert(self.target, (stamp, Instant::now()));
        Ok(reply)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failed> {
        self.ask(&Message::Vote(request), RPCTypes::Vote, option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failed> {
        self.ask(&Message::PreVote(request), RPCTypes::Vote, option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let Snapshot { meta, snapshot: bytes } = snapshot;
        let message = Message::Snapshot { vote, meta, bytes };
        let wait = option.hard_ttl().max(Duration::from_secs(10));
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.ask(&message, RPCTypes::InstallSnapshot, wait) => sent.map_err(|e| match e {
                RPCError::Timeout(error) => StreamingError::Timeout(error),
                RPCError::Network(error) => StreamingError::Network(error),
                RPCError::Unreachable(error) => StreamingError::Unreachable(error),
                RPCError::RemoteError(error) => {
                    StreamingError::Unreachable(Unreachable::new(&Reason(error.to_string())))
                }
            }),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, Failed> {
        let message = Message::Transfer(request);
        self.ask(&message, RPCTypes::TransferLeader, option.hard_ttl()).await
    }
}

/// Answers Raft's messages.
pub struct Answers {
    pub links: Arc<Links>,
    pub raft: OnceLock<Raft>,
}

impl Handler for Answers {
    fn call(&self, _: MemberId, payload: Bytes, _: &mut BytesMut) -> Answer {
        let Some(raft) = self.raft.get().cloned() else {
            return Answer::Refused("this member is starting".to_owned());
        };
        let message: Message = match postcard::from_bytes(&payload) {
            Ok(message) => message,
            Err(error) => return Answer::Refused(format!("a damaged message of Raft: {error}")),
        };
        let links = self.links.clone();
        Answer::Later(answer(raft, links, message).boxed())
    }
}

async fn answer(raft: Raft, links: Arc<Links>, message: Message) -> Result<Bytes, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let reply = match message {
        Message::Append { leads, stamp, request } => {
            let reply = raft.append_entries(request).await.map_err(|e| said(&e))?;
            if leads && !matches!(reply, AppendEntriesResponse::HigherVote(_)) {
                links.heard_leader(stamp);
            }
            postcard::to_stdvec(&(links.stamp(), reply))
        }
        // It may have answered a leader right before it was started anew, and forgot that.
        Message::Vote(request) | Message::PreVote(request)
            if !request.leadership_transfer && links.started.elapsed() < LEASE =>
        {
            return Err("this voter has just started".to_owned());
        }
        Message::Vote(request) => {
            postcard::to_stdvec(&raft.vote(request).await.map_err(|e| said(&e))?)
        }
        Message::PreVote(request) => {
            postcard::to_stdvec(&raft.pre_vote(request).await.map_err(|e| said(&e))?)
        }
        Message::Snapshot { vote, meta, bytes } => {
            let snapshot = Snapshot { meta, snapshot: bytes };
            let installed = raft.install_full_snapshot(vote, snapshot).await;
            postcard::to_stdvec(&installed.map_err(|e| said(&e))?)
        }
        Message::Transfer(request) => {
            let next = raft.metrics().borrow_watched().current_term + 1;
            links.transferred.fetch_max(next, Ordering::AcqRel);
            let done = raft.handle_transfer_leader(request).await;
            postcard::to_stdvec(&done.map_err(|e| said(&e))?)
        }
    };
    reply.map(Bytes::from).map_err(|e| said(&e))
}
