//! Asking other members.

use super::{Error, Held, Identity, Kind, MAX_PAYLOAD_BYTES, Secret, connection};
use crate::loops::Loops;
use bytes::Bytes;
use hypercache_core::cluster::{Member, MemberId, Protocol};
use parking_lot::RwLock;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future::Future,
    io,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};

/// Connections to each member that carry forwarded commands, at the least; else one for each I/O loop, on which it lives.
/// Raft has one of its own, so that a heartbeat never waits behind a value of many megabytes.
const FORWARD_LANES: usize = 2;
/// A member of which nothing is heard for so long while it is asked for something is silent.
const SILENCE: Duration = Duration::from_millis(400);

/// The most requests to one member, on one connection, that wait for a reply.
const MAX_WAITING: usize = 16_384;

/// The most bytes of such requests; one request may always be sent.
const MAX_WAITING_BYTES: usize = 256 << 20;

/// Asks other members. Cheap to clone; all clones share the connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    /// Where connections live: not on whichever loop happens to ask first.
    runtime: tokio::runtime::Handle,
    /// Where those live that replicate, with the link's other tasks, and those that forward, with their clients.
    loops: Loops,
    me: Arc<Identity>,
    secret: Secret,
    peers: RwLock<HashMap<MemberId, Arc<Peer>>>,
    /// Addresses that gossip came from: tried first where a member names itself by a host name,
    /// because names are slow to follow a member that moved.
    hints: RwLock<HashMap<MemberId, IpAddr>>,
    /// The version that each was reached in last.
    protocols: RwLock<BTreeMap<MemberId, Protocol>>,
}

struct Peer {
    host: String,
    port: u16,
    control: Lane,
    forward: Vec<Lane>,
    wait: Lane,
    replicate: Lane,
}

/// One connection's queue.
struct Lane {
    queue: mpsc::UnboundedSender<Request>,
    load: Arc<Load>,
}

/// How much waits on a lane, and whether its connection still lives.
pub(super) struct Load {
    pub member: String,
    requests: AtomicUsize,
    bytes: AtomicUsize,
    started: Instant,
    heard_ms: AtomicU64,
    /// When it was asked for something last while nothing else waited.
    asked_ms: AtomicU64,
    pub reset: Notify,
}

impl Load {
    /// Something was received.
    pub fn heard(&self) {
        self.heard_ms.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Something waits, and nothing at all has come for so long.
    fn waits_in_vain(&self, patience: Duration) -> bool {
        let since =
            self.heard_ms.load(Ordering::Relaxed).max(self.asked_ms.load(Ordering::Relaxed));
        let now = self.started.elapsed().as_millis() as u64;
        self.requests.load(Ordering::Relaxed) > 0
            && now.saturating_sub(since) > patience.as_millis() as u64
    }

    /// A reply is overdue: when nothing at all came for a while, the connection is taken down.
    fn overdue(&self) {
        let now = self.started.elapsed().as_millis() as u64;
        if now.saturating_sub(self.heard_ms.load(Ordering::Relaxed)) > 2_000 {
            self.reset.notify_one();
        }
    }
}

/// A request on its way.
pub(super) struct Request {
    pub kind: Kind,
    pub payload: Bytes,
    pub waiting: Waiting,
}

/// Who waits for a reply. Counts against the lane until it is answered or dropped.
pub(super) struct Waiting {
    reply: Option<oneshot::Sender<Result<Bytes, Error>>>,
    load: Arc<Load>,
    bytes: usize,
}

impl Waiting {
    /// Whether nobody waits any more.
    pub fn is_given_up(&self) -> bool {
        self.reply.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    pub fn answer(mut self, reply: Result<Bytes, Error>) {
        if let Some(sender) = self.reply.take() {
            let _ = sender.send(reply); // nobody waits any more: fine
        }
    }

    pub fn fail(self, reason: &str, sent: bool) {
        let member = self.load.member.clone();
        self.answer(Err(Error::Unreachable { member, reason: reason.to_owned(), sent }));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.load.requests.fetch_sub(1, Ordering::Relaxed);
        self.load.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A reply that comes. It has no deadline of its own; dropping it gives the reply up.
pub struct Pending {
    reply: oneshot::Receiver<Result<Bytes, Error>>,
    load: Arc<Load>,
}

impl Pending {
    /// The reply, or [`Error::Deadline`] once that is past.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn until(self, deadline: Instant) -> Result<Bytes, Error> {
        let load = self.load.clone();
        tokio::time::timeout_at(deadline, self).await.unwrap_or_else(|_| {
            load.overdue();
            Err(Error::Deadline { member: load.member.clone() })
        })
    }
}

impl Future for Pending {
    type Output = Result<Bytes, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = ready!(Pin::new(&mut self.reply).poll(cx));
        Poll::Ready(reply.unwrap_or_else(|_| {
            Err(Error::Unreachable {
                member: self.load.member.clone(),
                reason: "the connection was given up".into(),
                sent: true,
            })
        }))
    }
}

impl Shared {
    fn lives_on(&self, number: u64) -> tokio::runtime::Handle {
        if self.loops.is_empty() { self.runtime.clone() } else { self.loops.of(number) }
    }
}

impl Client {
    /// A client that has no connections yet. They will live on the runtime that this is called in, those that
    /// replicate on the loop of the other member's number; the client may be used from any.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(me: Arc<Identity>, secret: Secret, loops: Loops) -> Self {
        Self {
            shared: Arc::new(Shared {
                runtime: tokio::runtime::Handle::current(),
                loops,
                me,
                secret,
                peers: RwLock::default(),
                hints: RwLock::default(),
                protocols: RwLock::default(),
            }),
        }
    }

