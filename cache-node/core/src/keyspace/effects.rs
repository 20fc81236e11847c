//! What changes leave in the log: the effect of each, as Redis commands with absolute times.
//!
//! A command over one key appends to the journal under its slot's lock. Commands under several locks
//! gather what they did in one batch, which is appended once, before the first lock is given back: a
//! frame has all of it or nothing.
//!
//! What is not logged: lifetimes that reads prolong (sessions), a store that is dropped (its number is
//! not given again, and the configuration that drops it is kept elsewhere), and what is loaded or
//! replayed.

use super::access::{Access, Locked};
use super::stores::Store;
use super::values::ValueRef;
use super::values::commands::{self, Whole};
use super::wait::Wait;
use super::{Keyspace, Refusal};
use crate::cluster::Slot;
use crate::log::record::put_command;
use crate::log::{Batch, Ticket};
use crate::replica::Awaited;
use crate::store::{EvictionPolicy, StoreNumber};
use smallvec::SmallVec;
use std::sync::Arc;

/// A string that changed in place is logged whole up to this length: then a record that was lost
/// before it makes no difference.
const WHOLE_BYTES: usize = 1 << 10;

/// Where the effects of an access go.
pub(super) enum Sink<'a> {
    /// To the journal, one by one.
    Journal,
    /// To what is appended before the locks are given back.
    Gathered(&'a mut Gathered),
    /// Nowhere: they come from the log. No lifetime is over, and nobody hears of anything.
    Replay,
}

/// What commands under several locks did, and whom they served.
#[derive(Default)]
pub(super) struct Gathered {
    batch: Batch,
    /// Something of it has to be on the disk before it is answered.
    awaits: bool,
    /// Those who may have their replies once it is appended.
    pub served: SmallVec<[Arc<Wait>; 2]>,
}

/// What a command asks for before it may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Memory: the stores of its keys are brought within their budgets.
    pub room: bool,
    /// That what it writes can be made durable, where its store promises that.
    pub log: bool,
}

impl From<bool> for Needs {
    /// Of a write that needs memory, or of a command that needs nothing.
    fn from(room: bool) -> Self {
        Self { room, log: room }
    }
}

impl Keyspace {
    /// Whether a write to a store is refused because it cannot be made durable.
    #[inline]
    pub(super) fn is_undurable(&self, store: &Store) -> bool {
        self.journal.is_failed() && store.is_logged
    }

    /// Whether a write to a store is refused because what it promises to keep cannot be kept now.
    pub fn refuses_writes(&self, number: StoreNumber) -> bool {
        self.journal.is_failed()
            && self.registry.load().get(number).is_some_and(|store| store.is_logged)
    }

    /// The number of the store that a key belongs to, where `number` is selected.
    pub fn store_of(&self, number: StoreNumber, key: &[u8]) -> Option<StoreNumber> {
        self.registry.load().route(number, key).map(|store| store.number)
    }

    /// What writers of stores that are logged are told while the log cannot be written, in Redis's
    /// words.
    pub fn misconf(&self) -> String {
        match self.journal.failure() {
            Some(why) => format!("MISCONF Errors writing to the AOF file: {why}"),
            None => "MISCONF Errors writing to the AOF file: it was not writable".into(),
        }
    }

    /// A key leaves under its slot's lock without a command that takes it out: its lifetime is over,
    /// or it makes room. The policies are asked for under the lock, so that whoever takes the slot for
    /// a snapshot after they changed misses nothing.
    #[inline]
    pub(super) fn log_gone(&self, store: StoreNumber, slot: Slot, key: &[u8], now_ms: u64) {
        if self.journal.is_on() || self.is_fed(slot) {
            self.log_record(store, slot, now_ms, |out| put_command(out, &[b"DEL", key]));
        }
    }

    /// All keys of a store in a slot leave, under its lock; the ticket, if its answer waits for it.
    pub(super) fn log_flush(&self, store: StoreNumber, slot: Slot, now_ms: u64) -> Option<Ticket> {
        if !self.journal.is_on() && !self.is_fed(slot) {
            return None;
        }
        self.log_record(store, slot, now_ms, |out| put_command(out, &[b"FLUSHDB"]))
    }

