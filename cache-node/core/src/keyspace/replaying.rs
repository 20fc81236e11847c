//! What the log says was done to a slot of a store, done again.

use super::access::Access;
use super::effects::Sink;
use super::slot::State;
use super::stores::{Registry, Store};
use super::table::Table;
use super::values::Value;
use super::{Cell, Keyspace, Lifetime};
use crate::cluster::{Slot, slot_of};
use crate::store::StoreNumber;

/// A slot of a store that is locked for this, whether or not it is served here.
pub(crate) struct Replaying<'s> {
    space: &'s Keyspace,
    store: &'s Store,
    state: &'s mut State,
    slot: Slot,
    now_ms: u64,
    remains: &'s mut Remains,
}

/// What went meanwhile, to be let go after the lock.
#[derive(Default)]
pub(super) struct Remains {
    pub values: Vec<Value>,
    pub tables: Vec<Table>,
}

impl Keyspace {
    /// Locks a slot for `run`; `None` if there is no such store or slot.
    pub(crate) fn with_replaying<R>(
        &self,
        number: StoreNumber,
        slot: Slot,
        now_ms: u64,
        run: impl FnOnce(&mut Replaying<'_>) -> R,
    ) -> Option<R> {
        let registry = self.registry.load();
        let registry: &Registry = &registry;
        let store = registry.get(number)?;
        let cell: &Cell = self.cell(slot)?;
        let mut state = cell.state.lock();
        let mut remains = Remains::default();
        let result = self.replaying(store, slot, now_ms, &mut state, &mut remains, run);
        drop(state);
        self.bury(remains);
        Some(result)
    }

    /// As [`Self::with_replaying`], in a slot that is locked.
    pub(super) fn replaying<R>(
        &self,
        store: &Store,
        slot: Slot,
        now_ms: u64,
        state: &mut State,
        remains: &mut Remains,
        run: impl FnOnce(&mut Replaying<'_>) -> R,
    ) -> R {
        run(&mut Replaying { space: self, store, state, slot, now_ms, remains })
    }

    /// Lets go what went meanwhile.
    pub(super) fn bury(&self, remains: Remains) {
        if !remains.values.is_empty() {
            self.let_go(remains.values);
        }
        if !remains.tables.is_empty() {
            self.let_tables_go(remains.tables);
        }
    }
}

impl Replaying<'_> {
    /// A key; `None` if it is not of this slot.
    #[inline]
    pub fn at<'b>(&'b mut self, key: &'b [u8]) -> Option<Access<'b>> {
        (slot_of(key) == self.slot).then(|| Access {
            space: self.space,
            hash: self.space.hasher.hash(key),
            state: self.state,
            store: self.store,
            slot: self.slot,
            key,
            now_ms: self.now_ms,
            buried: &mut self.remains.values,
            sink: Sink::Replay,
            sent: &[],
            said: None,
        })
    }

    /// All keys of the store in this slot go.
    pub fn flush(&mut self) {
        if let Some(mut table) = self.state.take(self.store.number) {
            table.leave_sessions(&self.space.hasher);
            self.remains.tables.push(table.close());
        }
    }
}

impl Access<'_> {
    /// The key gets a string that ends at a time, 0 for never.
    #[inline]
    pub(crate) fn replay_string(&mut self, bytes: &[u8], expires_at_ms: u64) {
        self.set_string(bytes, Lifetime::At(expires_at_ms));
    }

    /// The key's lifetime is that of its session, which ends when the key does.
    pub(crate) fn replay_session(&mut self) {
        let counters = &self.store.counters;
        let Some(table) = self.state.get_mut(self.store.number) else { return };
        let Some(place) = table.table.find(self.hash, self.key) else { return };
        let Some(ends_at_ms) = table.table.get(place).map(|entry| entry.expires_at_ms) else {
            return;
        };
        if counters.sessions.are_on() {
            table.bind_session(&self.space.hasher, place, true, self.now_ms);
            counters.sessions.touch(&self.space.hasher, self.key, counters.pace.turn(), ends_at_ms);
        }
    }
}
