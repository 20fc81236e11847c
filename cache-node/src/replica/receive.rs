//! The replica's side: does what comes from primaries, in order, and confirms it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hypercache_core::cluster::{MemberId, SLOTS, Slot, slots_in};
use hypercache_core::command::apply::{Applied, LoadedPiece};
use hypercache_core::keyspace::{Keyspace, Piece};
use hypercache_core::log::Ticket;
use hypercache_core::replica::{Receive, Received};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::wire::{self, Came, Head, Said};
use super::{Context, Handle, Written};
use crate::clock::now_ms;
use crate::peer::{Answer, Handler};
use crate::raft::Serving;

/// So long another member may be kept waiting; it asks again.
const MOST_WAIT: Duration = Duration::from_secs(10);

/// See the module.
pub struct Receiver {
    keyspace: Arc<Keyspace>,
    serving: Arc<Serving>,
    handle: Handle,
    context: Arc<Context>,
    /// What is known of the primaries' sessions.
    sessions: Mutex<HashMap<MemberId, Arc<Mutex<Received>>>>,
}

impl Receiver {
    /// Takes what comes into this keyspace.
    pub(super) fn new(context: Arc<Context>) -> Self {
        let Context { keyspace, serving, handle, .. } = &*context;
        let (keyspace, serving, handle) = (keyspace.clone(), serving.clone(), handle.clone());
        Self { keyspace, serving, handle, context, sessions: Mutex::default() }
    }

    fn session(&self, from: MemberId) -> Arc<Mutex<Received>> {
        Arc::clone(self.sessions.lock().entry(from).or_default())
    }

    fn incarnation(&self) -> u64 {
        self.serving.incarnation()
    }

    fn hello(&self, from: MemberId, session: u64) -> Said {
        let known = self.session(from);
        let mut known = known.lock();
        let incarnation = self.incarnation();
        if session == 0 || known.session() != session {
            return Said::Unknown { incarnation };
        }
        let journal = self.keyspace.journal();
        let number = known.confirmed(|ticket| journal.is_durable(ticket));
        let refused = known.refused().iter().map(wire::put_refusal).collect();
        Said::Known { incarnation, number, refused }
    }

    fn begin(&self, from: MemberId, session: u64) -> Said {
        let known = self.session(from);
        let mut known = known.lock();
        *known = known.follow(session);
        self.handle.began(from, session);
        Said::Known { incarnation: self.incarnation(), number: 0, refused: Vec::new() }
    }

    /// Does a cycle. What has to be on the disk before the answer is given.
    fn cycle(
        &self,
        from: MemberId,
        session: u64,
        number: u64,
        frames: &[u32],
        body: &[u8],
    ) -> Result<(Said, Option<Ticket>), String> {
        let known = self.session(from);
        let mut known = known.lock();
        let unknown = Said::Unknown { incarnation: self.incarnation() };
        let journal = self.keyspace.journal();
        match known.receive(session, number) {
            Receive::Unknown => return Ok((unknown, None)),
            Receive::Again => {}
            Receive::Next => {
                let (mut applied, mut rest) = (Applied::default(), body);
                for len in frames {
                    let cut = rest.split_at_checked(*len as usize);
                    let (frame, after) = cut.ok_or("a cycle that is cut off")?;
                    rest = after;
                    let done = self.keyspace.apply(from, session, frame, now_ms());
                    applied.merge(done.map_err(|damage| damage.to_string())?);
                }
                for error in &applied.errors {
                    tracing::error!(
                        action = "record-not-applied",
                        member = format_args!("{from:016x}"),
                        error,
                        "a record of another member could not be done"
                    );
                }
                for (slot, store) in &applied.differing {
                    tracing::warn!(
                        action = "copy-differs",
                        slot,
                        member = self.context.name_of(from),
                        "this member's copy of a slot is not what its primary holds, of store {store}: it is replaced"
                    );
                }
                let Applied { refused, attached, ticket, .. } = &applied;
                let is_durable = |ticket| journal.is_durable(ticket);
                known.done(number, refused, attached, *ticket, is_durable);
                self.handle.took(from, body.len());
                self.handle.did(from, session, number);
            }
        }
        let refused = known.refused().iter().map(wire::put_refusal).collect();
        let ticket = known.ticket().filter(|ticket| !journal.is_durable(*ticket));
        Ok((Said::Done { refused }, ticket))
    }

    /// How far this member's copies are. Before its table is the one by which the primary asks it says nothing: an
    /// older one that is still to come may tell it that it is no owner, and it would drop what it was given.
    fn positions(&self, runs: &[(Slot, Slot)], epoch: u64) -> Said {
        let knows = self.serving.epoch() >= epoch;
        let position = |slot: Slot| {
            let is_read = knows && self.serving.slots().is_read(slot);
            is_read.then(|| wire::put_position(self.keyspace.feed().position(slot)))
        };
        Said::Positions(slots_in(runs).take(usize::from(SLOTS)).map(position).collect())
    }