    fn log_record(
        &self,
        store: StoreNumber,
        slot: Slot,
        now_ms: u64,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Option<Ticket> {
        let registry = self.registry.load();
        let store = registry.get(store)?;
        let ticket = self.record(store, slot, now_ms, write)?;
        store.awaits_disk.then_some(ticket)
    }
}

impl<'a> Access<'a> {
    /// Whether what happens to the key leaves records: in the log, or for other members.
    #[inline]
    pub(crate) fn is_recorded(&self) -> bool {
        let is_logged = self.store.is_logged && self.space.journal.is_on();
        (is_logged || self.space.feeds(self.store, self.slot)) && !self.is_replayed()
    }

    /// Whether what happens to the key comes from the log.
    #[inline]
    pub(super) fn is_replayed(&self) -> bool {
        matches!(self.sink, Sink::Replay)
    }

    /// The key's name.
    pub(crate) fn name(&self) -> &'a [u8] {
        self.key
    }

    /// Says which command runs, over this key alone.
    pub(crate) fn set_sent(&mut self, sent: &'a [&'a [u8]]) {
        self.sent = sent;
    }

    /// Says what the next change in place is to be logged as, where the command that was sent does not
    /// say it: it is over several keys, or chance has a part in it. Said twice, it is two commands.
    pub(crate) fn log_as(&mut self, words: &[&[u8]]) {
        if self.is_recorded() {
            put_command(self.said.get_or_insert_default(), words);
        }
    }

    /// Says that what the next change in place does is logged after it, by [`Self::log_also`].
    pub(crate) fn log_later(&mut self) {
        if self.is_recorded() {
            self.said = Some(Vec::new());
        }
    }

    /// Nothing of what was said is logged: something else says it.
    pub(super) fn forget_said(&mut self) {
        self.said = None;
    }

    /// Logs the key as it is, because a command that failed may have changed it.
    pub(crate) fn log_again(&mut self) {
        if self.is_recorded() {
            self.log_whole();
        }
    }

    /// Logs a command about the key as it is.
    pub(crate) fn log_also(&mut self, words: &[&[u8]]) {
        if self.is_recorded() {
            self.log(true, |out| put_command(out, words));
        }
    }

    /// Logs what `write` appends; `awaited`: the command did it, and its answer may have to wait for
    /// the disk.
    #[inline]
    fn log(&mut self, awaited: bool, write: impl FnOnce(&mut Vec<u8>)) {
        let (store, slot) = (self.store, self.slot);
        match &mut self.sink {
            Sink::Journal => {
                let ticket = self.space.record(store, slot, self.now_ms, write);
                if awaited
                    && store.awaits_disk
                    && let Some(ticket) = ticket
                {
                    self.space.note_forced(slot, ticket);
                }
            }
            Sink::Gathered(gathered) => gathered.add(store, slot, awaited, write),
            Sink::Replay => {}
        }
    }

    /// The key gets a value that is a string, or a collection. To be called before it does.
    #[inline]
    pub(super) fn log_put(&mut self, value: ValueRef<'_>, expires_at_ms: u64, replaces: bool) {
        let key = self.key;
        let whole = Whole { key, value, expires_at_ms, in_session: false, replaces };
        self.log(true, |out| commands::put(out, &whole));
    }

    /// The key is gone.
    pub(super) fn log_del(&mut self, awaited: bool) {
        let key = self.key;
        self.log(awaited, |out| put_command(out, &[b"DEL", key]));
    }

    /// The key ends at another time; 0 for never.
    pub(super) fn log_expiry(&mut self, expires_at_ms: u64) {
        let key = self.key;
        self.log(true, |out| commands::put_expiry(out, key, expires_at_ms));
    }

    /// The key's value was changed in place.
    pub(super) fn log_change(&mut self) {
        if let Some(said) = self.said.take() {
            if !said.is_empty() {
                self.log(true, |out| out.extend_from_slice(&said));
            }
            return;
        }
        let table = self.state.get(self.store.number);
        let place = table.and_then(|table| table.table.find(self.hash, self.key));
        let value = table.zip(place).and_then(|(table, place)| table.table.get(place));
        let is_short =
            value.and_then(|entry| entry.value.string_len()).is_some_and(|len| len <= WHOLE_BYTES);
        if is_short || self.sent.is_empty() {
            return self.log_whole();
        }
        let sent = self.sent;
        self.log(true, |out| put_command(out, sent));
    }

    /// Logs the key as it is now, whatever it was before.
    pub(super) fn log_whole(&mut self) {
        let (store, slot, key) = (self.store, self.slot, self.key);
        let table = self.state.get(store.number);
        let place = table.and_then(|table| table.table.find(self.hash, key));
        let Some(entry) = table.zip(place).and_then(|(table, place)| table.table.get(place)) else {
            return self.log_del(true);
        };
        let in_session = store.eviction == EvictionPolicy::Session && entry.usage.in_session();
        let (value, expires_at_ms) = (entry.value, entry.expires_at_ms);
        let whole = Whole { key, value, expires_at_ms, in_session, replaces: true };
        let write = |out: &mut Vec<u8>| commands::put(out, &whole);
        // As in `log`, but what is written is borrowed from the slot.
        match &mut self.sink {
            Sink::Journal => {
                let ticket = self.space.record(store, slot, self.now_ms, write);
                if store.awaits_disk
                    && let Some(ticket) = ticket
                {
                    self.space.note_forced(slot, ticket);
                }
            }
            Sink::Gathered(gathered) => gathered.add(store, slot, true, write),
            Sink::Replay => {}
        }
    }
}

