//! What a command does with a key whose slot is locked.

use super::Keyspace;
use super::effects::{Gathered, Sink};
use super::entry::{Entry, Taken};
use super::eviction::session::Fate;
use super::eviction::usage::Usage;
use super::hash::KeyHasher;
use super::notice::Event;
use super::part::New;
use super::prefetch::Hashed;
use super::slot::State;
use super::stores::{Registry, Store};
use super::table::Place;
use super::values::{Value, ValueRef};
use super::wait::Wakes;
use crate::cluster::{Slot, slot_of};
use crate::resp::parse_i64;
use crate::store::{EvictionPolicy, StoreNumber};
use parking_lot::MutexGuard;
use smallvec::SmallVec;
use std::sync::atomic::Ordering::Relaxed;

/// The lifetime that a key gets with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// The store's default.
    Default,
    /// What the key had; a new key gets the store's default.
    Keep,
    /// Exactly this: it ends at a time in Unix milliseconds, or never (0).
    At(u64),
}

/// One key in its locked slot. A key whose lifetime is over is not there for any method.
pub struct Access<'a> {
    pub(super) space: &'a Keyspace,
    pub(super) state: &'a mut State,
    pub(super) store: &'a Store,
    pub(super) slot: Slot,
    pub(super) key: &'a [u8],
    pub(super) hash: u64,
    pub(super) now_ms: u64,
    /// Large values that went, whose many blocks are given back after the locks.
    pub(super) buried: &'a mut Vec<Value>,
    /// Where its effects are logged.
    pub(super) sink: Sink<'a>,
    /// The command that is run, if this key is its only one; otherwise nothing.
    pub(super) sent: &'a [&'a [u8]],
    /// What the next change in place is logged as.
    pub(super) said: Option<Vec<u8>>,
}

