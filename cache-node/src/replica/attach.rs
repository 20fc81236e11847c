//! Slots on their way to another owner: it is asked how far it is, and gets what it lacks.
//!
//! Pieces of slots go beside the records, some at a time, and at a bounded rate: records of the slots that are
//! served have the right of way.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use hypercache_core::cluster::{Placement, SLOTS, Slot, slot_runs};
use hypercache_core::keyspace::{Attached, Pieces, Unattached};
use hypercache_core::replica::Position;
use tokio::time::Instant;

use super::handle::count;
use super::link::{Asked, Broken, Sender};
use super::wire::{self, Came, Head};
use crate::clock::now_ms;

/// So many slots are asked for at once.
const MOST_ASKED: usize = 2048;
/// So many slots are attached ahead of their pieces.
const MOST_ATTACHED: usize = 64;
/// So many pieces are on their way at once,
const MOST_PIECES: usize = 256;
/// and so many bytes of them.
const MOST_BYTES: usize = 8 << 20;
/// After so many bytes, others have their turn: clients of this loop among them.
const MOST_AT_ONCE: u64 = 32 << 10;
/// What a key costs beside its bytes, in bytes: to be taken, sent and put, the processor needs as long as for so many.
const KEY_COST_BYTES: u64 = 160;
/// So much later than it should a pause may end, and be made up for.
const LATE: Duration = Duration::from_millis(10);
/// At a low rate fewer: as many as may go in so much of a second.
const PART_OF_A_SECOND: u64 = 10;

/// Where nothing was found and nothing has changed, it is looked again after so long: what is read from this member's
/// disk, and what is served again, no change tells of.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Default)]
pub(super) struct Attaching {
    /// When nothing was found last; at which epoch of the table, after how many changes of the link, in which session.
    found_none: Option<(Instant, (u64, u64, u64))>,
    /// There may be more to ask for than was asked for last.
    is_more: bool,
    /// Asked for, in order.
    asked: Vec<Slot>,
    /// The epoch of the table by which that was asked.
    epoch: u64,
    /// What they said, and by the table of which epoch they were asked.
    queue: VecDeque<(Slot, Position, u64)>,
    /// Slots whose pieces are being taken, one after the other.
    pieces: VecDeque<(Slot, Pieces)>,
    /// The last cycle in which there is a mark of these.
    marks: u64,
    /// Slots whose pieces are on their way, by attachment.
    busy: HashMap<Slot, u64>,
    on_the_way: usize,
    bytes: usize,
    /// What was sent since the last pause, in bytes, with what keys cost.
    unpaid: u64,
    /// What was sent is paid for then.
    due: Option<Instant>,
    /// No piece is sent before this.
    not_before: Option<Instant>,
}

impl Attaching {
    /// When there is something to be sent again, after a pause.
    pub fn pauses_until(&self) -> Option<Instant> {
        self.not_before
    }

    /// Whether there is more to look for at once: whoever waits for the owner waits for all of its slots.
    pub fn is_more(&self) -> bool {
        self.is_more && self.asked.is_empty() && self.queue.is_empty()
    }

    /// Looks which slots the peer owns and has not got.
    pub fn look(&mut self, sender: &mut Sender) -> Result<(), Broken> {
        if !self.asked.is_empty() || !self.queue.is_empty() {
            return Ok(());
        }
        let (context, link) = (&sender.context, &sender.link);
        let (state, me) = (context.serving.state(), context.me);
        // Before it is looked: what changes meanwhile is looked at again.
        let at = (state.epoch, link.changes(), link.session());
        if self.found_none.is_some_and(|(when, then)| then == at && when.elapsed() < LOOK_AGAIN) {
            return Ok(());
        }
        self.found_none = None;
        let lacks = |slot: &Slot| {
            let placement = state.assignment.placement(*slot);
            let is_ours = |p: &Placement| p.primary() == Some(me) && p.owns(link.member());
            placement.is_some_and(is_ours)
                && context.keyspace.is_serving(*slot)
                && !self.busy.contains_key(slot)
                && !self.pieces.iter().any(|(taken, _)| taken == slot)
                && context
                    .keyspace
                    .feed()
                    .look(*slot, |feed| feed.owner(link))
                    .flatten()
                    .is_some_and(|owner| !owner.is_whole)
        };
        let asked: Vec<Slot> = (0..SLOTS).filter(lacks).take(MOST_ASKED).collect();
        self.is_more = asked.len() == MOST_ASKED;
        if asked.is_empty() {
            self.found_none = Some((Instant::now(), at));
            return Ok(());
        }
        let head = Head::Positions { runs: slot_runs(asked.iter().copied()), epoch: state.epoch };
        (self.asked, self.epoch) = (asked, state.epoch);
        sender.send(Asked::Positions, &head, |_| {})
    }