impl Gathered {
    fn add(&mut self, store: &Store, slot: Slot, awaited: bool, write: impl FnOnce(&mut Vec<u8>)) {
        self.batch.add(store.number, slot, write);
        self.awaits |= awaited && store.awaits_disk;
    }
}

impl Locked<'_> {
    /// Appends what was gathered to the journal, while the locks are held. Whoever was served may have
    /// his reply then.
    #[inline]
    pub(super) fn append_gathered(&mut self) {
        if !self.gathered.batch.is_empty() || !self.gathered.served.is_empty() {
            self.append_batch();
        }
    }

    #[inline(never)]
    fn append_batch(&mut self) {
        let gathered = &mut self.gathered;
        let ticket = self.space.record_batch(self.registry, &gathered.batch, self.now_ms);
        let ticket = ticket.filter(|_| std::mem::take(&mut gathered.awaits));
        if let Some(ticket) = ticket {
            let slots = gathered.batch.records().map(|(_, slot, _)| slot);
            slots.for_each(|slot| self.space.note_forced(slot, ticket));
        }
        let mut awaited = Awaited::of_disk(ticket);
        if self.registry.awaits_others && !gathered.served.is_empty() {
            for (_, slot, _) in gathered.batch.records() {
                self.space.feed.pending(slot, |need| awaited.add(need));
            }
        }
        gathered.batch.clear();
        for wait in gathered.served.drain(..) {
            self.wakes.add(wait.served(awaited.clone()));
        }
    }

    /// Whether a command that writes is refused because one of its keys' stores cannot be made durable
    /// now.
    pub fn refuses_writes<'k, K: IntoIterator<Item = &'k [u8]>>(
        &self,
        number: StoreNumber,
        keys: impl FnOnce() -> K,
    ) -> bool {
        self.space.journal.is_failed()
            && keys()
                .into_iter()
                .any(|key| self.registry.route(number, key).is_some_and(|store| store.is_logged))
    }

    /// As [`Keyspace::misconf`].
    pub fn misconf(&self) -> String {
        self.space.misconf()
    }
}

impl Needs {
    /// Why a command that needs this may not begin in a store.
    #[inline]
    pub(super) fn refusal(
        self,
        space: &Keyspace,
        registry: &super::Registry,
        store: &Store,
        now_ms: u64,
    ) -> Option<Refusal> {
        if self.log && space.is_undurable(store) {
            return Some(Refusal::NotDurable);
        }
        (self.room && !space.has_room(registry, store, now_ms)).then_some(Refusal::OutOfMemory)
    }
}

#[cfg(test)]
#[path = "effects_tests.rs"]
mod tests;
