//! Watched keys: what WATCH leaves with a key's slot, so that EXEC can see whether the key changed.
//!
//! A watched key has a *token*, a number that this member gives once. Whatever changes the key takes
//! the entry away, so that a token that is still there says that nothing changed, and everything else
//! (a change, a slot that moved, a restart, an entry that was too old) says that something may have.
//! Nothing is done for keys of tables that nobody watches, but for one branch a change.

use super::access::Access;
use super::slot::{State, StoreTable};
use super::snapshot::Capture;
use super::stores::Counters;
use super::wait::Waits;
use super::{Keyspace, Locked, Refusal};
use crate::cluster::Slot;
use crate::store::StoreNumber;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What one store's watched keys may cost on a member.
const MAX_BYTES: u64 = 64 << 20;
/// What an entry costs beside its key: roughly a node's share in the map, and the watch.
const ENTRY_BYTES: u64 = 96;
/// A watch that nobody renewed for this long is taken for one whose client is gone.
const MAX_AGE_MS: u64 = 10 * 60 * 1000;
/// How often old watches are looked for.
const PRUNE_EVERY_MS: u64 = 10_000;

/// One watched key.
struct Watch {
    token: u64,
    /// How many clients watch it.
    watchers: u32,
    /// When one of them last began.
    since_ms: u64,
}

/// The keys of one store in one slot whose changes somebody wants to see.
pub struct Watches {
    keys: BTreeMap<Box<[u8]>, Watch>,
    /// Those who wait for a key, rather than for EXEC.
    pub waits: Waits,
    /// Whoever takes this table in pieces needs keys as they were.
    pub capture: Option<Box<Capture>>,
    counters: Arc<Counters>,
}

fn cost(key: &[u8]) -> u64 {
    ENTRY_BYTES + key.len() as u64
}

impl Watches {
    fn remove(&mut self, key: &[u8]) {
        if self.keys.remove(key).is_some() {
            self.counters.watched_bytes.fetch_sub(cost(key), Relaxed);
        }
    }

    /// Keeps those that `stays` agrees to.
    pub fn retain(&mut self, mut stays: impl FnMut(&[u8]) -> bool) {
        let counters = &self.counters;
        self.keys.retain(|key, _| {
            let stays = stays(key);
            if !stays {
                counters.watched_bytes.fetch_sub(cost(key), Relaxed);
            }
            stays
        });
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.waits.is_empty() && self.capture.is_none()
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        let bytes: u64 = self.keys.keys().map(|key| cost(key)).sum();
        self.counters.watched_bytes.fetch_sub(bytes, Relaxed);
    }
}

/// Notes that a key changed.
#[inline]
pub fn changed(watches: &mut Option<Box<Watches>>, key: &[u8]) {
    if watches.is_some() {
        forget(watches, key);
    }
}

#[cold]
fn forget(watches: &mut Option<Box<Watches>>, key: &[u8]) {
    let Some(watched) = watches else { return };
    watched.remove(key);
    watched.waits.changed(key);
    if watched.is_empty() {
        *watches = None;
    }
}

impl StoreTable {
    /// What is kept for those who want to see changes here.
    pub fn watches_or_new(&mut self) -> &mut Watches {
        let counters = &self.counters;
        self.watches.get_or_insert_with(|| {
            Box::new(Watches {
                keys: BTreeMap::new(),
                waits: Waits::default(),
                capture: None,
                counters: Arc::clone(counters),
            })
        })
    }

    fn watch(&mut self, key: &[u8], new_token: u64, now_ms: u64) -> Option<u64> {
        let counters = Arc::clone(&self.counters);
        let watches = self.watches_or_new();
        if let Some(watch) = watches.keys.get_mut(key) {
            watch.watchers = watch.watchers.saturating_add(1);
            watch.since_ms = now_ms;
            return Some(watch.token);
        }
        if counters.watched_bytes.load(Relaxed) + cost(key) > MAX_BYTES {
            if watches.is_empty() {
                self.watches = None;
            }
            return None;
        }
        counters.watched_bytes.fetch_add(cost(key), Relaxed);
        let watch = Watch { token: new_token, watchers: 1, since_ms: now_ms };
        watches.keys.insert(key.into(), watch);
        Some(new_token)
    }

    fn token(&self, key: &[u8]) -> Option<u64> {
        self.watches.as_ref()?.keys.get(key).map(|watch| watch.token)
    }

    fn unwatch(&mut self, key: &[u8], token: u64) {
        let Some(watches) = &mut self.watches else { return };
        let Some(watch) = watches.keys.get_mut(key) else { return };
        if watch.token != token {
            return;
        }
        watch.watchers = watch.watchers.saturating_sub(1);
        if watch.watchers == 0 {
            self.end_watch(key);
        }
    }