    /// Asks a member and waits for its reply, at most until the deadline.
    ///
    /// # Errors
    /// See [`Error`]; always by the deadline.
    pub async fn call(
        &self,
        to: &Member,
        kind: Kind,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<Bytes, Error> {
        self.send(to, kind, 0, payload)?.until(deadline).await
    }

    /// Puts a request on its way. Requests of the same `order` reach the member's handler in the
    /// order in which they were sent (as long as the connection holds).
    ///
    /// # Errors
    /// [`Error::Busy`] when too many wait, [`Error::TooLarge`].
    pub fn send(
        &self,
        to: &Member,
        kind: Kind,
        order: u64,
        payload: Bytes,
    ) -> Result<Pending, Error> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(Error::TooLarge { bytes: payload.len() });
        }
        let peer = self.peer(to);
        let lane = match kind {
            Kind::Raft | Kind::Control => &peer.control,
            Kind::Wait => &peer.wait,
            Kind::Replicate => &peer.replicate,
            Kind::Forward | Kind::Publish => {
                &peer.forward[(order % peer.forward.len() as u64) as usize]
            }
        };
        let bytes = payload.len();
        let requests_before = lane.load.requests.fetch_add(1, Ordering::Relaxed);
        if requests_before == 0 {
            let now_ms = lane.load.started.elapsed().as_millis() as u64;
            lane.load.asked_ms.store(now_ms, Ordering::Relaxed);
        }
        let bytes_before = lane.load.bytes.fetch_add(bytes, Ordering::Relaxed);
        let (sender, reply) = oneshot::channel();
        let waiting = Waiting { reply: Some(sender), load: lane.load.clone(), bytes };
        let over_bytes = bytes_before > 0 && bytes_before + bytes > MAX_WAITING_BYTES;
        if requests_before >= MAX_WAITING || over_bytes {
            return Err(Error::Busy { member: to.name.clone() });
        }
        if let Err(mpsc::error::SendError(request)) =
            lane.queue.send(Request { kind, payload, waiting })
        {
            request.waiting.fail("its connection was closed", false);
        }
        Ok(Pending { reply, load: lane.load.clone() })
    }

    /// Makes a connection of its own to a member, which tells when that goes away.
    ///
    /// # Errors
    /// As the system has it; `TimedOut` after `wait`.
    pub async fn hold(&self, to: &Member, wait: Duration) -> io::Result<Held> {
        Held::to(&self.target(to), wait).await
    }

