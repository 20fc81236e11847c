//! Who waits for which key, and who is served when one appears.
//!
//! A wait stands in the queue of each of its keys, by a *ticket* that grows, so that the one who waits
//! longest is first. Whatever changes a key that is waited for notes it as ready; when the command that
//! changed it (or the whole transaction) is done, and before its slots are unlocked, those who wait for
//! ready keys try again in the order of their tickets. So nobody can take an element between its
//! arrival and the one who waits for it. A wait ends once: what it answers, or that it is given up, is
//! decided under its own lock.
//!
//! For slots where nobody waits this costs one relaxed load a command.

use super::access::Locked;
use super::slot::State;
use super::values::ValueRef;
use super::{Keyspace, Slot};
use crate::cluster::slot_of;
use crate::replica::Awaited;
use crate::store::StoreNumber;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Poll, Waker};

/// What all waits of a member may cost in bytes.
const MAX_BYTES: u64 = 256 << 20;
/// What a wait costs beside its words: roughly, itself and its places in the queues.
const WAIT_BYTES: u64 = 320;

/// What is tried again when a key is ready.
pub trait Attempt: Send + Sync {
    /// Whether it is for a value like this that it waits.
    fn wants(&self, value: ValueRef<'_>) -> bool;
    /// Whether it waits for its first key and needs all, rather than for any one of them.
    fn needs_all_keys(&self) -> bool;
    /// Tries: appends its reply and gives true, or changes nothing and gives false.
    fn run(&self, keys: &mut Locked<'_>, reply: &mut Vec<u8>) -> bool;
    /// How many bytes it holds.
    fn bytes(&self) -> usize;
}

/// How a wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was served.
    Served {
        /// The reply.
        reply: Vec<u8>,
        /// What it waits for before it is given.
        awaits: Awaited,
    },
    /// It has to be tried anew from the start: where its keys are has changed, or they stand in slots
    /// that were not all locked.
    Again,
    /// It was given up.
    GivenUp,
}

enum Progress {
    Waits(Option<Waker>),
    /// It has this reply, and is told so once what it did is in the journal.
    Served(Option<Waker>, Vec<u8>),
    Ended(Ended),
    /// What it ended with is told.
    Told,
}

/// One command that waits for its keys.
pub struct Wait {
    ticket: u64,
    /// The store that its client has selected.
    store: StoreNumber,
    keys: SmallVec<[Box<[u8]>; 2]>,
    /// How many of the keys, from the first on, it waits for.
    awaited: usize,
    attempt: Box<dyn Attempt>,
    progress: Mutex<Progress>,
    account: Arc<Account>,
}

impl std::fmt::Debug for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wait").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

/// What the waits of a member are and cost.
#[derive(Debug, Default)]
pub struct Account {
    last_ticket: AtomicU64,
    bytes: AtomicU64,
}

impl Wait {
    /// Its place among those who wait; for [`Waiting::ticket`].
    pub fn ticket(&self) -> u64 {
        self.ticket
    }

    /// How it ended, told once; or `waker` is woken when it does.
    pub fn poll(&self, waker: &Waker) -> Poll<Ended> {
        let mut progress = self.progress.lock();
        match &mut *progress {
            Progress::Waits(waits) | Progress::Served(waits, _) => {
                *waits = Some(waker.clone());
                Poll::Pending
            }
            Progress::Ended(ended) => {
                let ended = std::mem::replace(ended, Ended::GivenUp);
                *progress = Progress::Told;
                Poll::Ready(ended)
            }
            Progress::Told => Poll::Ready(Ended::GivenUp),
        }
    }

    /// Gives it up, unless it has ended before: [`Self::poll`] tells which.
    pub fn give_up(&self) {
        self.end(Ended::GivenUp);
    }

    /// What it was served with is in the journal: it ends, and this is to be woken.
    pub(super) fn served(&self, awaits: Awaited) -> Option<Waker> {
        let mut progress = self.progress.lock();
        let Progress::Served(waker, reply) = &mut *progress else { return None };
        let (waker, reply) = (waker.take(), std::mem::take(reply));
        *progress = Progress::Ended(Ended::Served { reply, awaits });
        waker
    }

    fn awaited(&self) -> &[Box<[u8]>] {
        self.keys.get(..self.awaited).unwrap_or(&self.keys)
    }