impl<'a> Access<'a> {
    /// The keyspace's hash function.
    #[inline]
    pub fn hasher(&self) -> &'a KeyHasher {
        &self.space.hasher
    }

    /// The next of the keyspace's random numbers.
    #[inline]
    pub fn random(&self) -> u64 {
        self.space.random()
    }

    /// The source of the keyspace's random numbers.
    #[inline]
    pub fn dice(&self) -> impl Fn() -> u64 + use<'a> {
        let space = self.space;
        move || space.random()
    }

    /// Says what a command did to the key.
    #[inline]
    pub fn happened(&self, event: Event) {
        if self.is_replayed() {
            return;
        }
        self.space.notices.note(event, self.store.number, self.key);
    }

    /// Lets a value go, after the lock if it is large.
    #[inline]
    fn bury(&mut self, value: Option<Value>) {
        if let Some(value) = value
            && value.is_large()
        {
            self.buried.push(value);
        }
    }

    /// The time of the command in Unix milliseconds.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Where the live entry is; one whose lifetime is over is removed, unless expiry is paused.
    #[inline]
    fn place(&mut self) -> Option<Place> {
        self.place_for(false)
    }

    /// As [`Self::place`]. Who comes to write must not find the place taken.
    #[inline]
    fn place_for(&mut self, write: bool) -> Option<Place> {
        let table = self.state.get(self.store.number)?;
        let place = table.table.find(self.hash, self.key)?;
        let entry = table.table.get(place)?;
        if table.is_over(&self.space.hasher, &entry, self.now_ms) {
            if self.is_replayed() {
                // What expired left as `DEL`.
                return Some(place);
            }
            let may_go = write || !self.space.is_expiry_paused(self.now_ms);
            if may_go && self.space.may_remove(self.slot) {
                self.expire(place);
            }
            return None;
        }
        if entry.usage.in_session() {
            return self.follow_session(place);
        }
        Some(place)
    }

    /// A key's lifetime becomes what its session's is by now; one whose session was forgotten with
    /// an earlier policy goes by its own. Where it is then.
    #[cold]
    fn follow_session(&mut self, place: Place) -> Option<Place> {
        let (hasher, now_ms) = (&self.space.hasher, self.now_ms);
        let table = self.state.get_mut(self.store.number)?;
        let entry = table.table.get(place)?;
        match table.fate(hasher, &entry, now_ms) {
            Fate::Until(at) if at != entry.expires_at_ms => table.set_expiry(hasher, place, at),
            Fate::Own => {
                table.forget_session(place);
                Some(place)
            }
            Fate::Until(_) | Fate::Over => Some(place),
        }
    }

    /// A key was used: in a store with sessions, its session lives on. Where it is then.
    #[inline]
    fn extend_session(&mut self, place: Place) -> Option<Place> {
        if self.store.eviction == EvictionPolicy::Session {
            return self.extend(place);
        }
        Some(place)
    }

    #[cold]
    fn extend(&mut self, place: Place) -> Option<Place> {
        let sessions = &self.store.counters.sessions;
        let table = self.state.get_mut(self.store.number)?;
        if !table.table.get(place)?.usage.in_session() {
            return Some(place);
        }
        let idle_ms = self.store.default_ttl_ms;
        let ends_at_ms = idle_ms.map_or(0, |idle_ms| self.now_ms.saturating_add(idle_ms));
        let turn = self.store.counters.pace.turn();
        sessions.touch(&self.space.hasher, self.key, turn, ends_at_ms);
        let place = table.set_expiry(&self.space.hasher, place, ends_at_ms);
        self.note_expiry(ends_at_ms);
        place
    }

    /// A key was written with a lifetime: in a store with sessions it is bound to its session,
    /// or, with a lifetime of its own, is not.
    #[cold]
    fn settle_session(&mut self, lifetime: Lifetime, was_there: bool) {
        let Some(table) = self.state.get_mut(self.store.number) else { return };
        let Some(place) = table.table.find(self.hash, self.key) else { return };
        match lifetime {
            Lifetime::Keep if was_there => {}
            Lifetime::Default | Lifetime::Keep => {
                table.bind_session(&self.space.hasher, place, true, self.now_ms);
            }
            Lifetime::At(_) => {
                table.bind_session(&self.space.hasher, place, false, self.now_ms);
                return;
            }
        }
        self.extend(place);
    }

    #[cold]
    fn expire(&mut self, place: Place) {
        self.store.counters.expired.fetch_add(1, Relaxed);
        let value = self.take_out(place, false);
        self.happened(Event::EXPIRED);
        self.bury(value.flatten());
    }

    /// `by_command`: it is what the command does, whose answer may have to wait for the disk. A read
    /// that meets a key whose lifetime is over does not.
    #[inline]
    fn take_out(&mut self, place: Place, by_command: bool) -> Option<Option<Value>> {
        let table = self.state.get_mut(self.store.number)?;
        let value = table.remove(&self.space.hasher, place);
        self.state.tidy(self.store.number);
        if self.is_recorded() && value.is_some() {
            self.log_del(by_command);
        }
        value
    }

    /// The value for a command that reads it: counts as a hit or miss and as a use.
    #[inline]
    pub fn read(&mut self) -> Option<ValueRef<'_>> {
        let place = self.place();
        let stripe = self.store.counters.stripe(self.slot);
        let Some(place) = place else {
            stripe.misses.fetch_add(1, Relaxed);
            self.happened(Event::KEY_MISS);
            return None;
        };
        let hits = stripe.hits.fetch_add(1, Relaxed);
        self.used(place, hits)
    }

    /// The value for a command that may write it: counts as a use.
    #[inline]
    pub fn value(&mut self) -> Option<ValueRef<'_>> {
        let place = self.place()?;
        self.used(place, self.now_ms)
    }

    #[inline]
    fn used(&mut self, place: Place, chance: u64) -> Option<ValueRef<'_>> {
        let place = self.extend_session(place)?;
        let table = self.state.get_mut(self.store.number)?;
        table.touch(place, self.now_ms, chance);
        Some(table.table.get(place)?.value)
    }

    /// The entry for a command that looks at it from outside: no use, but a hit or miss.
    pub fn look(&mut self) -> Option<Entry<'_>> {
        if !self.exists() {
            self.happened(Event::KEY_MISS);
        }
        self.look_silently()
    }

    /// As [`Self::look`], and nobody hears of a miss.
    pub fn look_silently(&mut self) -> Option<Entry<'_>> {
        let place = self.place();
        let stripe = self.store.counters.stripe(self.slot);
        let count = if place.is_some() { &stripe.hits } else { &stripe.misses };
        count.fetch_add(1, Relaxed);
        self.state.get(self.store.number)?.table.get(place?)
    }

    /// The entry, with nothing counted.
    pub fn peek(&mut self) -> Option<Entry<'_>> {
        let place = self.place()?;
        self.state.get(self.store.number)?.table.get(place)
    }

    /// How long ago the key was used, in milliseconds, with nothing counted.
    pub fn idle_ms(&mut self) -> Option<u64> {
        let (pace, now_ms) = (&self.store.counters.pace, self.now_ms);
        self.peek().map(|entry| pace.idle_ms(entry.usage.touched(), now_ms))
    }

    /// Who leaves the key's store when it is full.
    pub fn eviction(&self) -> EvictionPolicy {
        self.store.eviction
    }

    /// What the key's entry knows of its use, with nothing counted.
    pub(crate) fn usage(&mut self) -> Option<Usage> {
        self.peek().map(|entry| entry.usage)
    }

    /// Takes back what was counted as use since `usage`.
    pub(crate) fn set_usage(&mut self, usage: Usage) {
        let Some(place) = self.place() else { return };
        if let Some(table) = self.state.get_mut(self.store.number) {
            table.take_back(place, usage);
        }
    }

    /// How often the key was used of late, as its store counts it, up to
    /// [`super::MAX_FREQUENCY`]; counts as [`Self::look`].
    pub fn frequency(&mut self) -> Option<u8> {
        let store = self.store;
        self.look_silently().map(|entry| entry.usage.frequency(&store.counters.pace))
    }

    /// Whether the key is there, with nothing counted.
    #[inline]
    pub fn exists(&mut self) -> bool {
        self.place().is_some()
    }

    /// When the key ends in Unix milliseconds, 0 for never; `None` if it is not there.
    pub fn expires_at_ms(&mut self) -> Option<u64> {
        self.peek().map(|entry| entry.expires_at_ms)
    }

    /// Gives the key a value, whatever it had.
    #[inline]
    pub fn set(&mut self, value: Value, lifetime: Lifetime) {
        self.put(New::Value(value), lifetime);
    }

    /// Gives the key a string, as [`Value::string`] makes it, whatever it had.
    #[inline]
    pub fn set_string(&mut self, bytes: &[u8], lifetime: Lifetime) {
        let int = if bytes.len() <= 20 { parse_i64(bytes) } else { None };
        self.put(int.map_or(New::Str(bytes), |int| New::Value(Value::Int(int))), lifetime);
    }

    #[inline]
    fn put(&mut self, value: New<'_>, lifetime: Lifetime) {
        let place = self.place_for(true);
        let now_ms = self.now_ms;
        let lifetime = match lifetime {
            // The log says of each lifetime when it ends.
            Lifetime::Default if self.is_replayed() => Lifetime::At(0),
            Lifetime::Keep if place.is_none() && self.is_replayed() => Lifetime::At(0),
            lifetime => lifetime,
        };
        let new_default = || {
            let ttl = self.store.default_ttl_ms.filter(|_| lifetime != Lifetime::At(0));
            ttl.map_or(0, |ttl| now_ms.saturating_add(ttl))
        };
        let expires_at_ms = match (lifetime, place) {
            (Lifetime::At(at), _) => Some(at),
            (Lifetime::Keep, Some(_)) => None,
            (Lifetime::Default, _) | (Lifetime::Keep, None) => Some(new_default()),
        };
        let (store, hasher) = (self.store, &self.space.hasher);
        let is_recorded = self.is_recorded();
        if is_recorded && store.eviction != EvictionPolicy::Session {
            let keeps = || self.state.get(store.number)?.table.get(place?);
            let at = expires_at_ms.or_else(|| keeps().map(|entry| entry.expires_at_ms));
            let value = match &value {
                New::Str(bytes) => ValueRef::Str(bytes),
                New::Value(value) => ValueRef::from(value),
            };
            self.log_put(value, at.unwrap_or(0), place.is_some());
        }
        match place {
            Some(place) => {
                let Some(table) = self.state.get_mut(store.number) else { return };
                let old = table.replace(hasher, place, value, expires_at_ms, now_ms);
                self.bury(old);
            }
            None => {
                let at = expires_at_ms.unwrap_or(0);
                let table = self.state.get_or_make(store.number, self.slot, &store.counters);
                table.insert(hasher, self.hash, self.key, value, at, now_ms);
                self.happened(Event::NEW);
            }
        }
        if let Some(at) = expires_at_ms {
            self.note_expiry(at);
        }
        if store.eviction == EvictionPolicy::Session {
            self.settle_session(lifetime, place.is_some());
            if is_recorded {
                self.log_whole();
            }
        }
    }

    /// Changes the value in place, lifetime and all else as they were; counts as a use. `None`
    /// if the key is not there.
    #[inline]
    pub fn update<R>(&mut self, change: impl FnOnce(&mut Value) -> R) -> Option<R> {
        self.update_if(|value| (change(value), true))
    }

    /// As [`Self::update`], where `change` says whether there was anything to change: what was not
    /// is none for those who watch the key.
    #[inline]
    pub fn update_if<R>(&mut self, change: impl FnOnce(&mut Value) -> (R, bool)) -> Option<R> {
        let place = self.place()?;
        let place = self.extend_session(place)?;
        let table = self.state.get_mut(self.store.number)?;
        let (mut said, mut is_over) = (false, false);
        let change = |value: &mut Value| {
            let (result, changed) = change(value);
            said = changed;
            is_over = value.is_empty_collection();
            (result, changed)
        };
        let done = table.update_if(&self.space.hasher, place, self.now_ms, change);
        let (result, changed) = done?;
        if changed && self.is_recorded() {
            // What says that it changed nothing may not do it again when it is told to. A collection that
            // was emptied is taken out next, and that says it all.
            if is_over {
                self.forget_said();
            } else if said {
                self.log_change()
            } else {
                self.log_whole()
            }
        }
        Some(result)
    }

    /// Sets when the key ends, 0 for never, and counts as no use; false if it is not there.
    pub fn set_expiry(&mut self, expires_at_ms: u64) -> bool {
        let Some(place) = self.place() else { return false };
        if let Some(table) = self.state.get_mut(self.store.number) {
            table.bind_session(&self.space.hasher, place, false, self.now_ms);
            table.set_expiry(&self.space.hasher, place, expires_at_ms);
        }
        self.note_expiry(expires_at_ms);
        if self.is_recorded() {
            self.log_expiry(expires_at_ms);
        }
        true
    }

    /// Takes the key out, with its value.
    #[inline]
    pub fn remove(&mut self) -> Option<Taken> {
        let place = self.place()?;
        let taken = self.state.get_mut(self.store.number)?.take(&self.space.hasher, place);
        self.state.tidy(self.store.number);
        if self.is_recorded() && taken.is_some() {
            self.log_del(true);
        }
        taken
    }

    /// Takes the key out and lets its value go; false if it is not there.
    pub fn discard(&mut self) -> bool {
        let Some(place) = self.place() else { return false };
        let value = self.take_out(place, true);
        let found = value.is_some();
        self.bury(value.flatten());
        found
    }

    /// Takes the key out, as a command that deletes it does: its value goes, and everybody who wants to
    /// hears of it. False if it is not there.
    pub fn delete(&mut self) -> bool {
        let was_there = self.discard();
        if was_there {
            self.happened(Event::DEL);
        }
        was_there
    }

    /// Ends the key's lifetime now, which counts and is told as any other end of one (as in Valkey);
    /// false if it is not there.
    pub fn end_now(&mut self) -> bool {
        let there = self.discard();
        if there {
            self.store.counters.expired.fetch_add(1, Relaxed);
            self.happened(Event::EXPIRED);
        }
        there
    }

    #[inline]
    fn note_expiry(&self, at: u64) {
        if let Some(due) = self.space.due_ms(self.slot)
            && at != 0
            && at < due.load(Relaxed)
        {
            due.store(at, Relaxed);
        }
    }
}

