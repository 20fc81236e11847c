//! A link: this member as primary towards one other member.
//!
//! What is appended waits in lanes by slot, as in the log. The sender takes all that waits as a *cycle*
//! and sends it; a cycle stays here until the peer confirms it, so that it can be sent again over a new
//! connection. A *session* begins with [`Link::open`]: what an earlier one had is forgotten, and every
//! slot has to be attached anew. Cycles are numbered on through all sessions.

use crate::cluster::{MemberId, Slot};
use crate::log::{Batch, Frame, Journal, Sequence, Ticket, UntilDurable};
use crate::store::StoreNumber;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::task::{Poll, Waker};

/// Nothing more is taken while as much is sent and not confirmed.
const WINDOW_BYTES: usize = 32 << 20;
/// A link that has as much to keep gives its session up.
const MOST_BYTES: usize = 256 << 20;

/// What a link took at once.
#[derive(Debug)]
pub struct Cycle {
    /// The session that it is of.
    pub session: u64,
    /// Its number, which grows by one from cycle to cycle of a session.
    pub number: u64,
    /// The last record that is in it or before it, by this link's own count of them.
    last_record: Sequence,
    /// Its frames as they are sent, each with its header and checksums, in their order.
    pub frames: Vec<Vec<u8>>,
}

impl Cycle {
    /// The bytes of its frames.
    pub fn bytes(&self) -> usize {
        self.frames.iter().map(Vec::len).sum()
    }
}

#[derive(Debug, Default)]
struct Kept {
    session: u64,
    /// What was taken and is not confirmed.
    cycles: VecDeque<Arc<Cycle>>,
    bytes: usize,
    /// The last record that is confirmed, or was dropped with an earlier session.
    confirmed: Sequence,
}

/// See the module.
#[derive(Debug)]
pub struct Link {
    index: u16,
    member: MemberId,
    journal: Journal,
    /// 0: none.
    session: AtomicU64,
    kept: Mutex<Kept>,
    /// Grows with every change of how the peer stands as an owner of slots.
    changes: AtomicU64,
}

impl Link {
    /// A link without a session; `sender` is woken when there is something to take.
    pub(super) fn new(index: u16, member: MemberId, sender: Waker) -> Self {
        let journal = Journal::mixed();
        journal.start(0, sender);
        Self {
            index,
            member,
            journal,
            session: AtomicU64::new(0),
            kept: Mutex::default(),
            changes: AtomicU64::new(0),
        }
    }

    /// Its place among the links, which is its as long as the process lives.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Whom it leads to.
    pub fn member(&self) -> MemberId {
        self.member
    }

    /// The session; 0 for none.
    #[inline]
    pub fn session(&self) -> u64 {
        self.session.load(Acquire)
    }

    /// Counts the changes of how the peer stands as an owner of slots: while it, the session and the table are the same, so is
    /// that ([`SlotFeed::owner`](super::SlotFeed::owner)).
    #[inline]
    pub fn changes(&self) -> u64 {
        self.changes.load(Acquire)
    }

    pub(super) fn changed(&self) {
        self.changes.fetch_add(1, AcqRel);
    }

    /// Begins a session, by a number that no other session of this process and its predecessors with this
    /// peer has (0: none begins, the last one ends). All slots have to be attached anew.
    pub fn open(&self, session: u64) {
        let mut kept = self.kept.lock();
        *kept = Kept { session, ..Kept::default() };
        self.journal.begin_era(session);
        // Nobody appends for this session until it is known below.
        kept.confirmed = self.journal.last_sequence();
        self.session.store(session, Release);
        drop(kept);
        // What they wait for may not come any more.
        self.journal.wake_awaiting();
    }

    /// Ends the session, if it is still this one.
    pub fn close(&self, session: u64) {
        if self.session() == session {
            self.open(0);
        }
    }

    /// Whether something waits to be taken, and whether it should not wait for more.
    pub fn pending(&self) -> (bool, bool) {
        self.journal.pending()
    }

