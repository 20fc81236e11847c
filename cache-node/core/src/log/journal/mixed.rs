//! A journal that feeds a link to another member: its frames take the records of all stores, so that all
//! records of a slot stay in order, and it has eras.

use super::super::{Batch, LANES};
use super::{Awaiting, Journal, Lane, Ticket};
use crate::cluster::Slot;
use crate::store::StoreNumber;
use parking_lot::MutexGuard;
use smallvec::SmallVec;
use std::sync::atomic::Ordering::*;
use std::task::Waker;

impl Journal {
    /// A journal whose frames take records of all stores.
    pub fn mixed() -> Self {
        Self { mixed: true, ..Self::default() }
    }

    /// As [`Self::append_one`], to a mixed journal, if its era is this one. The cycle that comes next in
    /// the slot's lane, and whether the record is in it.
    #[inline]
    pub fn append_in(
        &self,
        era: u64,
        store: StoreNumber,
        slot: Slot,
        time_ms: u64,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> (Ticket, bool) {
        let mut lane = self.lane(slot).lock();
        if lane.era != era || era == 0 {
            return (Ticket(lane.cycle), false);
        }
        let sequence = self.sequence.fetch_add(1, AcqRel) + 1;
        let frame = lane.mixed_frame(&self.spare);
        let before = frame.len();
        frame.add(sequence, time_ms, store, slot, write);
        let added = frame.len() - before;
        (self.appended_to(lane, added), true)
    }

    /// As [`Self::append`], to a mixed journal, if its era is this one: a batch of one slot. The cycle that
    /// comes next in the slot's lane, and whether the batch is in it.
    pub fn append_batch_in(
        &self,
        era: u64,
        slot: Slot,
        batch: &Batch,
        time_ms: u64,
    ) -> (Ticket, bool) {
        let mut lane = self.lane(slot).lock();
        if lane.era != era || era == 0 {
            return (Ticket(lane.cycle), false);
        }
        let first = self.sequence.fetch_add(batch.len() as u64, AcqRel) + 1;
        let frame = lane.mixed_frame(&self.spare);
        let before = frame.len();
        frame.add_batch(first, time_ms, batch);
        let added = frame.len() - before;
        (self.appended_to(lane, added), true)
    }

    /// Begins another era of a mixed journal (0: one in which nothing is appended): what was not taken is
    /// dropped. The first cycle of it.
    pub fn begin_era(&self, era: u64) -> Ticket {
        self.told.store(false, Release);
        self.urgent.store(false, Release);
        let mut lanes: SmallVec<[MutexGuard<'_, Lane>; LANES]> =
            self.lanes.iter().map(|lane| lane.0.lock()).collect();
        let mut cycle = 0;
        for lane in &mut lanes {
            lane.open.clear();
            lane.sealed.clear();
            (lane.bytes, lane.era) = (0, era);
            // Whoever waits for what is dropped waits for a cycle that is none of this era.
            lane.cycle += 1;
            cycle = lane.cycle;
        }
        self.waiting_bytes.store(0, Relaxed);
        drop(lanes);
        self.makes_room();
        Ticket(cycle)
    }

    /// What of a mixed journal waits to be taken, in bytes.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes.load(Relaxed)
    }

    /// Whether a ticket's cycle is durable by now, without a lock.
    #[inline]
    pub fn has_ended(&self, ticket: Ticket) -> bool {
        ticket.0 < self.durable.load(Acquire)
    }

    /// `waker` is woken when a cycle has ended, or by [`Self::wake_awaiting`]; the number by which it can
    /// be taken back. `None`: it has ended.
    pub fn await_end(&self, ticket: Ticket, waker: &Waker) -> Option<u64> {
        let mut ends = self.ends.lock();
        if ticket.0 < ends.durable {
            return None;
        }
        ends.waits += 1;
        let (cycle, id, waker) = (ticket.0, ends.waits, waker.clone());
        ends.awaiting.push(Awaiting { cycle, id, waker });
        drop(ends);
        self.hurry();
        Some(id)
    }

    /// Who waits by this number does not any more.
    pub fn await_no_more(&self, id: u64) {
        let mut ends = self.ends.lock();
        let index = ends.awaiting.iter().position(|awaiting| awaiting.id == id);
        let left = index.map(|index| ends.awaiting.swap_remove(index));
        // What goes with a waker may lock this as well.
        drop(ends);
        drop(left);
    }

    /// All who wait for a cycle's end are woken, to look again.
    pub fn wake_awaiting(&self) {
        let waiting: Vec<Awaiting> = std::mem::take(&mut self.ends.lock().awaiting);
        waiting.into_iter().for_each(|awaiting| awaiting.waker.wake());
    }
}
