//! The journal: batches on their way to the log's file, and who waits for them.
//!
//! Commands append under their slots' locks, so that the records of a slot stand in the order of its
//! changes. One writer takes all that waits at once, as frames, writes them in the order in which it
//! got them, forces them to the disk where that is asked for, and says so: a *cycle*. Whoever appended
//! knows the cycle in which his batch is taken, and waits for its end; so all that append while the disk
//! is busy share the next force (group commit; DeWitt et al., "Implementation Techniques for Main Memory
//! Database Systems", 1984).
//!
//! What waits is bounded: who is about to write asks [`Journal::poll_room`] first.
//!
//! The same is what a link to another member is fed from ([`crate::replica`]): a journal that is *mixed*,
//! whose frames take the records of all stores, so that all records of a slot stay in order, and are not
//! compressed. It has *eras*: what was appended in one that is over is dropped.

mod mixed;

use super::frame::{Frame, NOBODY, SEVERAL};
use super::until::UntilDurable;
use super::{Batch, LANES, Sequence, lane_of};
use crate::cluster::{SLOTS, Slot};
use crate::store::{Durability, StoreNumber};
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};

/// A lane that holds as much is written without waiting for more.
const EAGER_BYTES: usize = 128 << 10;
/// Once a lane holds as much, who wants to write waits. All lanes together: 64 MB.
const FULL_BYTES: usize = 4 << 20;
/// Once all lanes of a mixed journal hold as much together, who wants to write waits.
const MIXED_FULL_BYTES: usize = 16 << 20;

/// The most buffers that are kept for the next frames.
const SPARE_BUFFERS: usize = 2 * LANES;

/// The cycle that an appended batch is written in: it is durable when that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub(super) u64);

impl Ticket {
    /// The ticket of a cycle by its number.
    pub fn of_cycle(number: u64) -> Self {
        Self(number)
    }

    /// The number of its cycle.
    pub fn cycle(self) -> u64 {
        self.0
    }
}

/// Why nothing can be made durable now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failed(pub Arc<str>);

/// What the writer took: a cycle's frames, in the order in which they are to be written.
#[derive(Debug)]
pub struct Taken {
    /// To be named in [`Journal::written`] and [`Journal::durable`].
    pub cycle: Ticket,
    /// The frames; none is empty.
    pub frames: Vec<Frame>,
    /// The last sequence that was given when they were taken.
    pub last_sequence: Sequence,
}

#[derive(Default)]
struct Lane {
    cycle: u64,
    /// One frame a store, which grows.
    open: SmallVec<[Frame; 2]>,
    /// Frames that take nothing more.
    sealed: Vec<Frame>,
    bytes: usize,
    /// Batches were left out because too many waited while nothing could be written.
    lost: bool,
    /// What of a mixed journal is appended is of this era; 0: nothing is.
    era: u64,
}

#[derive(Default)]
#[repr(align(128))]
struct Padded(Mutex<Lane>);

#[derive(Default)]
pub(super) struct Ends {
    /// All cycles before this one are durable.
    pub durable: u64,
    /// All cycles before this one are in the file.
    written: u64,
    pub failed: Option<Failed>,
    /// Who waits for the end of a cycle.
    pub awaiting: Vec<Awaiting>,
    /// How many have waited so far.
    pub waits: u64,
    /// Who waits until there is room.
    pub(super) for_room: Vec<Waker>,
}

/// Somebody who waits for the end of a cycle.
pub(super) struct Awaiting {
    pub cycle: u64,
    /// Tells him from the others.
    pub id: u64,
    pub waker: Waker,
}