    /// The peer said how far it is.
    pub fn positions(&mut self, sender: &Sender, positions: &[Option<(u64, u64, u64)>]) {
        let asked = std::mem::take(&mut self.asked);
        let mut goes_on = false;
        for (slot, position) in asked.into_iter().zip(positions) {
            // What is not read from its disk yet is asked for again.
            let Some(position) = position.map(wire::position) else { continue };
            match sender.context.keyspace.feed().look(slot, |feed| feed.owner(&sender.link)) {
                Some(Some(owner)) if !owner.is_whole => {
                    goes_on = true;
                    self.queue.push_back((slot, position, self.epoch));
                }
                _ => {}
            }
        }
        // It has to read its disk first, or to hear of the table: it is asked again, and not at once.
        self.is_more &= goes_on;
        if goes_on {
            tracing::debug!(
                action = "slots-attached",
                member = sender.to.name,
                slots = self.queue.len(),
                "slots are attached"
            );
        }
    }

    /// Sends what may be sent now; whether there is more that could be.
    pub fn go_on(&mut self, sender: &mut Sender) -> Result<bool, Broken> {
        if let Some(until) = self.not_before {
            if Instant::now() < until {
                return Ok(false);
            }
            self.not_before = None;
        }
        {
            let feed = sender.context.clone();
            let _quiet = feed.keyspace.feed().quietly();
            while self.pieces.len() < MOST_ATTACHED && self.begin(sender)? {}
        }
        // Their marks go first.
        sender.pump()?;
        if sender.sent < self.marks {
            return Ok(false);
        }
        let mut sent = 0u64;
        let per_second = sender.context.cluster.move_rate().max(1);
        let at_once = MOST_AT_ONCE.min(per_second / PART_OF_A_SECOND);
        while self.on_the_way < MOST_PIECES && self.bytes < MOST_BYTES && sent <= at_once {
            let Some((slot, pieces)) = self.pieces.front_mut() else { break };
            let (slot, mut entries) = (*slot, Vec::new());
            let attachment = pieces.attachment();
            let Ok(Some(piece)) = pieces.next_piece(&mut entries) else {
                // It came to nothing, or was sent whole.
                self.pieces.pop_front();
                continue;
            };
            let keys = pieces.keys();
            if piece.is_last {
                self.pieces.pop_front();
            }
            self.busy.insert(slot, attachment);
            self.on_the_way += 1;
            self.bytes += entries.len();
            sent += entries.len() as u64 + u64::from(keys) * KEY_COST_BYTES;
            let (is_last, bytes) = (piece.is_last, entries.len());
            count(&sender.state.counters.piece_bytes, bytes as u64);
            count(&sender.state.counters.sent_bytes, bytes as u64);
            let head = wire::piece_head(sender.session, &piece);
            let asked = Asked::Piece { slot, attachment, is_last, bytes };
            sender.send(asked, &head, |out| out.append(&mut entries))?;
        }
        self.unpaid += sent;
        if self.unpaid >= at_once {
            let pause = Duration::from_micros(self.unpaid.saturating_mul(1_000_000) / per_second);
            self.unpaid = 0;
            // A pause that took longer than it should, as timers do, makes the next one shorter.
            let now = Instant::now();
            let late = now.checked_sub(LATE).unwrap_or(now);
            let due = self.due.map_or(late, |due| due.max(late)) + pause;
            self.due = Some(due);
            self.not_before = (due > now).then_some(due);
        }
        Ok(sent > at_once)
    }

    /// Attaches the next slot; false if there is none.
    fn begin(&mut self, sender: &Sender) -> Result<bool, Broken> {
        let Some((slot, theirs, epoch)) = self.queue.pop_front() else { return Ok(false) };
        let (context, link) = (&sender.context, &sender.link);
        // Where it was an owner no more for a while since it was asked, it may not know that it is one again: when it
        // hears that it was none, it drops what it was given.
        if !context.keyspace.is_serving(slot) || context.serving.removed(link.member()) > epoch {
            return Ok(true);
        }
        match context.keyspace.attach(slot, link, theirs, now_ms()) {
            Ok(Attached::GoesOn) => {
                count(&sender.state.counters.by_log, 1);
                sender.state.attend.notify_one();
            }
            Ok(Attached::Pieces(pieces)) => {
                count(&sender.state.counters.by_snapshot, 1);
                self.marks = link.ticket().cycle();
                self.pieces.push_back((slot, pieces));
            }
            Err(Unattached::NoSession) => return Err(Broken::Session),
            Err(Unattached::InSync) => {
                sender.state.must_leave.lock().insert(slot);
                sender.state.attend.notify_one();
            }
            Err(Unattached::NotPrimary | Unattached::NoOwner) => {}
        }
        Ok(true)
    }

    /// The peer said what came of a piece.
    pub fn came(
        &mut self,
        sender: &Sender,
        slot: Slot,
        attachment: u64,
        is_last: bool,
        bytes: usize,
        came: Came,
    ) {
        self.found_none = None;
        self.on_the_way = self.on_the_way.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        let context = &sender.context;
        match came {
            Came::Whole => {
                if self.busy.get(&slot) == Some(&attachment) {
                    self.busy.remove(&slot);
                }
                context.keyspace.attached(slot, &sender.link, attachment);
                sender.state.attend.notify_one();
            }
            Came::Void if self.busy.get(&slot) == Some(&attachment) => {
                self.busy.remove(&slot);
                self.pieces.retain(|(of, pieces)| *of != slot || pieces.attachment() != attachment);
            }
            Came::Taken if is_last => {
                self.busy.remove(&slot);
            }
            Came::Void | Came::Taken => {}
        }
    }
}