    fn prune_watches(&mut self, now_ms: u64) {
        let Some(watches) = &mut self.watches else { return };
        let old: Vec<Box<[u8]>> = watches
            .keys
            .iter()
            .filter(|(_, watch)| now_ms.saturating_sub(watch.since_ms) > MAX_AGE_MS)
            .map(|(key, _)| key.clone())
            .collect();
        for key in old {
            self.end_watch(&key);
        }
    }

    fn end_watch(&mut self, key: &[u8]) {
        let Some(watches) = &mut self.watches else { return };
        watches.remove(key);
        if watches.is_empty() {
            self.watches = None;
        }
    }
}

impl State {
    /// Takes a store's table out, as [`State::take`], and leaves the watches of keys that it did
    /// not have: for them, nothing changes.
    #[must_use]
    pub fn flush(
        &mut self,
        number: StoreNumber,
        slot: Slot,
        space: &Keyspace,
    ) -> Option<Box<StoreTable>> {
        let mut table = self.take(number)?;
        if let Some(mut watches) = table.watches.take() {
            // Who takes the table in pieces finds it gone, and begins anew.
            watches.capture = None;
            watches.retain(|key| table.table.find(space.hasher.hash(key), key).is_none());
            if !watches.is_empty() {
                let counters = Arc::clone(&table.counters);
                self.get_or_make(number, slot, &counters).watches = Some(watches);
            }
        }
        Some(table)
    }
}

impl Access<'_> {
    /// Watches the key; `None` if too many are watched. A key that is not there can be watched.
    fn watch(&mut self) -> Option<u64> {
        // A lifetime that is over already is no change after this.
        self.exists();
        self.space.watching.set(self.slot, true);
        let table = self.state.get_or_make(self.store.number, self.slot, &self.store.counters);
        table.watch(self.key, self.space.random(), self.now_ms)
    }

    /// Whether the key is as it was when it was watched.
    fn is_unchanged(&mut self, token: u64) -> bool {
        // A lifetime that is over is a change, although nobody has seen it yet.
        self.exists();
        let table = self.state.get(self.store.number);
        table.and_then(|table| table.token(self.key)) == Some(token)
    }

    fn unwatch(&mut self, token: u64) {
        if let Some(table) = self.state.get_mut(self.store.number) {
            table.unwatch(self.key, token);
        }
        self.state.tidy(self.store.number);
    }
}

/// A key that a client watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchedKey<'a> {
    /// The store that the client had selected.
    pub store: StoreNumber,
    /// The key.
    pub key: &'a [u8],
    /// What [`Keyspace::watch`] gave.
    pub token: u64,
}

impl Locked<'_> {
    /// Whether all these keys are as they were when they were watched. They are not watched any more
    /// after this, for their client.
    pub fn end_watch(&mut self, watched: &[WatchedKey<'_>]) -> bool {
        let mut unchanged = true;
        for watch in watched {
            match self.at_store(watch.store, watch.key) {
                Some(mut key) => {
                    unchanged &= key.is_unchanged(watch.token);
                    key.unwatch(watch.token);
                }
                None => unchanged = false,
            }
        }
        unchanged
    }
}

impl Keyspace {
    /// Watches a key: the token by which [`Locked::end_watch`] will see whether it changed. `None`:
    /// too many keys are watched.
    ///
    /// # Errors
    /// Why the key cannot be looked at.
    pub fn watch(
        &self,
        number: StoreNumber,
        key: &[u8],
        now_ms: u64,
    ) -> Result<Option<u64>, Refusal> {
        self.with_key(number, key, now_ms, false, |key| key.watch())
    }

    /// Watches a key no more, as far as the client goes that was given this token.
    pub fn unwatch(&self, watch: &WatchedKey<'_>, now_ms: u64) {
        // A slot that is not served any more has nothing to forget that EXEC could ask for.
        let _ =
            self.with_key(watch.store, watch.key, now_ms, false, |key| key.unwatch(watch.token));
    }

    /// Forgets watches of clients that are gone without a word (their member died). To be called
    /// now and then; does nothing most of the time.
    pub fn prune_watches(&self, now_ms: u64) {
        let due = self.watches_due_ms.load(Relaxed);
        if now_ms < due {
            return;
        }
        self.watches_due_ms.store(now_ms.saturating_add(PRUNE_EVERY_MS), Relaxed);
        for slot in self.watching.iter() {
            let Some(cell) = self.cell(slot) else { continue };
            let mut state = cell.state.lock();
            let mut left = false;
            for table in &mut state.tables {
                table.prune_watches(now_ms);
                left |= table.watches.is_some();
            }
            state.tidy_all();
            self.watching.set(slot, left);
        }
    }

    /// What the watched keys of a store cost on this member, in bytes.
    pub fn watched_bytes(&self, number: StoreNumber) -> u64 {
        let registry = self.registry.load();
        registry.get(number).map_or(0, |store| store.counters.watched_bytes.load(Relaxed))
    }
}
