//! All links of a member, and what it is for each slot.

use super::awaits::Awaited;
use super::backlog::Counted;
use super::check::{CHECK, Check, CheckCounts, Checks};
use super::link::Link;
use super::losses::Losses;
use super::mark::{MARK, Mark};
use super::need::{Need, Progress};
use super::slot::{Position, Role, SlotFeed};
use super::until::UntilMet;
use crate::cluster::{MemberId, SLOTS, Slot};
use crate::log::Batch;
use crate::log::record::put_varint;
use crate::store::{Acks, StoreNumber};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};

/// A slot's state, made when it is needed.
type Place = Mutex<Option<Box<SlotFeed>>>;

/// Of a record's store, what decides who gets it and who waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fed {
    pub number: StoreNumber,
    pub replication_factor: u8,
    pub acks: Acks,
}

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    wakers: Vec<(u64, Waker)>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Feed {
    slots: OnceLock<Box<[Place]>>,
    links: ArcSwap<Vec<Arc<Link>>>,
    /// Held while a link is added.
    linking: Mutex<()>,
    attachments: AtomicU64,
    /// What waits for the last pieces of slots, in bytes.
    held_bytes: Arc<AtomicUsize>,
    /// What is kept for owners that are not attached yet, in bytes.
    backlog_bytes: Arc<AtomicUsize>,
    checks: Checks,
    losses: Losses,
    /// Grows with every change of what is waited for that no link's cycle tells of.
    changes: AtomicU64,
    /// How many gather changes at the moment, see [`Self::quietly`].
    quiet: AtomicUsize,
    waiting: Mutex<Waiting>,
}

/// Many changes are under way.
#[derive(Debug)]
pub struct Quiet<'a>(&'a Feed);

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        self.0.quiet.fetch_sub(1, AcqRel);
        // In any case: others may have changed something meanwhile, and told nobody.
        self.0.tell();
    }
}