    fn piece(
        &self,
        from: MemberId,
        session: u64,
        piece: &Piece,
        entries: &[u8],
    ) -> (Came, Option<Ticket>) {
        let loaded = self.keyspace.load_piece(from, session, piece, entries, now_ms());
        self.handle.took(from, entries.len());
        let ticket = match loaded {
            LoadedPiece::Whole(ticket) => ticket,
            _ => None,
        };
        (loaded.into(), ticket.filter(|ticket| !self.keyspace.journal().is_durable(*ticket)))
    }

    fn answer(&self, from: MemberId, request: &[u8]) -> Result<(Said, Option<Ticket>), String> {
        let (head, body) = wire::read(request).ok_or("a malformed message of replication")?;
        let said = match head {
            Head::Hello { session } => self.hello(from, session),
            Head::Begin { session } => self.begin(from, session),
            Head::Cycle { session, number, frames } => {
                return self.cycle(from, session, number, &frames, body);
            }
            Head::Positions { runs, epoch } => {
                let said = self.positions(&runs, epoch);
                // What it says counts as confirmed. (While the disk fails nothing that has to be on it is.)
                let is_failed = self.keyspace.journal().is_failed();
                let ticket = self.keyspace.unforced(slots_in(&runs));
                return Ok((said, ticket.filter(|_| !is_failed)));
            }
            Head::Piece { session, slot, attachment, number, store, is_last } => {
                let piece = Piece { slot, attachment, number, store, is_last };
                let (came, ticket) = self.piece(from, session, &piece, body);
                return Ok((Said::Piece(came), ticket));
            }
            Head::Fresh => self.context.sent_to(from).ok_or("it is not the primary by a lease")?,
            // Answered later.
            Head::Wait { .. } | Head::OnDisk { .. } | Head::Copies { .. } => {
                return Err("it takes longer".to_owned());
            }
        };
        Ok((said, None))
    }
}

/// Whether all that was done here by now is on this member's disk, within a time.
async fn is_on_disk(keyspace: &Keyspace, timeout_ms: u64) -> bool {
    let journal = keyspace.journal();
    let is_kept = journal.is_on()
        && keyspace.policies().iter().any(|policy| policy.durability.mode.is_logged());
    let time = Duration::from_millis(timeout_ms);
    let there = tokio::time::timeout(time, journal.until_durable(journal.ticket()));
    is_kept && matches!(there.await, Ok(Ok(())))
}

impl Receiver {
    /// How many others have it, once they are so many or after a time.
    fn confirmed(&self, written: Written, is_any: bool, replicas: u32, timeout_ms: u64) -> Answer {
        let handle = self.handle.clone();
        Answer::Later(Box::pin(async move {
            let until = Instant::now() + Duration::from_millis(timeout_ms).min(MOST_WAIT);
            let have = handle.confirmed_here(&written, is_any, replicas as usize, until).await;
            wire::put_said(&Said::Have(u32::try_from(have).unwrap_or(u32::MAX))).map(Bytes::from)
        }))
    }
}

impl Handler for Receiver {
    fn call(&self, from: MemberId, payload: Bytes, out: &mut BytesMut) -> Answer {
        match wire::read(&payload) {
            Some((Head::Wait { replicas, timeout_ms }, _)) => {
                // A member of an earlier release does not say what it asks about.
                return self.confirmed(Written::default(), true, replicas, timeout_ms);
            }
            Some((Head::Copies { places, stores, replicas, timeout_ms }, _)) => {
                return self.confirmed(Written::of(places, stores), false, replicas, timeout_ms);
            }
            Some((Head::OnDisk { timeout_ms }, _)) => {
                let keyspace = self.keyspace.clone();
                return Answer::Later(Box::pin(async move {
                    let is_there = is_on_disk(&keyspace, timeout_ms).await;
                    wire::put_said(&Said::OnDisk(is_there)).map(Bytes::from)
                }));
            }
            _ => {}
        }
        let (said, ticket) = match self.answer(from, &payload) {
            Ok(answered) => answered,
            Err(reason) => return Answer::Refused(reason),
        };
        let reply = match wire::put_said(&said) {
            Ok(reply) => reply,
            Err(reason) => return Answer::Refused(reason),
        };
        let Some(ticket) = ticket else {
            out.extend_from_slice(&reply);
            return Answer::Now;
        };
        let keyspace = self.keyspace.clone();
        Answer::Later(Box::pin(async move {
            // Whoever waits has a deadline of his own.
            keyspace.journal().until_durable(ticket).await.map_err(|failed| failed.to_string())?;
            Ok(reply.into())
        }))
    }
}
