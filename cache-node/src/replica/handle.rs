//! What the rest of the member asks of replication.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::time::Duration;

use hypercache_core::cluster::{MemberId, PlacementRun, Slot};
use hypercache_core::keyspace::Keyspace;
use hypercache_core::replica::Link;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Fresh;
use crate::peer;
use crate::raft;
use crate::telemetry::metrics::ReplicationSnapshot;

/// How a link is, as its sender finds it.
#[derive(Debug)]
pub struct LinkState {
    started: Instant,
    /// When it was well last, in milliseconds since then.
    well_ms: AtomicU64,
    /// Its peer answers in a session.
    pub(super) is_up: AtomicBool,
    /// Nobody listens at the peer's address, or it has said that it takes nothing more: its process is gone, or is
    /// about to go.
    pub(super) is_gone: AtomicBool,
    /// The process of the peer that the session is with.
    pub(super) incarnation: AtomicU64,
    /// Something is there for who keeps it in sync.
    pub(super) attend: Notify,
    /// Slots whose in-sync set it has to leave before it can be attached.
    pub(super) must_leave: Mutex<BTreeSet<Slot>>,
    /// What was done over it since the start.
    pub(super) counters: Counters,
}

/// What was done over a link.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub sessions: AtomicU64,
    pub resumed: AtomicU64,
    pub cycles: AtomicU64,
    pub resent: AtomicU64,
    pub sent_bytes: AtomicU64,
    pub by_log: AtomicU64,
    pub by_snapshot: AtomicU64,
    pub piece_bytes: AtomicU64,
    pub refused: AtomicU64,
    /// The last cycle that its peer confirmed.
    pub confirmed: AtomicU64,
}

/// One more, or so many.
pub(super) fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

/// What was done over a link since the member started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkCounts {
    /// Sessions that were begun.
    pub sessions: u64,
    /// Connections over which a session went on.
    pub resumed: u64,
    /// Cycles that were sent.
    pub cycles: u64,
    /// Of these, again.
    pub resent: u64,
    /// Bytes of cycles and pieces.
    pub sent_bytes: u64,
    /// Slots that were attached where the peer was.
    pub by_log: u64,
    /// Slots that were attached with all that they hold.
    pub by_snapshot: u64,
    /// Bytes of the pieces of these.
    pub piece_bytes: u64,
    /// Slots of which the peer did not take records.
    pub refused: u64,
}

impl Counters {
    fn now(&self) -> LinkCounts {
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        LinkCounts {
            sessions: of(&self.sessions),
            resumed: of(&self.resumed),
            cycles: of(&self.cycles),
            resent: of(&self.resent),
            sent_bytes: of(&self.sent_bytes),
            by_log: of(&self.by_log),
            by_snapshot: of(&self.by_snapshot),
            piece_bytes: of(&self.piece_bytes),
            refused: of(&self.refused),
        }
    }
}

impl Default for LinkState {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            well_ms: AtomicU64::new(0),
            is_up: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
            incarnation: AtomicU64::new(0),
            attend: Notify::new(),
            must_leave: Mutex::default(),
            counters: Counters::default(),
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
    /// Its session, and the last cycle of it that was done.
    session: u64,
    number: u64,
}

struct Inner {
    keyspace: Arc<Keyspace>,
    cluster: raft::Handle,
    peers: peer::Client,
    fresh: Fresh,
    handed_over: AtomicU64,
    deposed: AtomicU64,
    states: Mutex<BTreeMap<MemberId, Arc<LinkState>>>,
    /// What came from each primary.
    taken: Mutex<BTreeMap<MemberId, Taken>>,
}

/// Asks replication. Cheap to clone.
#[derive(Clone)]
pub struct Handle(Arc<Inner>);