    fn end(&self, ended: Ended) {
        let mut progress = self.progress.lock();
        if let Progress::Waits(waker) = &mut *progress {
            let waker = waker.take();
            *progress = Progress::Ended(ended);
            drop(progress);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn bytes(&self) -> u64 {
        let keys: usize = self.keys.iter().map(|key| key.len()).sum();
        (self.attempt.bytes() + 2 * keys) as u64 + WAIT_BYTES
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.account.bytes.fetch_sub(self.bytes(), Relaxed);
    }
}

/// What is to wait.
pub struct Waiting<'a> {
    /// Its keys.
    pub keys: &'a [&'a [u8]],
    /// What is tried.
    pub attempt: Box<dyn Attempt>,
    /// The place that it had in an earlier wait.
    pub ticket: Option<u64>,
}

/// Those who wait for one key.
#[derive(Default)]
struct Queue {
    waits: BTreeMap<u64, Arc<Wait>>,
    /// Whether the key is among those to look at.
    ready: bool,
}

/// Those who wait for keys of one store in one slot.
#[derive(Default)]
pub struct Waits {
    keys: BTreeMap<Box<[u8]>, Queue>,
    /// Keys that changed, in that order.
    ready: Vec<Box<[u8]>>,
}

impl Waits {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Notes that a key changed.
    pub fn changed(&mut self, key: &[u8]) {
        if let Some(queue) = self.keys.get_mut(key)
            && !std::mem::replace(&mut queue.ready, true)
        {
            self.ready.push(key.into());
        }
    }

    fn add(&mut self, key: &[u8], wait: &Arc<Wait>) {
        self.keys.entry(key.into()).or_default().waits.insert(wait.ticket, Arc::clone(wait));
    }

    fn remove(&mut self, key: &[u8], wait: &Wait) {
        if let Some(queue) = self.keys.get_mut(key) {
            // It may wait anew in the same place by now.
            let same = queue.waits.get(&wait.ticket).is_some_and(|w| std::ptr::eq(&**w, wait));
            if same {
                queue.waits.remove(&wait.ticket);
            }
            if queue.waits.is_empty() {
                self.keys.remove(key);
            }
        }
    }

    /// The first who waits for a key and came after `ticket`.
    fn next(&self, key: &[u8], ticket: u64) -> Option<Arc<Wait>> {
        let after = (std::ops::Bound::Excluded(ticket), std::ops::Bound::Unbounded);
        self.keys.get(key)?.waits.range(after).next().map(|(_, wait)| Arc::clone(wait))
    }

    fn take_ready(&mut self) -> Vec<Box<[u8]>> {
        for key in &self.ready {
            if let Some(queue) = self.keys.get_mut(key) {
                queue.ready = false;
            }
        }
        std::mem::take(&mut self.ready)
    }