/// See the module.
#[derive(Default)]
pub struct Journal {
    lanes: [Padded; LANES],
    /// The last one that was given.
    sequence: AtomicU64,
    /// Somebody writes what is appended. Before that, nothing is kept.
    on: AtomicBool,
    failed: AtomicBool,
    full: AtomicBool,
    /// The writer was told that there is something; cleared as it takes.
    told: AtomicBool,
    /// Somebody waits for the cycle to end.
    urgent: AtomicBool,
    writer: OnceLock<Waker>,
    pub(super) ends: Mutex<Ends>,
    /// Buffers for frames.
    spare: Mutex<Vec<Vec<u8>>>,
    /// The last sequence that was given before the start.
    began_after: AtomicU64,
    /// Frames take records of all stores.
    mixed: bool,
    /// What of a mixed journal waits to be taken, in bytes.
    waiting_bytes: AtomicUsize,
    /// As `ends.durable`, to be read without its lock.
    pub(super) durable: AtomicU64,
    /// The cycle of each slot's last record that is answered once it is on the disk; from the start on.
    last_forced: OnceLock<Box<[AtomicU64]>>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl Journal {
    /// From now on what is appended waits for a writer, who is woken by `writer` when there is
    /// something; the first record gets the sequence after `last`. To be called once, before
    /// anything that should be kept is written.
    pub fn start(&self, last: Sequence, writer: Waker) {
        self.sequence.store(last, Relaxed);
        self.began_after.store(last, Relaxed);
        // The cycle before the first is one in which nothing was, and that is durable.
        self.lanes.iter().for_each(|lane| lane.0.lock().cycle = 1);
        *self.ends.lock() = Ends { durable: 1, written: 1, ..Ends::default() };
        self.durable.store(1, Release);
        let _ = self.last_forced.set((0..SLOTS).map(|_| AtomicU64::new(0)).collect());
        let _ = self.writer.set(writer);
        self.on.store(true, Release);
    }

    /// Whether somebody writes what is appended.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// The last sequence that was given. Under a slot's lock: all records of the slot so far have at
    /// most this one, and all later ones a greater one.
    pub fn last_sequence(&self) -> Sequence {
        self.sequence.load(Acquire)
    }

    /// Gives the next sequence to nothing, and what it is: what was begun before has a lower one, and what
    /// is begun after it has not, although nothing may have been written between. A record of [`NOBODY`]
    /// says so in the log, if that has anything since the start, so that a sequence that is not there is one
    /// that was lost.
    pub fn skip(&self, time_ms: u64) -> Sequence {
        if !self.is_on() {
            return self.last_sequence();
        }
        let skipped = {
            let mut lane = self.lane(0).lock();
            let is_told = self.appended() > 0;
            self.began_after.fetch_add(1, Relaxed);
            let skipped = self.sequence.fetch_add(1, AcqRel) + 1;
            if is_told && self.takes(&mut lane) {
                let frame = lane.frame_of(NOBODY, &Durability::default(), &self.spare);
                let before = frame.len();
                frame.add(skipped, time_ms, NOBODY, 0, |_| {});
                let added = frame.len() - before;
                self.appended_to(lane, added);
            }
            skipped
        };
        // The writer notes that it was given.
        self.hurry();
        skipped
    }

    /// Records that were appended since the start.
    pub fn appended(&self) -> u64 {
        self.last_sequence() - self.began_after.load(Relaxed)
    }

    #[inline]
    fn lane(&self, slot: Slot) -> &Mutex<Lane> {
        // `lane_of` is below LANES.
        &self.lanes[lane_of(slot)].0
    }

    /// Appends a batch of one record, whose commands `write` appends. The slot is locked.
    #[inline]
    pub fn append_one(
        &self,
        store: StoreNumber,
        durability: &Durability,
        slot: Slot,
        time_ms: u64,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Ticket {
        let mut lane = self.lane(slot).lock();
        if !self.takes(&mut lane) {
            return Ticket(lane.cycle);
        }
        let sequence = self.sequence.fetch_add(1, AcqRel) + 1;
        let frame = lane.frame_of(store, durability, &self.spare);
        let before = frame.len();
        frame.add(sequence, time_ms, store, slot, write);
        let added = frame.len() - before;
        self.appended_to(lane, added)
    }

    /// Appends a batch: a frame has all of it or nothing. The slots of its records are locked;
    /// `durability` gives their stores'. `None` for a batch without records.
    pub fn append(
        &self,
        batch: &Batch,
        time_ms: u64,
        durability: impl Fn(StoreNumber) -> Durability,
    ) -> Option<Ticket> {
        let (store, slot, _) = batch.records().next()?;
        let mut lanes: SmallVec<[usize; 4]> =
            batch.records().map(|(_, slot, _)| lane_of(slot)).collect();
        lanes.sort_unstable();
        lanes.dedup();
        let one_store = batch.records().all(|(other, ..)| other == store);
        let records = batch.len() as u64;
        if one_store && lanes.len() == 1 {
            let mut lane = self.lane(slot).lock();
            if !self.takes(&mut lane) {
                return Some(Ticket(lane.cycle));
            }
            let first = self.sequence.fetch_add(records, AcqRel) + 1;
            let frame = lane.frame_of(store, &durability(store), &self.spare);
            let before = frame.len();
            frame.add_batch(first, time_ms, batch);
            let added = frame.len() - before;
            return Some(self.appended_to(lane, added));
        }
        // A frame of its own: after all that is in these lanes, and before all that comes.
        let mut guards: SmallVec<[MutexGuard<'_, Lane>; 4]> =
            lanes.iter().map(|lane| self.lanes[*lane].0.lock()).collect();
        let all_take = guards.iter_mut().all(|lane| self.takes(lane));
        let ticket = Ticket(guards.first()?.cycle);
        if !all_take {
            guards.iter_mut().for_each(|lane| lane.lost = true);
            return Some(ticket);
        }
        let first = self.sequence.fetch_add(records, AcqRel) + 1;
        let number = if one_store { store } else { SEVERAL };
        let compresses = batch.records().all(|(store, ..)| durability(store).compression);
        let mut frame = Frame::new(number, u32::MAX, compresses);
        frame.add_batch(first, time_ms, batch);
        let added = frame.len();
        guards.iter_mut().for_each(|lane| lane.seal());
        let mut lane = guards.swap_remove(0);
        lane.sealed.push(frame);
        drop(guards);
        Some(self.appended_to(lane, added))
    }

    /// Whoever reads of a slot waits for a cycle as well, as what is in it is answered once it is on the disk. The slot is
    /// locked.
    #[inline]
    pub fn force(&self, slot: Slot, ticket: Ticket) {
        let last = self.last_forced.get().and_then(|last| last.get(usize::from(slot)));
        if let Some(last) = last {
            last.fetch_max(ticket.0, Relaxed);
        }
    }

    /// The cycle of a slot's last record that is answered once it is on the disk, if it is not there yet. The slot is
    /// locked.
    #[inline]
    pub fn unforced_in(&self, slot: Slot) -> Option<Ticket> {
        let last = self.last_forced.get()?.get(usize::from(slot))?.load(Relaxed);
        (last >= self.durable.load(Acquire)).then_some(Ticket(last))
    }

    fn makes_room(&self) {
        if self.full.swap(false, AcqRel) {
            let waiting = std::mem::take(&mut self.ends.lock().for_room);
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Whether a lane takes another batch; notes it if one is lost.
    #[inline]
    fn takes(&self, lane: &mut Lane) -> bool {
        if lane.bytes < 2 * FULL_BYTES || !self.failed.load(Relaxed) {
            return self.on.load(Relaxed);
        }
        lane.lost = true;
        false
    }

    #[inline]
    fn appended_to(&self, mut lane: MutexGuard<'_, Lane>, added: usize) -> Ticket {
        let before = lane.bytes;
        lane.bytes += added;
        let (ticket, now) = (Ticket(lane.cycle), lane.bytes);
        let mut is_full = now >= FULL_BYTES;
        if self.mixed {
            // Under the lane's lock, so that who takes all counts all.
            is_full = self.waiting_bytes.fetch_add(added, Relaxed) + added >= MIXED_FULL_BYTES;
        }
        drop(lane);
        if !self.told.load(Relaxed) {
            self.tell();
        }
        if now >= EAGER_BYTES && before < EAGER_BYTES {
            self.hurry();
        }
        if is_full {
            self.full.store(true, Relaxed);
        }
        ticket
    }

    #[cold]
    fn tell(&self) {
        if !self.told.swap(true, AcqRel) {
            self.wake();
        }
    }

    /// The writer is to take what is there at once.
    #[cold]
    pub fn hurry(&self) {
        if !self.urgent.swap(true, AcqRel) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.wake_by_ref();
        }
    }

    /// Whether something was appended since the last [`Self::take`], and whether the writer should
    /// not wait for more of it.
    pub fn pending(&self) -> (bool, bool) {
        (self.told.load(Acquire), self.urgent.load(Acquire))
    }

    /// Takes all that waits, and begins a new cycle.
    pub fn take(&self) -> Taken {
        self.told.store(false, Release);
        self.urgent.store(false, Release);
        let mut lanes: SmallVec<[MutexGuard<'_, Lane>; LANES]> =
            self.lanes.iter().map(|lane| lane.0.lock()).collect();
        let last_sequence = self.sequence.load(Acquire);
        let mut frames = Vec::new();
        let mut cycle = 0;
        for lane in &mut lanes {
            cycle = lane.cycle;
            lane.cycle += 1;
            lane.seal();
            frames.append(&mut lane.sealed);
            lane.bytes = 0;
        }
        self.waiting_bytes.store(0, Relaxed);
        drop(lanes);
        // A frame of several lanes comes after what was there before it, and before the rest.
        frames.sort_by_key(Frame::first_sequence);
        self.makes_room();
        Taken { cycle: Ticket(cycle), frames, last_sequence }
    }

    /// Takes the buffers of a cycle's frames for later ones, as many as such a cycle needs: the frames of
    /// a busy member grow in memory that is there, and a quiet one keeps none.
    pub fn recycle(&self, buffers: Vec<Vec<u8>>) {
        let bytes: usize = buffers.iter().map(Vec::len).sum();
        let mut spare = self.spare.lock();
        if bytes < EAGER_BYTES {
            return *spare = Vec::new();
        }
        let fits = |buffer: &Vec<u8>| buffer.capacity() <= 4 * EAGER_BYTES;
        spare.extend(buffers.into_iter().filter(fits));
        spare.truncate(SPARE_BUFFERS);
    }

    /// The cycle is in the file, and with it all before.
    pub fn written(&self, cycle: Ticket) {
        let mut ends = self.ends.lock();
        ends.written = ends.written.max(cycle.0 + 1);
    }

    /// The cycle is on the disk, and with it all before.
    pub fn durable(&self, cycle: Ticket) {
        let mut ends = self.ends.lock();
        ends.written = ends.written.max(cycle.0 + 1);
        ends.durable = ends.durable.max(cycle.0 + 1);
        let durable = ends.durable;
        self.durable.store(durable, Release);
        let ready = ends.awaiting.extract_if(.., |awaiting| awaiting.cycle < durable);
        let ready: Vec<Waker> = ready.map(|awaiting| awaiting.waker).collect();
        drop(ends);
        ready.into_iter().for_each(Waker::wake);
    }

    /// Nothing can be made durable by now: all who wait are told so, and those who come.
    pub fn fail(&self, why: Failed) {
        self.failed.store(true, Release);
        let mut ends = self.ends.lock();
        ends.failed = Some(why);
        let waiting: Vec<Waker> = ends.awaiting.drain(..).map(|awaiting| awaiting.waker).collect();
        let for_room = std::mem::take(&mut ends.for_room);
        drop(ends);
        waiting.into_iter().chain(for_room).for_each(Waker::wake);
    }

    /// What is appended from now on can be made durable again.
    pub fn heal(&self) {
        self.ends.lock().failed = None;
        self.failed.store(false, Release);
    }

    /// Whether batches were left out since the last call, because too many waited while nothing
    /// could be written: what is on the disk then lacks them, whatever follows.
    pub fn take_lost(&self) -> bool {
        self.lanes.iter().fold(false, |lost, lane| std::mem::take(&mut lane.0.lock().lost) | lost)
    }

    /// Whether nothing can be made durable by now.
    #[inline]
    pub fn is_failed(&self) -> bool {
        self.failed.load(Relaxed)
    }

    /// Why nothing can be made durable, if so.
    pub fn failure(&self) -> Option<Failed> {
        self.ends.lock().failed.clone()
    }

    /// The cycle of what was appended last; durable when all that was appended before this call is.
    pub fn ticket(&self) -> Ticket {
        // Where nothing waits to be taken, it was an earlier cycle's.
        let last = |lane: &Padded| {
            let lane = lane.0.lock();
            let is_empty = lane.open.is_empty() && lane.sealed.is_empty();
            lane.cycle - u64::from(is_empty && lane.cycle > 0)
        };
        Ticket(self.lanes.iter().map(last).max().unwrap_or(0))
    }

    /// How many wait for a cycle to end.
    pub fn awaiting(&self) -> usize {
        self.ends.lock().awaiting.len()
    }

    /// Whether a ticket's cycle is durable by now.
    pub fn is_durable(&self, ticket: Ticket) -> bool {
        ticket.0 < self.ends.lock().durable
    }

    /// Waits until a ticket's cycle is durable, or cannot be.
    pub fn until_durable(&self, ticket: Ticket) -> UntilDurable<'_> {
        UntilDurable::new(self, ticket)
    }

    /// Whether there is room for more. There is always some while nothing can be made durable: the
    /// write is refused then.
    #[inline]
    pub fn has_room(&self) -> bool {
        !self.full.load(Relaxed) || self.is_failed()
    }

    /// As [`Self::has_room`]; where there is none, `waker` is woken when there is.
    pub fn poll_room(&self, waker: &Waker) -> Poll<()> {
        if self.has_room() {
            return Poll::Ready(());
        }
        let mut ends = self.ends.lock();
        if !self.full.load(Acquire) || ends.failed.is_some() {
            return Poll::Ready(());
        }
        ends.for_room.push(waker.clone());
        drop(ends);
        self.hurry();
        Poll::Pending
    }
}

impl Lane {
    /// The frame that a store's next record goes into.
    #[inline]
    fn frame_of(
        &mut self,
        store: StoreNumber,
        durability: &Durability,
        spare: &Mutex<Vec<Vec<u8>>>,
    ) -> &mut Frame {
        let found = self.open.iter().position(|frame| frame.store() == store);
        let index = match found {
            Some(index) if !self.open[index].is_full() => index,
            found => {
                if let Some(index) = found {
                    self.sealed.push(self.open.swap_remove(index));
                }
                let Durability { batch_size, compression, .. } = *durability;
                let buffer = spare.lock().pop().unwrap_or_default();
                self.open.push(Frame::in_buffer(buffer, store, batch_size, compression));
                self.open.len() - 1
            }
        };
        &mut self.open[index]
    }

    /// The frame that the next record of any store goes into.
    #[inline]
    fn mixed_frame(&mut self, spare: &Mutex<Vec<Vec<u8>>>) -> &mut Frame {
        if self.open.last().is_none_or(Frame::is_full) {
            self.seal();
            let buffer = spare.lock().pop().unwrap_or_default();
            self.open.push(Frame::in_buffer(buffer, SEVERAL, u32::MAX, false));
        }
        let last = self.open.len() - 1;
        &mut self.open[last]
    }

    fn seal(&mut self) {
        self.sealed.extend(self.open.drain(..));
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