/// Locked slots, in their order, each once.
pub(super) type Guards<'a> = SmallVec<[(Slot, MutexGuard<'a, State>); 12]>;

/// Several keys in their locked slots.
pub struct Locked<'a> {
    pub(super) space: &'a Keyspace,
    pub(super) registry: &'a Registry,
    pub(super) number: StoreNumber,
    pub(super) now_ms: u64,
    pub(super) guards: Guards<'a>,
    /// Large values that went, whose many blocks are given back after the locks (fields drop in
    /// order).
    pub(super) buried: Vec<Value>,
    /// Clients that were served meanwhile, to be woken after that.
    pub(super) wakes: Wakes,
    /// What was done under these locks and is not in the journal yet.
    pub(super) gathered: Gathered,
    /// Nothing has been done under these locks that others must not see a part of.
    pub(super) may_lock_more: bool,
    /// A script's commands run under these locks, and may lock the slots that they come to.
    pub(super) for_script: bool,
    /// Keys of which slot and hash are known, in the order in which they are mostly used.
    pub(super) known: Known<'a>,
}

/// Keys, and what [`Keyspace::hashed`] gave for each of them.
#[derive(Default)]
pub(super) struct Known<'a> {
    keys: &'a [&'a [u8]],
    hashed: &'a [Hashed],
    next: usize,
}

