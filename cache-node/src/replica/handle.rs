//! What the rest of the member asks of replication.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::time::Duration;

use hypercache_core::cluster::MemberId;
use hypercache_core::keyspace::Keyspace;
use hypercache_core::log::Ticket;
use hypercache_core::replica::Link;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How often it is looked who has confirmed.
const LOOK: Duration = Duration::from_millis(2);

/// How a link is, as its sender finds it.
#[derive(Debug)]
pub struct LinkState {
    started: Instant,
    /// When it was well last, in milliseconds since then.
    well_ms: AtomicU64,
    /// Its peer answers in a session.
    pub(super) is_up: AtomicBool,
    /// Nobody listens at the peer's address: its process is gone.
    pub(super) is_gone: AtomicBool,
    /// The process of the peer that the session is with.
    pub(super) incarnation: AtomicU64,
    /// A slot's owner has to leave the in-sync set before it can be attached.
    pub(super) must_leave: AtomicBool,
}

impl Default for LinkState {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            well_ms: AtomicU64::new(0),
            is_up: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
            incarnation: AtomicU64::new(0),
            must_leave: AtomicBool::new(false),
        }
    }
}

impl LinkState {
    /// It was heard, or nothing is asked of it.
    pub(super) fn is_well(&self) {
        self.well_ms.store(self.started.elapsed().as_millis() as u64, Relaxed);
    }

    /// How long it was not.
    pub fn unwell(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.well_ms.load(Relaxed)))
    }
}

#[derive(Debug, Default)]
struct Taken {
    bytes: u64,
    last: Option<Instant>,
}

struct Inner {
    keyspace: Arc<Keyspace>,
    states: Mutex<BTreeMap<MemberId, Arc<LinkState>>>,
    /// What came from each primary.
    taken: Mutex<BTreeMap<MemberId, Taken>>,
}

/// Asks replication. Cheap to clone.
#[derive(Clone)]
pub struct Handle(Arc<Inner>);

/// How one link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkFigures {
    /// To whom.
    pub member: MemberId,
    /// It answers.
    pub is_online: bool,
    /// The last cycle that was begun.
    pub offset: u64,
    /// Whether it has confirmed all that was appended.
    pub has_all: bool,
    /// What waits to be confirmed, in bytes.
    pub behind_bytes: u64,
    /// How long it was not heard, in milliseconds, while something was asked of it.
    pub lag_ms: u64,
}

/// A member whose writes this one takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceFigures {
    /// Whose.
    pub member: MemberId,
    /// How much came, in bytes.
    pub bytes: u64,
    /// When something came last, in milliseconds ago.
    pub ago_ms: u64,
}

/// A time that a client gave; `None` for ever.
pub fn timeout(timeout_ms: u64) -> Option<Duration> {
    (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms))
}

impl Handle {
    pub(super) fn new(keyspace: Arc<Keyspace>) -> Self {
        let (states, taken) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { keyspace, states, taken }))
    }

    pub(super) fn state_of(&self, member: MemberId) -> Arc<LinkState> {
        Arc::clone(self.0.states.lock().entry(member).or_default())
    }

    /// Something came from a primary.
    pub(super) fn took(&self, from: MemberId, bytes: usize) {
        let mut taken = self.0.taken.lock();
        let taken = taken.entry(from).or_default();
        (taken.bytes, taken.last) = (taken.bytes + bytes as u64, Some(Instant::now()));
    }

    /// The links that have, or had, somebody to send to.
    pub fn links(&self) -> Vec<LinkFigures> {
        let links = self.0.keyspace.feed().links();
        let of = |link: &Arc<Link>| {
            let state = self.state_of(link.member());
            let is_online = state.is_up.load(Acquire);
            LinkFigures {
                member: link.member(),
                is_online,
                offset: link.ticket().cycle(),
                has_all: is_online && link.has_confirmed(link.ticket()),
                behind_bytes: link.bytes() as u64,
                lag_ms: state.unwell().as_millis() as u64,
            }
        };
        links.iter().map(of).collect()
    }

    /// The members whose writes this one takes.
    pub fn sources(&self) -> Vec<SourceFigures> {
        let taken = self.0.taken.lock();
        let of = |(member, taken): (&MemberId, &Taken)| SourceFigures {
            member: *member,
            bytes: taken.bytes,
            ago_ms: taken.last.map_or(0, |last| last.elapsed().as_millis() as u64),
        };
        taken.iter().map(of).collect()
    }

    /// How many links have confirmed all that was appended when this was called: once they are so many, or
    /// after a time.
    pub async fn confirmed_by(&self, wanted: usize, timeout: Option<Duration>) -> usize {
        let links = self.0.keyspace.feed().links();
        let asked: Vec<(Arc<Link>, Ticket)> =
            links.iter().map(|link| (Arc::clone(link), link.ticket())).collect();
        let until = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let has = |(link, ticket): &&(Arc<Link>, Ticket)| {
                let is_up = self.state_of(link.member()).is_up.load(Acquire);
                is_up && link.has_confirmed(*ticket)
            };
            let have = asked.iter().filter(has).count();
            if have >= wanted || until.is_some_and(|until| Instant::now() >= until) {
                return have;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