    /// Takes all that waits. `None`: nothing does, there is no session, or too much is not confirmed;
    /// after that, the sender is woken when it is.
    pub fn take(&self) -> Option<Arc<Cycle>> {
        let mut kept = self.kept.lock();
        let (something, urgent) = self.journal.pending();
        if kept.session == 0 || kept.bytes >= WINDOW_BYTES || !something && !urgent {
            return None;
        }
        let taken = self.journal.take();
        let frames = taken.frames.into_iter().map(|frame: Frame| frame.finish().0).collect();
        let cycle = Arc::new(Cycle {
            session: kept.session,
            number: taken.cycle.cycle(),
            last_record: taken.last_sequence,
            frames,
        });
        kept.bytes += cycle.bytes();
        kept.cycles.push_back(Arc::clone(&cycle));
        Some(cycle)
    }

    /// What was taken in this session after a cycle and is not confirmed, in order: to be sent again over
    /// another connection to a peer that has done that one.
    pub fn unconfirmed_after(&self, number: u64) -> Vec<Arc<Cycle>> {
        let kept = self.kept.lock();
        kept.cycles.iter().filter(|cycle| cycle.number > number).map(Arc::clone).collect()
    }

    /// The peer has done a cycle of a session, and all before it. What it refused of them has to be told
    /// first ([`crate::keyspace::Keyspace::refused`]).
    pub fn confirm(&self, session: u64, number: u64) {
        let mut kept = self.kept.lock();
        if kept.session != session || session == 0 {
            return;
        }
        let was_full = kept.bytes >= WINDOW_BYTES;
        let mut buffers = Vec::new();
        while let Some(cycle) = kept.cycles.pop_front_if(|cycle| cycle.number <= number) {
            kept.bytes -= cycle.bytes();
            kept.confirmed = cycle.last_record;
            // Somebody may be sending it still.
            buffers.extend(Arc::into_inner(cycle).into_iter().flat_map(|cycle| cycle.frames));
        }
        let is_full = kept.bytes >= WINDOW_BYTES;
        drop(kept);
        if !buffers.is_empty() {
            self.journal.recycle(buffers);
        }
        self.journal.durable(Ticket::of_cycle(number));
        if was_full && !is_full {
            self.journal.hurry();
        }
    }

    /// What is kept of this session, sent or not, in bytes.
    pub fn bytes(&self) -> usize {
        self.kept.lock().bytes + self.journal.waiting_bytes()
    }

    /// The records of this session that are not confirmed, sent or not.
    pub fn records(&self) -> u64 {
        let kept = self.kept.lock();
        self.journal.last_sequence().saturating_sub(kept.confirmed)
    }

    /// Whether there is room for more.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.journal.has_room()
    }

    /// As [`Self::has_room`]; where there is none, `waker` is woken when there is.
    pub fn poll_room(&self, waker: &Waker) -> Poll<()> {
        self.journal.poll_room(waker)
    }

    /// The cycle in which all is that was appended so far.
    pub fn ticket(&self) -> Ticket {
        self.journal.ticket()
    }

    /// Whether the peer confirmed a cycle.
    #[inline]
    pub fn has_confirmed(&self, ticket: Ticket) -> bool {
        self.journal.has_ended(ticket)
    }

    /// Waits until the peer has confirmed a cycle, which goes at once, whatever is in it.
    pub fn until_confirmed(&self, ticket: Ticket) -> UntilDurable<'_> {
        self.journal.until_durable(ticket)
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Appends a record for a session: the cycle that comes next in its lane, and whether it is in it.
    #[inline]
    pub(super) fn append(
        &self,
        session: u64,
        store: StoreNumber,
        slot: Slot,
        time_ms: u64,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> (Ticket, bool) {
        let appended = self.journal.append_in(session, store, slot, time_ms, write);
        self.check_bounds();
        appended
    }

    /// Appends a slot's records that belong together.
    pub(super) fn append_batch(
        &self,
        session: u64,
        slot: Slot,
        batch: &Batch,
        time_ms: u64,
    ) -> (Ticket, bool) {
        let appended = self.journal.append_batch_in(session, slot, batch, time_ms);
        self.check_bounds();
        appended
    }

    #[inline]
    fn check_bounds(&self) {
        if self.journal.waiting_bytes() > MOST_BYTES - WINDOW_BYTES {
            self.open(0);
        }
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