impl<'a> Known<'a> {
    pub(super) fn new(keys: &'a [&'a [u8]], hashed: &'a [Hashed]) -> Self {
        Self { keys, hashed, next: 0 }
    }

    /// What is known of a key, if it is the very next one.
    #[inline]
    fn take(&mut self, key: &[u8]) -> Option<Hashed> {
        let (known, hashed) = (self.keys.get(self.next)?, self.hashed.get(self.next)?);
        if !std::ptr::eq(*known, key) {
            return None;
        }
        self.next += 1;
        Some(*hashed)
    }
}

impl<'a> Locked<'a> {
    pub(super) fn new(
        space: &'a Keyspace,
        registry: &'a Registry,
        number: StoreNumber,
        now_ms: u64,
        guards: Guards<'a>,
        buried: Vec<Value>,
    ) -> Self {
        Self {
            space,
            registry,
            number,
            now_ms,
            guards,
            buried,
            wakes: Wakes::default(),
            gathered: Gathered::default(),
            may_lock_more: false,
            for_script: false,
            known: Known::default(),
        }
    }

    /// Unlocks the slots; then what went is let go, and last those are woken who were served.
    pub(super) fn unlock(mut self) {
        self.append_gathered();
        self.note_unconfirmed();
        let Self { space, guards, buried, wakes, .. } = self;
        for (slot, state) in &guards {
            if let Some(cell) = space.cell(*slot)
                && let Some(table) = state.tables.first()
            {
                cell.hints.note(table);
            }
        }
        drop(guards);
        if !buried.is_empty() {
            space.let_go(buried);
        }
        drop(wakes);
    }
}