/// How one link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkFigures {
    /// To whom.
    pub member: MemberId,
    /// It answers.
    pub is_online: bool,
    /// The last cycle that was begun.
    pub offset: u64,
    /// What waits to be confirmed, in bytes.
    pub behind_bytes: u64,
    /// The same in cycles.
    pub behind_cycles: u64,
    /// The same in records.
    pub behind_records: u64,
    /// What was done over it.
    pub counts: LinkCounts,
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
    pub(super) fn new(keyspace: Arc<Keyspace>, cluster: raft::Handle, peers: peer::Client) -> Self {
        let (states, taken) = (Mutex::default(), Mutex::default());
        let fresh = Fresh::default();
        let (handed_over, deposed) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Inner {
            keyspace,
            cluster,
            peers,
            fresh,
            handed_over,
            deposed,
            states,
            taken,
        }))
    }

    pub(super) fn keyspace(&self) -> &Keyspace {
        &self.0.keyspace
    }

    pub(super) fn cluster(&self) -> &raft::Handle {
        &self.0.cluster
    }

    pub(super) fn peers(&self) -> &peer::Client {
        &self.0.peers
    }

    /// Slots were given away with everything.
    pub(super) fn handed_over(&self, slots: usize) {
        count(&self.0.handed_over, slots as u64);
    }

    /// A replica knew another primary of a slot.
    pub(super) fn deposed(&self) {
        count(&self.0.deposed, 1);
    }

    /// What `/metrics` tells of replication.
    pub fn snapshot(&self) -> ReplicationSnapshot {
        let view = self.0.cluster.view();
        let name = |id| {
            let member = view.member(id);
            member.map_or_else(|| format!("{id:016x}"), |member| member.name.clone())
        };
        let wanted = view.state.replication_factor().min(view.state.members.len());
        let placements = view.state.assignment.placements();
        let mine = placements.iter().filter(|run| run.placement.primary() == Some(view.me));
        let slots = |run: &PlacementRun| u64::from(run.last - run.first) + 1;
        let lacking = mine.clone().filter(|run| run.placement.in_sync.len() < wanted);
        ReplicationSnapshot {
            links: self.links().into_iter().map(|link| (name(link.member), link)).collect(),
            slots_primary: mine.map(slots).sum(),
            slots_under_replicated: lacking.map(slots).sum(),
            slots_handed_over: self.0.handed_over.load(Relaxed),
            slots_deposed: self.0.deposed.load(Relaxed),
            checks: self.0.keyspace.feed().check_counts(),
        }
    }

    /// How old this member's copies are.
    pub fn fresh(&self) -> &Fresh {
        &self.0.fresh
    }

    /// A primary has begun a session.
    pub(super) fn began(&self, from: MemberId, session: u64) {
        let mut taken = self.0.taken.lock();
        let taken = taken.entry(from).or_default();
        (taken.session, taken.number) = (session, 0);
    }

    /// A cycle of a primary's session was done.
    pub(super) fn did(&self, from: MemberId, session: u64, number: u64) {
        let mut taken = self.0.taken.lock();
        let taken = taken.entry(from).or_default();
        (taken.session, taken.number) = (session, number);
    }

    /// Whether all of a primary's session up to a cycle was done here.
    pub(super) fn has_come(&self, from: MemberId, session: u64, number: u64) -> bool {
        let taken = self.0.taken.lock();
        taken.get(&from).is_some_and(|taken| taken.session == session && taken.number >= number)
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

    /// The links to members of the table. Who went, or came back as another with an empty disk, is not waited for.
    pub fn links(&self) -> Vec<LinkFigures> {
        let links = self.0.keyspace.feed().links();
        let view = self.0.cluster.view();
        let of = |link: &Arc<Link>| {
            let state = self.state_of(link.member());
            let is_online = state.is_up.load(Acquire);
            LinkFigures {
                member: link.member(),
                is_online,
                offset: link.ticket().cycle(),
                behind_bytes: link.bytes() as u64,
                behind_records: link.records(),
                behind_cycles: link
                    .ticket()
                    .cycle()
                    .saturating_sub(state.counters.confirmed.load(Relaxed)),
                counts: state.counters.now(),
                lag_ms: state.unwell().as_millis() as u64,
            }
        };
        links.iter().filter(|link| view.member(link.member()).is_some()).map(of).collect()
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
}