    /// The newest protocol that each member speaks that was reached, as far as this one speaks it.
    pub fn protocols(&self) -> BTreeMap<MemberId, Protocol> {
        self.shared.protocols.read().clone()
    }

    /// Where gossip from a member came from.
    pub fn set_hint(&self, member: MemberId, address: IpAddr) {
        if self.shared.hints.read().get(&member) != Some(&address) {
            self.shared.hints.write().insert(member, address);
        }
    }

    /// Whether forwarded commands wait for a member of which nothing is heard any more.
    pub fn waits_in_vain(&self, member: MemberId) -> bool {
        let peers = self.shared.peers.read();
        let lanes = peers.get(&member).map(|peer| &peer.forward);
        lanes.into_iter().flatten().any(|lane| lane.load.waits_in_vain(SILENCE))
    }

    /// Gives up what waits for a member's answer to forwarded commands: others have taken over from it, and it does not
    /// answer. Whoever asked is told that the request may have reached it.
    pub fn give_up(&self, member: MemberId) {
        if let Some(peer) = self.shared.peers.read().get(&member) {
            let lanes = peer.forward.iter().chain([&peer.wait]);
            let waits = lanes.filter(|lane| lane.load.requests.load(Ordering::Relaxed) > 0);
            // Those that are there now: the next connection is not meant. One that is being written to is given up
            // when this is asked again.
            waits.for_each(|lane| lane.load.reset.notify_waiters());
        }
    }

    /// Gives up the connections and addresses of all other members.
    pub fn retain(&self, members: &HashSet<MemberId>) {
        self.shared.peers.write().retain(|id, _| members.contains(id));
        self.shared.hints.write().retain(|id, _| members.contains(id));
        self.shared.protocols.write().retain(|id, _| members.contains(id));
    }

    fn peer(&self, to: &Member) -> Arc<Peer> {
        let fits = |peer: &&Arc<Peer>| peer.port == to.gossip_port && peer.host == to.host;
        if let Some(peer) = self.shared.peers.read().get(&to.id).filter(fits) {
            return peer.clone();
        }
        let mut peers = self.shared.peers.write();
        if let Some(peer) = peers.get(&to.id).filter(fits) {
            return peer.clone();
        }
        let runtime = &self.shared.runtime;
        let peer = Arc::new(Peer {
            host: to.host.clone(),
            port: to.gossip_port,
            control: self.lane(to, runtime),
            forward: self.forward_lanes(to),
            wait: self.lane(to, runtime),
            replicate: self.lane(to, &self.shared.lives_on(to.id)),
        });
        peers.insert(to.id, peer.clone());
        peer
    }

    fn forward_lanes(&self, to: &Member) -> Vec<Lane> {
        let count = self.shared.loops.len().max(FORWARD_LANES) as u64;
        (0..count).map(|order| self.lane(to, &self.shared.lives_on(order))).collect()
    }

    fn lane(&self, to: &Member, runtime: &tokio::runtime::Handle) -> Lane {
        let (queue, requests) = mpsc::unbounded_channel();
        let load = Arc::new(Load {
            member: to.name.clone(),
            requests: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            started: Instant::now(),
            heard_ms: AtomicU64::new(0),
            asked_ms: AtomicU64::new(0),
            reset: Notify::new(),
        });
        runtime.spawn(connection::drive(self.target(to), load.clone(), requests));
        Lane { queue, load }
    }

    fn target(&self, to: &Member) -> connection::Target {
        let (hints, protocols) = (Arc::downgrade(&self.shared), Arc::downgrade(&self.shared));
        let id = to.id;
        connection::Target {
            id,
            host: to.host.clone(),
            port: to.gossip_port,
            hint: Box::new(move || {
                hints.upgrade().and_then(|shared| shared.hints.read().get(&id).copied())
            }),
            agreed: Box::new(move |protocol| {
                let Some(shared) = protocols.upgrade() else { return };
                if shared.protocols.read().get(&id) != Some(&protocol) {
                    shared.protocols.write().insert(id, protocol);
                }
            }),
            me: self.shared.me.clone(),
            secret: self.shared.secret.clone(),
        }
    }
}