    /// Ends all of them: they have to be tried anew.
    fn end_all(&mut self) {
        self.ready.clear();
        for queue in std::mem::take(&mut self.keys).into_values() {
            queue.waits.values().for_each(|wait| wait.end(Ended::Again));
        }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.end_all();
    }
}

/// Those to wake once the locks are given back.
#[derive(Default)]
pub struct Wakes(SmallVec<[Waker; 2]>);

impl Wakes {
    /// Adds one.
    pub fn add(&mut self, waker: Option<Waker>) {
        self.0.extend(waker);
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

impl State {
    /// Whether anybody waits for a key here.
    fn is_waited_for(&self) -> bool {
        let waits = |table: &super::slot::StoreTable| {
            table.watches.as_ref().is_some_and(|watches| !watches.waits.is_empty())
        };
        self.tables.iter().any(|table| waits(table))
    }

    fn blocking_keys(&self) -> usize {
        let watches = self.tables.iter().filter_map(|table| table.watches.as_ref());
        watches.map(|watches| watches.waits.keys.len()).sum()
    }

    /// Ends all waits of the slot, whose member they have to ask for anew.
    pub fn end_waits(&mut self) {
        for table in &mut self.tables {
            if let Some(watches) = &mut table.watches {
                watches.waits.end_all();
                if watches.is_empty() {
                    table.watches = None;
                }
            }
        }
    }

    fn forget_wait(&mut self, key: &[u8], wait: &Wait) {
        for table in &mut self.tables {
            if let Some(watches) = &mut table.watches {
                watches.waits.remove(key, wait);
                if watches.is_empty() {
                    table.watches = None;
                }
            }
        }
        self.tidy_all();
    }
}

impl Locked<'_> {
    /// Waits for keys whose slots are locked. `None`: too many wait.
    pub fn wait(&mut self, waiting: Waiting<'_>) -> Option<Arc<Wait>> {
        let account = &self.space.waits;
        let ticket =
            waiting.ticket.unwrap_or_else(|| account.last_ticket.fetch_add(1, Relaxed) + 1);
        let wait = Arc::new(Wait {
            ticket,
            store: self.number,
            keys: waiting.keys.iter().map(|key| Box::from(*key)).collect(),
            awaited: if waiting.attempt.needs_all_keys() { 1 } else { waiting.keys.len() },
            attempt: waiting.attempt,
            progress: Mutex::new(Progress::Waits(None)),
            account: Arc::clone(account),
        });
        let before = account.bytes.fetch_add(wait.bytes(), Relaxed);
        if before + wait.bytes() > MAX_BYTES {
            return None;
        }
        for key in wait.awaited() {
            let slot = slot_of(key);
            let Ok(index) = self.guards.binary_search_by_key(&slot, |(slot, _)| *slot) else {
                continue;
            };
            let (Some(store), Some((_, state))) =
                (self.registry.route(self.number, key), self.guards.get_mut(index))
            else {
                continue;
            };
            state
                .get_or_make(store.number, slot, &store.counters)
                .watches_or_new()
                .waits
                .add(key, &wait);
            self.space.set_waited(slot, true);
        }
        Some(wait)
    }

    /// Lets those try again who wait for keys that changed under these locks, the ones that they
    /// serve in turn included.
    #[inline]
    pub(super) fn serve_waits(&mut self) {
        if self.guards.iter().any(|(slot, _)| self.space.is_waited(*slot)) {
            self.serve_ready();
        }
    }

    #[cold]
    pub(super) fn serve_ready(&mut self) {
        loop {
            let mut ready: SmallVec<[(StoreNumber, Box<[u8]>); 2]> = SmallVec::new();
            for (_, state) in &mut self.guards {
                for table in &mut state.tables {
                    if let Some(watches) = &mut table.watches {
                        let keys = watches.waits.take_ready().into_iter();
                        ready.extend(keys.map(|key| (table.number, key)));
                    }
                }
            }
            if ready.is_empty() {
                return;
            }
            for (number, key) in ready {
                self.serve_key(number, &key);
            }
        }
    }

    /// Lets those try again who wait for a key, in their order, while it is what they want.
    fn serve_key(&mut self, number: StoreNumber, key: &[u8]) {
        let slot = slot_of(key);
        let Ok(index) = self.guards.binary_search_by_key(&slot, |(slot, _)| *slot) else { return };
        let mut last = 0;
        loop {
            let table = self.guards.get(index).and_then(|(_, state)| state.get(number));
            let Some(table) = table else { return };
            let Some(value) = table.value(self.space.hasher.hash(key), key, self.now_ms) else {
                return;
            };
            let wait = table.watches.as_ref().and_then(|watches| watches.waits.next(key, last));
            let Some(wait) = wait else { return };
            last = wait.ticket;
            if wait.attempt.wants(value) {
                self.serve(&wait);
            }
        }
    }

    fn serve(&mut self, wait: &Arc<Wait>) {
        let mut progress = wait.progress.lock();
        if let Progress::Waits(waker) = &mut *progress {
            if self.has_keys_of(wait) {
                let mut reply = Vec::new();
                let selected = std::mem::replace(&mut self.number, wait.store);
                let answered = wait.attempt.run(self, &mut reply);
                self.number = selected;
                if !answered {
                    return;
                }
                *progress = Progress::Served(waker.take(), reply);
                self.gathered.served.push(Arc::clone(wait));
            } else {
                // It locks them itself, and keeps its place.
                self.wakes.add(waker.take());
                *progress = Progress::Ended(Ended::Again);
            }
        }
        drop(progress);
        for key in wait.awaited() {
            let slot = slot_of(key);
            if let Ok(index) = self.guards.binary_search_by_key(&slot, |(slot, _)| *slot)
                && let Some((_, state)) = self.guards.get_mut(index)
            {
                state.forget_wait(key, wait);
                self.space.set_waited(slot, state.is_waited_for());
            }
        }
    }

    /// Whether what a wait needs is locked.
    fn has_keys_of(&self, wait: &Wait) -> bool {
        let is_locked = |key: &[u8]| {
            let slot = slot_of(key);
            self.guards.binary_search_by_key(&slot, |(slot, _)| *slot).is_ok()
        };
        !wait.attempt.needs_all_keys() || wait.keys.iter().all(|key| is_locked(key))
    }
}

impl Keyspace {
    #[inline]
    pub(super) fn is_waited(&self, slot: Slot) -> bool {
        self.cell(slot).is_some_and(|cell| cell.waited.load(Relaxed))
    }

    /// Under the slot's lock.
    fn set_waited(&self, slot: Slot, waited: bool) {
        if let Some(cell) = self.cell(slot) {
            cell.waited.store(waited, Relaxed);
        }
    }

    /// Gives a wait up, if it has not ended, and forgets it. To be called at the end of every wait.
    pub fn forget_wait(&self, wait: &Wait) {
        wait.give_up();
        for key in wait.awaited() {
            let slot = slot_of(key);
            let Some(cell) = self.cell(slot) else { continue };
            if cell.waited.load(Relaxed) {
                let mut state = cell.state.lock();
                state.forget_wait(key, wait);
                cell.waited.store(state.is_waited_for(), Relaxed);
            }
        }
    }

    /// Ends all waits of a slot, or of all slots: they have to be tried anew.
    pub(super) fn end_all_waits(&self) {
        for cell in self.cells.iter().filter(|cell| cell.waited.load(Relaxed)) {
            let mut state = cell.state.lock();
            state.end_waits();
            cell.waited.store(false, Relaxed);
        }
    }

    /// How many keys somebody waits for, of this member's slots.
    pub fn blocking_keys(&self) -> usize {
        let waited = self.cells.iter().filter(|cell| cell.waited.load(Relaxed));
        waited.map(|cell| cell.state.lock().blocking_keys()).sum()
    }

    /// What all waits of this member cost, in bytes.
    pub fn waits_bytes(&self) -> u64 {
        self.waits.bytes.load(Relaxed)
    }
}

#[cfg(test)]
#[path = "wait_tests.rs"]
mod tests;