impl Feed {
    /// Whether anything was ever replicated, or may be: some slot has a role.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.slots.get().is_some()
    }

    fn place(&self, slot: Slot) -> Option<&Place> {
        self.slots.get()?.get(usize::from(slot))
    }

    /// What this member is for a slot, to be changed under the slot's lock.
    pub(crate) fn change<R>(&self, slot: Slot, run: impl FnOnce(&mut SlotFeed) -> R) -> Option<R> {
        let slots = self.slots.get_or_init(|| (0..SLOTS).map(|_| Place::default()).collect());
        let mut place = slots.get(usize::from(slot))?.lock();
        Some(run(place.get_or_insert_default()))
    }

    /// As [`Self::change`], of a slot that has a role, or had one.
    pub(crate) fn change_known<R>(
        &self,
        slot: Slot,
        run: impl FnOnce(&mut SlotFeed) -> R,
    ) -> Option<R> {
        self.place(slot)?.lock().as_mut().map(|slot| run(slot))
    }

    /// Whether this member has a role for a slot, or had one.
    pub(crate) fn is_known(&self, slot: Slot) -> bool {
        self.look(slot, |_| ()).is_some()
    }

    /// Looks at what this member is for a slot; `None` if it never was anything.
    pub fn look<R>(&self, slot: Slot, run: impl FnOnce(&SlotFeed) -> R) -> Option<R> {
        self.place(slot)?.lock().as_ref().map(|slot| run(slot))
    }

    /// What this member is for a slot.
    pub fn role(&self, slot: Slot) -> Role {
        self.look(slot, SlotFeed::role).unwrap_or_default()
    }

    /// How far this member's copy of a slot is.
    pub fn position(&self, slot: Slot) -> Position {
        self.look(slot, SlotFeed::position).unwrap_or_default()
    }

    /// The link to a member, made if there is none; `sender` is woken when there is something to send
    /// over it (of a link that is there, the first one stays).
    pub fn link_to(&self, member: MemberId, sender: impl FnOnce() -> Waker) -> Arc<Link> {
        let _linking = self.linking.lock();
        let links = self.links.load();
        if let Some(link) = links.iter().find(|link| link.member() == member) {
            return Arc::clone(link);
        }
        let mut more = Vec::clone(&links);
        let index = u16::try_from(more.len()).unwrap_or(u16::MAX);
        let link = Arc::new(Link::new(index, member, sender()));
        more.push(Arc::clone(&link));
        self.links.store(Arc::new(more));
        link
    }

    /// All links that were made so far.
    pub fn links(&self) -> Arc<Vec<Arc<Link>>> {
        self.links.load_full()
    }

    /// Whether all links have room for more.
    #[inline]
    pub fn has_room(&self) -> bool {
        !self.is_on() || self.links.load().iter().all(|link| link.has_room())
    }

    /// As [`Self::has_room`]; where there is none, `waker` is woken when there may be.
    pub fn poll_room(&self, waker: &Waker) -> Poll<()> {
        for link in self.links.load().iter() {
            if link.poll_room(waker).is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// A number that no other attachment has.
    /// What primaries that died may have taken with them, as far as this member knows of the table.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    pub(crate) fn next_attachment(&self) -> u64 {
        self.attachments.fetch_add(1, Relaxed) + 1
    }

    pub(crate) fn held_bytes(&self) -> &Arc<AtomicUsize> {
        &self.held_bytes
    }

    /// Appends a record to the links that its store's go to. Its slot is locked.
    pub(crate) fn append(&self, slot: Slot, store: Fed, time_ms: u64, commands: &[u8]) {
        self.change_known(slot, |state| {
            let Some(mut need) = state.begin(slot, store) else { return };
            let sequence = state.next_sequence();
            let mut lacks_some = false;
            for way in &mut state.ways {
                lacks_some |= !way.is_attached();
                if way.least_factor > store.replication_factor {
                    continue;
                }
                let (ticket, is_in) =
                    way.link.append(way.session, store.number, slot, time_ms, |out| {
                        put_varint(out, sequence);
                        out.extend_from_slice(commands);
                    });
                way.last = sequence;
                if !is_in {
                    way.detach();
                }
                need.tickets.push((way.link.index(), ticket));
            }
            state.wait_for(need);
            if lacks_some {
                state.keep(&[(store, sequence, commands)], time_ms, &self.backlog_bytes);
            }
            state.levels.count(store.replication_factor, sequence);
        });
    }

    /// Appends records of one slot that belong together, each to the links that its store's go to.
    pub(crate) fn append_batch<'r>(
        &self,
        slot: Slot,
        records: impl Iterator<Item = (Fed, &'r [u8])>,
        time_ms: u64,
    ) {
        self.change_known(slot, |state| {
            let mut numbered: SmallVec<[Counted<'_>; 4]> = SmallVec::new();
            let mut needs: SmallVec<[Need; 1]> = SmallVec::new();
            for (store, commands) in records {
                let Some(need) = state.begin(slot, store) else { continue };
                numbered.push((store, state.next_sequence(), commands));
                if !needs.iter().any(|known| known.is_like(&need)) {
                    needs.push(need);
                }
            }
            let mut lacks_some = false;
            for way in &mut state.ways {
                lacks_some |= !way.is_attached();
                let mut batch = Batch::default();
                for (store, sequence, commands) in &numbered {
                    if way.least_factor <= store.replication_factor {
                        way.last = *sequence;
                        batch.add(store.number, slot, |out| {
                            put_varint(out, *sequence);
                            out.extend_from_slice(commands);
                        });
                    }
                }
                if batch.is_empty() {
                    continue;
                }
                let (ticket, is_in) = way.link.append_batch(way.session, slot, &batch, time_ms);
                if !is_in {
                    way.detach();
                }
                needs.iter_mut().for_each(|need| need.tickets.push((way.link.index(), ticket)));
            }
            needs.into_iter().for_each(|need| state.wait_for(need));
            if lacks_some {
                state.keep(&numbered, time_ms, &self.backlog_bytes);
            }
            for (store, sequence, _) in &numbered {
                state.levels.count(store.replication_factor, *sequence);
            }
        });
    }

    /// Appends a mark about a slot to a link, and what cycle it is in; `None`: the session is over.
    pub(crate) fn append_mark(
        link: &Link,
        session: u64,
        slot: Slot,
        mark: &Mark,
    ) -> Option<crate::log::Ticket> {
        let (ticket, is_in) = link.append(session, MARK, slot, 0, |out| mark.put(out));
        is_in.then_some(ticket)
    }

    /// Appends a check of a slot to a link; false: the session is over.
    pub(crate) fn append_check(link: &Link, session: u64, slot: Slot, check: &Check) -> bool {
        link.append(session, CHECK, slot, 0, |out| check.put(out)).1
    }

    pub(crate) fn checks(&self) -> &Checks {
        &self.checks
    }

    /// How copies were found.
    pub fn check_counts(&self) -> CheckCounts {
        self.checks.now()
    }

    /// Adds what is not confirmed of a slot to what the thread's command waits for.
    pub(crate) fn note(&self, slot: Slot) {
        self.pending(slot, super::awaits::note);
    }

    /// As [`Self::note`], by a mistake only of what is of a command that has just written.
    pub(crate) fn note_new(&self, slot: Slot) {
        let tell = self.change_known(slot, |state| std::mem::take(&mut state.is_new));
        if tell == Some(true) {
            self.note(slot);
        }
    }

    /// Tells what is not confirmed of a slot.
    pub(crate) fn pending(&self, slot: Slot, tell: impl FnMut(Need)) {
        self.change_known(slot, |state| {
            if !state.pending.is_empty() {
                state.settle();
                state.pending.iter().cloned().for_each(tell);
            }
        });
    }

    /// How far a need is.
    pub fn progress(&self, need: &Need) -> Progress {
        self.look(need.slot, |slot| slot.progress(need)).unwrap_or(Progress::Lost)
    }

    /// Whether all that an answer waits for of other members is confirmed.
    pub fn is_met(&self, awaited: &Awaited) -> bool {
        awaited.needs().iter().all(|need| self.progress(need) == Progress::Met)
    }

    /// Waits until all that an answer waits for of other members is confirmed, or a slot of it was lost.
    /// The disk is not waited for.
    pub fn until_met(&self, awaited: &Awaited) -> UntilMet<'_> {
        UntilMet::new(self, awaited.needs().to_vec())
    }

    /// The links to those who hold what there is in a slot of stores of a replication factor, by index: who has confirmed
    /// what was appended to its link has all of that. None, if this member is not the slot's primary.
    pub fn holders(&self, slot: Slot, replication_factor: u8) -> SmallVec<[u16; 2]> {
        self.look(slot, |state| state.holders(replication_factor)).unwrap_or_default()
    }

    /// Counts the changes of who has what, over all links.
    pub fn changes(&self) -> u64 {
        self.changes.load(Acquire)
    }

    pub(super) fn await_change(&self, waker: &Waker) -> u64 {
        let mut waiting = self.waiting.lock();
        waiting.last += 1;
        let id = waiting.last;
        waiting.wakers.push((id, waker.clone()));
        id
    }

    pub(super) fn await_no_more(&self, id: u64) {
        let mut waiting = self.waiting.lock();
        let index = waiting.wakers.iter().position(|(known, _)| *known == id);
        let left = index.map(|index| waiting.wakers.swap_remove(index));
        drop(waiting);
        drop(left);
    }

    /// Something changed that those may wait for who wait for others: all look again.
    pub(crate) fn changed(&self) {
        self.links.load().iter().for_each(|link| link.changed());
        self.tell_of_change();
    }

    /// As [`Self::changed`], of nobody but the owner at the end of a link.
    pub(crate) fn changed_over(&self, link: &Link) {
        link.changed();
        self.tell_of_change();
    }

    fn tell_of_change(&self) {
        self.changes.fetch_add(1, AcqRel);
        if self.quiet.load(Acquire) == 0 {
            self.tell();
        }
    }

    /// Until what this gives is dropped those who wait are not told of single changes, as many come: they look
    /// at its end.
    pub fn quietly(&self) -> Quiet<'_> {
        self.quiet.fetch_add(1, AcqRel);
        Quiet(self)
    }

    fn tell(&self) {
        let waiting = std::mem::take(&mut self.waiting.lock().wakers);
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
        self.links.load().iter().for_each(|link| link.journal().wake_awaiting());
    }
}