impl Locked<'_> {
    /// The time of the command in Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The number of the selected store.
    pub fn selected(&self) -> StoreNumber {
        self.number
    }

    /// Whether a store has this number.
    pub fn has_store(&self, number: StoreNumber) -> bool {
        self.registry.get(number).is_some()
    }

    /// Takes a key out, as a command that deletes it does; false if it is not there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.at(key).is_some_and(|mut key| key.delete())
    }

    /// The keyspace's hash function.
    pub fn hasher(&self) -> &KeyHasher {
        &self.space.hasher
    }

    /// One of the command's keys. `None` if the store is gone or the slot is not locked.
    #[inline]
    pub fn at<'b>(&'b mut self, key: &'b [u8]) -> Option<Access<'b>> {
        self.at_store(self.number, key)
    }

    /// One of the command's keys, in another store.
    pub fn at_store<'b>(&'b mut self, number: StoreNumber, key: &'b [u8]) -> Option<Access<'b>> {
        let Hashed { slot, hash } = self.known.take(key).unwrap_or_else(|| self.space.hashed(key));
        let index = self.guards.binary_search_by_key(&slot, |(slot, _)| *slot).ok()?;
        Some(Access {
            space: self.space,
            store: self.registry.route(number, key)?,
            state: &mut self.guards.get_mut(index)?.1,
            slot,
            key,
            hash,
            now_ms: self.now_ms,
            buried: &mut self.buried,
            sink: Sink::Gathered(&mut self.gathered),
            sent: &[],
            said: None,
        })
    }

    /// A key's value, with nothing counted and nothing removed: several can be looked at together.
    pub fn peek(&self, key: &[u8]) -> Option<ValueRef<'_>> {
        let slot = slot_of(key);
        let index = self.guards.binary_search_by_key(&slot, |(slot, _)| *slot).ok()?;
        let store = self.registry.route(self.number, key)?;
        let table = &self.guards.get(index)?.1.get(store.number)?.table;
        let entry = table.get(table.find(self.space.hasher.hash(key), key)?)?;
        (!entry.is_expired(self.now_ms)).then_some(entry.value)
    }

    /// Says that a key that [`Self::peek`] looked for is not there.
    pub fn missed(&self, key: &[u8]) {
        if let Some(store) = self.registry.route(self.number, key) {
            self.space.notices.note(Event::KEY_MISS, store.number, key);
        }
    }

    /// Whether two keys under two selections are the same key of the same store.
    pub fn is_same(&self, a: (StoreNumber, &[u8]), b: (StoreNumber, &[u8])) -> bool {
        let store = |(number, key)| self.registry.route(number, key).map(|store| store.number);
        a.1 == b.1 && store(a) == store(b)
    }
}
